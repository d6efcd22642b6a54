# SPDX-License-Identifier: GPL-3.0-or-later
"""One image of one test, built by layered_image_build with a container storage of its own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.layered_build import layered_build
from ansible_collections.imagemode.nodes.plugins.module_utils._build.module_outcome import Outcome
from ansible_collections.imagemode.nodes.plugins.module_utils._build.options import BUILD_SPEC
from lab.registry import Registry

CONTAINERFILE = """\
# the image of the tests
ARG GREETING=hello

RUN echo "$GREETING" > /usr/lib/greeting
COPY motd /usr/lib/motd
RUN mkdir /usr/lib/done
"""


class Builder:
    """One image of one test, with a container storage of its own."""

    def __init__(self, directory: Path, registry: Registry, name: str) -> None:
        self.directory = directory
        self.registry = registry
        self.name = name
        self.context = directory / "context"
        self.context.mkdir()
        (self.context / "motd").write_text("welcome\n")
        self.containerfile = directory / "Containerfile"
        self.containerfile.write_text(CONTAINERFILE)

    @property
    def image(self) -> str:
        return f"{self.registry.address}/{self.name}:1"

    def params(self, **options: Any) -> dict[str, Any]:
        """The module's parameters as its argument specification makes them."""
        defaults = {name: spec.get("default") for name, spec in BUILD_SPEC.items()}
        chosen = {
            "image": self.image,
            "base": f"{self.registry.address}/os:base",
            "containerfile": str(self.containerfile),
            "context": str(self.context),
            "validate_certs": False,
            "work_dir": str(self.directory / "work"),
        }
        return {**defaults, **chosen, **options}

    def outcome(self, check_mode: bool = False, /, **options: Any) -> Outcome:
        return layered_build(self.params(**options), check_mode)

    def build(self, check_mode: bool = False, /, **options: Any) -> dict[str, Any]:
        outcome = self.outcome(check_mode, **options)
        assert not outcome.failed, outcome.result
        return outcome.result

    def images(self) -> list[str]:
        """Every image in local storage, the base included."""
        return tool("buildah", "images", "--all", "--quiet").split()


def tool(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def use_storage(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the tools a container storage of their own, so that what is left in it can be counted."""
    directory.mkdir(parents=True)
    configuration = directory / "storage.conf"
    configuration.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{directory / "graph"}"\nrunroot = "{directory / "run"}"\n'
    )
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(configuration))


def builder_of(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Builder]:
    """A builder for one test; what is left in its storage goes with it."""
    for name in ("buildah", "skopeo"):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
    use_storage(tmp_path / "storage", monkeypatch)
    number = abs(hash(request.node.nodeid)) % 10**8
    yield Builder(tmp_path, registry, f"build/t{number}")
    subprocess.run(["buildah", "rm", "--all"], capture_output=True, check=False)
    subprocess.run(["buildah", "rmi", "--all", "--force"], capture_output=True, check=False)
