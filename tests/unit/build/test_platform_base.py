# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the steps of another architecture can run, and what is said where they cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build import platform_base
from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_phases import BuildPhase
from ansible_collections.imagemode.nodes.plugins.module_utils._build.platform_base import check_that_steps_can_run
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import BuildError, FailureCategory
from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile import Containerfile
from ansible_collections.imagemode.nodes.plugins.module_utils._core.step_source import StepSource


def phase(instruction: str, platform: str) -> BuildPhase:
    text = f"FROM r.example.com/os:1\n{instruction}\n"
    return BuildPhase("user", text, StepSource(Containerfile.parse(text)), platform)


@pytest.fixture
def binfmt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernel's list of emulators of an amd64 host; empty."""
    monkeypatch.setattr(platform_base, "native_platform", lambda: "linux/amd64")
    return tmp_path


@pytest.mark.parametrize(
    ("instruction", "platform", "emulator", "state"),
    [
        pytest.param("RUN true", "linux/amd64", None, "", id="its own"),
        pytest.param("COPY a /a", "linux/s390x", None, "", id="nothing runs"),
        pytest.param("RUN true", "linux/arm64", "qemu-aarch64", "enabled\n", id="arm64 is called aarch64 there"),
        pytest.param("RUN true", "linux/ppc64le", "qemu-ppc64le", "enabled\n", id="one that is called the same"),
    ],
)
def test_steps_run(binfmt: Path, instruction: str, platform: str, emulator: str | None, state: str) -> None:
    if emulator is not None:
        (binfmt / emulator).write_text(state)
    check_that_steps_can_run([phase(instruction, platform)], platform, binfmt)


@pytest.mark.parametrize(
    ("emulator", "state"),
    [
        pytest.param(None, "", id="none"),
        pytest.param("qemu-aarch64", "disabled\n", id="switched off"),
        pytest.param("qemu-arm", "enabled\n", id="of something else"),
    ],
)
def test_steps_that_cannot_run_are_refused_before_anything_is_built(
    binfmt: Path, emulator: str | None, state: str
) -> None:
    if emulator is not None:
        (binfmt / emulator).write_text(state)
    with pytest.raises(BuildError, match="Install qemu-user-static, or build on a host of that architecture") as raised:
        check_that_steps_can_run(
            [phase("COPY a /a", "linux/arm64"), phase("RUN true", "linux/arm64")], "linux/arm64", binfmt
        )
    assert raised.value.failure.category is FailureCategory.ENGINE
    assert "RUN steps for linux/arm64 cannot run on this build host, which is linux/amd64" in str(raised.value)
