# SPDX-License-Identifier: GPL-3.0-or-later
"""buildah and podman: which of them is here, and how each wants to be called."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import capture
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
)

ANSWER_SECONDS = 120.0
RUNTIMES = ("crun", "runc", "runsc", "kata-runtime")


class EngineName(str, Enum):
    """The engines in the order of preference."""

    BUILDAH = "buildah"
    PODMAN = "podman"


def require_tool(name: str) -> str:
    """The path of a tool. Raises BuildError with the command that installs it."""
    path = shutil.which(name)
    if path is None:
        raise BuildError(
            BuildFailure(
                FailureCategory.ENGINE,
                f"{name} is not installed on the build host. Install it: {install_command([name])}",
            )
        )
    return path


def install_command(packages: Sequence[str], os_release: Path = Path("/etc/os-release")) -> str:
    """The command that installs packages on this host, by its os-release."""
    try:
        text = os_release.read_text()
    except OSError:
        text = ""
    names = set(re.findall(r"[a-z]+", " ".join(re.findall(r"^ID(?:_LIKE)?=(.*)$", text, re.MULTILINE))))
    joined = " ".join(packages)
    if Path("/run/ostree-booted").exists():
        return f"use a container or another build host; or sudo rpm-ostree install {joined}"
    if names & {"debian", "ubuntu"}:
        return f"sudo apt-get install {joined}"
    if names & {"suse", "opensuse", "sles"}:
        return f"sudo zypper install {joined}"
    return f"sudo dnf install {joined}"


@dataclass(frozen=True)
class BuildCall:
    """What an engine is asked to build. `ignore_file` may be empty; `timestamp` is in seconds since 1970.

    `platform` is None for the host's own. `secrets` are pairs of a name and a file, `volumes` of a directory and where
    steps see it, read-only. `private` is the directory in which copies for this build are.
    """

    containerfile: Path
    context: Path
    ignore_file: Path
    id_file: Path
    build_args: Mapping[str, str]
    tags: tuple[str, ...]
    timestamp: int
    isolation: str | None
    use_cache: bool
    registry_options: tuple[str, ...]
    platform: str | None = None
    secrets: tuple[tuple[str, Path], ...] = ()
    volumes: tuple[tuple[Path, str], ...] = ()
    private: Path | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Engine:
    """An installed engine. The two take the same build and push options, as podman builds with buildah's code."""

    name: EngineName
    path: str

    @classmethod
    def find(cls, wanted: str) -> Engine:
        """The engine `buildah` or `podman`, or for `auto` the first that is installed. Raises BuildError."""
        if wanted != "auto":
            return cls(EngineName(wanted), require_tool(wanted))
        for name in EngineName:
            path = shutil.which(name.value)
            if path is not None:
                return cls(name, path)
        raise BuildError(
            BuildFailure(
                FailureCategory.ENGINE,
                "Neither buildah nor podman is installed on the build host. Install one: "
                f"{install_command(['buildah', 'skopeo'])}",
            )
        )

    def version(self) -> tuple[int, ...]:
        """The version as numbers; empty where the engine does not tell."""
        found = re.search(r"version (\d+)\.(\d+)", capture([self.path, "--version"], ANSWER_SECONDS).output)
        return tuple(int(number) for number in found.groups()) if found else ()

    def build_argv(self, call: BuildCall) -> list[str]:
        """The command that builds. It prints `STEP` lines and ends with the id of the image."""
        argv = [self.path, "build", "--layers", "--force-rm", f"--timestamp={call.timestamp}"]
        argv.append("--identity-label=false")  # the version of the engine is no property of the image
        if not call.use_cache:
            argv.append("--no-cache")
        if call.isolation:
            argv.append(f"--isolation={call.isolation}")
        if call.platform:
            argv.append(f"--platform={call.platform}")
        argv.extend(call.registry_options)
        argv.extend(f"--secret=id={name},src={path}" for name, path in call.secrets)
        argv.extend(f"--volume={source}:{target}:{_volume_options(source, call)}" for source, target in call.volumes)
        if any(_volume_options(source, call) == "ro" for source, _target in call.volumes):
            argv.append("--security-opt=label=disable")  # or SELinux would let no step read what keeps its label
        argv.extend(f"--build-arg={name}={value}" for name, value in sorted(call.build_args.items()))
        argv.extend(f"--annotation={name}={value}" for name, value in sorted(call.annotations.items()))
        argv.extend(f"--tag={tag}" for tag in call.tags)
        argv.extend((f"--iidfile={call.id_file}", f"--ignorefile={call.ignore_file}", f"--file={call.containerfile}"))
        return [*argv, str(call.context)]

    def push_argv(self, local: str, target: str, digest_file: Path, registry_options: Sequence[str]) -> list[str]:
        """The command that pushes. Its debug output is the only one that says which layers were already there."""
        options = [*registry_options, f"--digestfile={digest_file}"]
        return [self.path, "--log-level=debug", "push", *options, local, f"docker://{target}"]

    def index_argvs(self, index: str, images: Sequence[str]) -> list[list[str]]:
        """The commands that make an index of local images under a local name."""
        adding = [[self.path, "manifest", "add", index, f"containers-storage:{image}"] for image in images]
        return [[self.path, "manifest", "create", index], *adding]

    def push_index_argv(self, index: str, target: str, digest_file: Path, registry_options: Sequence[str]) -> list[str]:
        """The command that pushes an index with all its images."""
        options = ["--all", *registry_options, f"--digestfile={digest_file}"]
        return [self.path, "--log-level=debug", "manifest", "push", *options, index, f"docker://{target}"]

    def remove_index_argv(self, index: str) -> list[str]:
        """The command that removes a local index."""
        return [self.path, "manifest", "rm", index]

    def remove_argv(self, image: str) -> list[str]:
        """The command that removes a local image, or one of its names."""
        return [self.path, "rmi", image]

    def local_labels(self, image: str) -> dict[str, str] | None:
        """The labels of an image in local storage; None where there is no such image."""
        document = self._inspect(image)
        if document is None:
            return None
        is_podman = self.name is EngineName.PODMAN
        found = document.get("Labels") if is_podman else document["OCIv1"]["config"].get("Labels")
        return {str(label): str(value) for label, value in (found or {}).items()}

    def local_id(self, image: str) -> str | None:
        """The id of an image in local storage, 64 hexadecimal digits; None where there is no such image."""
        document = self._inspect(image) or {}
        found = document.get("Id" if self.name is EngineName.PODMAN else "FromImageID")
        return str(found).rpartition(":")[2] if found else None

    def nameless_images(self) -> set[str]:
        """The ids of the images in local storage that have no name any more."""
        argv = [self.path, "images", "--quiet", "--no-trunc", "--filter=dangling=true"]
        return {line.strip().rpartition(":")[2] for line in capture(argv, ANSWER_SECONDS).output.splitlines()}

    def local_architecture(self, image: str) -> str | None:
        """The architecture of an image in local storage, such as `arm64`; None where there is no such image."""
        document = self._inspect(image)
        if document is None:
            return None
        found = document if self.name is EngineName.PODMAN else document["OCIv1"]
        return str(found.get("Architecture") or found.get("architecture"))

    def _inspect(self, image: str) -> dict[str, Any] | None:
        done = capture([self.path, "inspect", "--type=image", image], ANSWER_SECONDS)
        if done.exit_code != 0:
            return None
        document = json.loads(done.output)
        found: dict[str, Any] = document[0] if isinstance(document, list) else document
        return found


def _volume_options(source: Path, call: BuildCall) -> str:
    """Read-only; with a label of SELinux for the build on what was copied for it, never on a user's own directory."""
    is_copy = call.private is not None and call.private in source.parents
    return "ro,Z" if is_copy else "ro"


def choose_isolation(wanted: str) -> str | None:
    """The isolation to ask for, None for the engine's own choice.

    `auto` picks chroot where the engine's default cannot work: without an OCI runtime, or inside a container.
    """
    if wanted != "auto":
        return wanted
    if os.environ.get("BUILDAH_ISOLATION"):
        return None
    in_container = any(Path(marker).exists() for marker in ("/run/.containerenv", "/.dockerenv"))
    has_runtime = any(shutil.which(runtime) for runtime in RUNTIMES)
    return "chroot" if in_container or not has_runtime else None
