# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be known of a base and of the build host before steps can run for a platform."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_phases import BuildPhase
from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_request import UserFile
from ansible_collections.imagemode.nodes.plugins.module_utils._build.engine import Engine
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import Registry
from ansible_collections.imagemode.nodes.plugins.module_utils._build.resolved_image import native_platform
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference

HEREDOC_VERSIONS = {"buildah": (1, 33), "podman": (4, 9)}
# Architectures of images to what the kernel's emulators are called (qemu-user-static).
_EMULATORS = {"amd64": "x86_64", "arm64": "aarch64", "386": "i386"}
# What a processor of the first architecture runs as its own.
_RUNS_ALSO = {"amd64": ("386",), "arm64": ("arm",)}


@dataclass(frozen=True)
class PlatformBase:
    """The base of one platform. `timestamp` is its creation in seconds since 1970; `diff_ids` are its layers."""

    timestamp: int = 0
    diff_ids: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


def platform_base(base: ImageReference | None, platform: str, registry: Registry) -> PlatformBase:
    """Ask the registry about the base; a build from scratch has none. Raises BuildError, also for a wrong architecture."""
    if base is None:
        return PlatformBase()
    resolved = registry.resolve(base, FailureCategory.BASE_PULL)
    found = [name for name in resolved.platforms if _serves(name, platform)]
    if resolved.is_index and not found:
        raise _wrong_platform(base, platform, ", ".join(sorted(resolved.platforms)) or "none")
    configuration = registry.configuration(
        base.with_digest(resolved.platforms[found[0]]) if found else base,
        registry.resolve(base.with_digest(resolved.platforms[found[0]])) if found else resolved,
    )
    if not found and not _serves(configuration.platform, platform):
        raise _wrong_platform(base, platform, configuration.platform)
    # The same inputs get the same times, and not those of 1970.
    return PlatformBase(_seconds(configuration.created), configuration.diff_ids, tuple(configuration.labels.items()))


def _serves(name: str, platform: str) -> bool:
    return name == platform or name.startswith(platform + "/")


def _wrong_platform(base: ImageReference, platform: str, found: str) -> BuildError:
    return BuildError(
        BuildFailure(
            FailureCategory.BASE_PULL,
            f"{base} has no image for {platform}, only for {found}. Name a base of that architecture, or say in the option "
            "platforms for which one to build.",
        )
    )


def check_heredoc(engine: Engine, file: UserFile) -> None:
    """Raise BuildError where the engine is too old for the here-documents of a Containerfile."""
    version = engine.version() if file.containerfile.uses_heredoc else ()
    needed = HEREDOC_VERSIONS[engine.name.value]
    if version and version < needed:
        raise BuildError(
            BuildFailure(
                FailureCategory.ENGINE,
                f"{file.called[:1].upper()}{file.called[1:]} has a here-document, which {engine.name.value} reads from version "
                f"{needed[0]}.{needed[1]} on; this is {version[0]}.{version[1]}. Update it, or write the step with && and \\.",
            )
        )


def check_that_steps_can_run(
    phases: Iterable[BuildPhase], platform: str, binfmt: Path = Path("/proc/sys/fs/binfmt_misc")
) -> None:
    """Raise BuildError where RUN steps are for an architecture that this host neither has nor emulates."""
    own, wanted = native_platform().split("/")[1], platform.split("/")[1]
    if own == wanted or wanted in _RUNS_ALSO.get(own, ()) or not any(phase.runs_steps for phase in phases):
        return
    emulator = binfmt / f"qemu-{_EMULATORS.get(wanted, wanted)}"
    try:
        is_there = emulator.read_text().startswith("enabled")
    except OSError:
        is_there = False
    if not is_there:
        raise BuildError(
            BuildFailure(
                FailureCategory.ENGINE,
                f"RUN steps for {platform} cannot run on this build host, which is {native_platform()} and emulates no {wanted}. "
                "Install qemu-user-static, or build on a host of that architecture (imagemode_build_hosts).",
            )
        )


def _seconds(created: str | None) -> int:
    """RFC 3339 to seconds since 1970; 0 where it is missing or not a time. Python 3.9 knows neither `Z` nor nanoseconds."""
    match = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)\Z", created or "")
    if not match:
        return 0
    zone = "+00:00" if match.group(2) == "Z" else match.group(2)
    return max(0, int(datetime.datetime.fromisoformat(match.group(1) + zone).timestamp()))
