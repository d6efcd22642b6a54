# SPDX-License-Identifier: GPL-3.0-or-later
"""Which steps packages, extensions and kernels come to, and what is refused before anything is built."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import BuildError, FailureCategory
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_step import BuildStep
from ansible_collections.imagemode.nodes.plugins.module_utils._core.package_steps import (
    EXTENSION_PACKAGES,
    fips_step,
    package_steps,
    preset_step,
    rpm_component_step,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.step_script import script_failure, script_step


def arguments(step: BuildStep) -> list[str]:
    """What the script of a step is called with."""
    words = shlex.split(step.instruction)
    return words[words.index("sh") + 2 :]


def refused(*request: object) -> str:
    with pytest.raises(BuildError) as raised:
        package_steps(*request)  # type: ignore[arg-type]
    assert raised.value.failure.category is FailureCategory.INPUT
    return raised.value.failure.message


class TestSteps:
    def test_nothing_asked_for_is_no_step(self) -> None:
        assert package_steps([], [], {}, None, "linux/amd64") == ()

    def test_the_kernel_comes_first_and_packages_last(self) -> None:
        steps = package_steps(["tcpdump", "jq", "jq"], ["usbguard", "ipsec"], {}, "realtime", "linux/amd64")
        assert [arguments(step) for step in steps] == [
            ["realtime", "kernel-rt", "kernel", "kernel-64k"],
            ["NetworkManager-libreswan", "libreswan", "usbguard"],
            ["jq", "tcpdump"],
        ]

    @pytest.mark.parametrize("name", sorted(EXTENSION_PACKAGES))
    def test_every_extension_of_a_machine_config(self, name: str) -> None:
        (step,) = package_steps([], [name], {}, None, "linux/amd64")
        assert arguments(step) == sorted(EXTENSION_PACKAGES[name])

    def test_extensions_of_ones_own(self) -> None:
        own = {"two-node": ["pacemaker", "pcs"], "sysstat": ["sysstat", "sar-tools"]}
        (step,) = package_steps([], ["two-node", "sysstat"], own, None, "linux/amd64")
        assert arguments(step) == ["pacemaker", "pcs", "sar-tools", "sysstat"]

    def test_an_instruction_is_one_line_and_its_files_are_mounted(self) -> None:
        image = "registry.example/kubelet@sha256:" + "a" * 64
        steps = [
            *package_steps(["jq"], ["usbguard"], {}, "64k-pages", "linux/arm64"),
            rpm_component_step("kubelet", image, "/rpms"),
            preset_step(["kubelet.service"]),
            fips_step(),
        ]
        for step in steps:
            assert "\n" not in step.instruction
            (name,) = step.files
            assert f"--mount=type=bind,source={name},target=/run/imagemode/{name} " in step.instruction + " "
            assert b"\r" not in step.files[name]

    def test_same_names_have_same_contents(self) -> None:
        """All files of a phase lie in one directory."""
        steps = package_steps(["jq"], ["usbguard"], {}, "default", "linux/amd64")
        contents: dict[str, bytes] = {}
        for step in steps:
            for name, content in step.files.items():
                assert contents.setdefault(name, content) == content

    def test_the_state_of_the_repositories_changes_the_instruction(self) -> None:
        instructions = {
            package_steps(["jq"], [], {}, None, "linux/amd64", state)[0].instruction for state in ("", "a", "b")
        }
        assert len(instructions) == 3

    def test_a_script_is_in_its_instruction(self) -> None:
        assert script_step("x", "a.sh", "echo 1\n").instruction != script_step("x", "a.sh", "echo 2\n").instruction


class TestRefusals:
    @pytest.mark.parametrize(
        ("spec", "advice"),
        [
            ("@development", "group"),
            ("https://example.com/a.rpm", "component"),
            ("a.rpm", "component"),
            ("kernel*", "no pattern"),
            ("-y", "no pattern"),
            ("jq tcpdump", "no pattern"),
            ("jq;reboot", "no pattern"),
            ("$(reboot)", "no pattern"),
            ("", "no pattern"),
        ],
    )
    def test_what_cannot_be_confirmed_afterwards(self, spec: str, advice: str) -> None:
        assert advice in refused([spec], [], {}, None, "linux/amd64")

    @pytest.mark.parametrize(
        "spec", ["jq", "jq.x86_64", "jq-1.6-17.el9", "perl(JSON)", "/usr/bin/jq", "gcc-c++", "a~b", "1:x"]
    )
    def test_what_can(self, spec: str) -> None:
        assert arguments(package_steps([spec], [], {}, None, "linux/amd64")[0]) == [spec]

    def test_an_unknown_extension(self) -> None:
        message = refused([], ["usbgard"], {"own": ["x"]}, None, "linux/amd64")
        assert "usbgard" in message
        assert "usbguard" in message
        assert "own" in message

    def test_an_unknown_kernel(self) -> None:
        assert "default, realtime, 64k-pages" in refused([], [], {}, "rt", "linux/amd64")

    @pytest.mark.parametrize("platform", ["linux/amd64", "linux/ppc64le", "linux/s390x"])
    def test_large_pages_elsewhere_than_on_arm64(self, platform: str) -> None:
        assert platform in refused([], [], {}, "64k-pages", platform)

    @pytest.mark.parametrize("platform", ["linux/arm64", "linux/arm64/v8"])
    def test_large_pages_on_arm64(self, platform: str) -> None:
        assert len(package_steps([], [], {}, "64k-pages", platform)) == 1

    @pytest.mark.parametrize("unit", ["kubelet", "a b.service", "-x.service/..", "$(x).service"])
    def test_what_is_no_unit(self, unit: str) -> None:
        with pytest.raises(BuildError):
            preset_step([unit])

    @pytest.mark.parametrize(
        "part", [("a b", "r/i@sha256:0", "/x"), ("a", "r/i,x", "/x"), ("a", "r/i", "x"), ("a", "r/i", "/x,y")]
    )
    def test_components_that_would_change_the_mount(self, part: tuple[str, str, str]) -> None:
        with pytest.raises(BuildError):
            rpm_component_step(*part)


class TestScriptFailure:
    def test_the_last_one_counts(self) -> None:
        output = "x\nimagemode: step: one\nimagemode: dependency: two: three\nsubprocess exited with status 1\n"
        assert script_failure(output) == (FailureCategory.DEPENDENCY, "two: three")

    @pytest.mark.parametrize("output", ["", "imagemode: note: nothing", "echo imagemode: step: x"])
    def test_what_is_none(self, output: str) -> None:
        assert script_failure(output) is None


class TestManagers:
    """The commands for package managers other than dnf 4, which stand-ins write down."""

    def calls(self, tmp_path: Path, manager: str, step: BuildStep, installed: str) -> list[str]:
        programs = tmp_path / "bin"
        programs.mkdir()
        (tmp_path / "installed").write_text(installed)
        note = f'printf "%s " "$@" | tr "\\n" " " >>{tmp_path}/calls\necho >>{tmp_path}/calls\n'
        change = f'case "$*" in *repoquery*) exit 0 ;; esac\ncp {tmp_path}/after {tmp_path}/installed\n'
        query = f'for name; do :; done\nexec grep -qx -- "$name" {tmp_path}/installed\n'
        stand_ins = {manager: note + change, "rpm": f'case "$*" in *-qa*) exit 0 ;; esac\n{query}'}
        for name, text in stand_ins.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}")
            (programs / name).chmod(0o755)
        (content,) = step.files.values()
        state = tmp_path / "state"
        script = content.decode().replace("PATH=/usr/local/sbin:", f"PATH={programs}:/usr/local/sbin:")
        # the part that acts on the image as a whole has no place on this machine
        script = script.replace("state=/run/imagemode/state", f"state={state}").replace("\nfinish\n", "\n")
        script = script.partition("# Exactly one kernel")[0]
        (tmp_path / "script.sh").write_text(f"{script}\nexit 0\n")
        environment = {**os.environ, "LC_ALL": "C"}
        done = subprocess.run(
            ["sh", str(tmp_path / "script.sh"), *arguments(step)],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return [call.strip() for call in (tmp_path / "calls").read_text().splitlines()]

    def test_dnf5_replaces_a_kernel_in_one_transaction(self, tmp_path: Path) -> None:
        (tmp_path / "after").write_text("kernel-rt-core\nkernel-rt-modules\n")
        (step,) = package_steps([], [], {}, "realtime", "linux/amd64")
        calls = self.calls(tmp_path, "dnf5", step, "kernel-core\nkernel-modules\n")
        (changing,) = [call for call in calls if "repoquery" not in call]
        assert changing.endswith(
            "do --allowerasing --action=remove kernel-core kernel-modules --action=install kernel-rt-core kernel-rt-modules"
        )

    def test_dnf5_installs(self, tmp_path: Path) -> None:
        (tmp_path / "after").write_text("jq\n")
        (step,) = package_steps(["jq"], [], {}, None, "linux/amd64")
        (call,) = self.calls(tmp_path, "dnf5", step, "")
        assert call.startswith("-y --setopt=install_weak_deps=False ")
        assert call.endswith(" install jq")
