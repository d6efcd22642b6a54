# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an image has room on a node. What is not known counts as no finding, never as room."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import HostState
from ansible_collections.imagemode.nodes.plugins.module_utils._core.migration_plan import readable_bytes
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_facts import NodeFacts, Space
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_finding import (
    Check,
    Finding,
    error,
    note,
    warning,
)

REPOSITORY = "repository"

UNPACKED = 2.5
"""How much larger layers are unpacked than compressed, about: an operating system's files by gzip."""

_RESERVED_PERCENT = 3  # of ostree, where nothing is configured (ostree-repo.c; recorded, ostree 2026.4)
_LEAST_RUN_BYTES = 1_000_000  # what is staged is noted in /run, and a note that cannot be written is no staging
_LEAST_INODES = 100_000  # of the order of an operating system's files
_UNITS = {"MB": 1_000_000, "GB": 1_000_000_000, "TB": 1_000_000_000_000}


@dataclass(frozen=True)
class Need:
    """What has to be pulled at most, in bytes as the registry keeps them. None where nobody knows; 0 where nothing is."""

    pull_bytes: int | None

    @property
    def unpacked_bytes(self) -> int | None:
        """What that takes on the disk, about."""
        return None if self.pull_bytes is None else int(self.pull_bytes * UNPACKED)


def reserved_bytes(facts: NodeFacts, space: Space) -> int:
    """What ostree keeps free, and so neither tool can use: by default 3 % of the file system."""
    size = re.fullmatch(r"([0-9]+)(MB|GB|TB)", facts.reserve.get("min-free-space-size", "").strip())
    if size:
        return int(size[1]) * _UNITS[size[2]]
    percent = facts.reserve.get("min-free-space-percent", "").strip()
    share = int(percent) if percent.isdigit() else _RESERVED_PERCENT
    return space.total * share // 100


def judge_space(state: HostState, facts: NodeFacts, need: Need) -> Iterator[Finding]:
    """Every finding about room: for the image's data, for its kernel in /boot, for the notes in /run."""
    yield from _repository(state, facts, need)
    if need.pull_bytes != 0:
        yield from _boot(facts)
    run = facts.space.get("/run")
    if run is not None and run.available < _LEAST_RUN_BYTES:
        yield error(
            Check.DISK,
            f"/run has {readable_bytes(run.available)} left, and what is staged is noted there until the reboot",
            "Find out what fills /run (`du -xsh /run/*` on the node) and remove it.",
        )


def _repository(state: HostState, facts: NodeFacts, need: Need) -> Iterator[Finding]:
    space = facts.space.get(REPOSITORY)
    if space is None or need.pull_bytes == 0:
        return
    usable = max(0, space.available - reserved_bytes(facts, space))
    room = f"{readable_bytes(usable)} can be used for images ({readable_bytes(space.available)} are free, less what ostree reserves)"
    pinned = sum(deployment.pinned for deployment in (state.rollback, *state.others) if deployment)
    fix = "Make room below /sysroot and /var, which share a disk on most nodes" + (
        f"; {pinned} pinned deployment(s) keep their images (`ostree admin pin --unpin` lets one go)."
        if pinned
        else "."
    )
    if need.pull_bytes is None or need.unpacked_bytes is None:
        yield note(Check.DISK, f"{room}; what the image needs is not known, as its layers are not")
    elif usable < need.pull_bytes:
        yield error(
            Check.DISK,
            f"{room}, but up to {readable_bytes(need.pull_bytes)} are to be pulled, compressed: bootc refuses that",
            fix,
        )
    elif usable < need.unpacked_bytes:
        yield warning(
            Check.DISK,
            f"{room}, and up to {readable_bytes(need.pull_bytes)} are to be pulled, which unpack to about "
            f"{readable_bytes(need.unpacked_bytes)} ({UNPACKED} times): the pull may run into a full disk",
            fix,
        )
    if space.inodes is not None and space.inodes < _LEAST_INODES:
        yield warning(Check.DISK, f"only {space.inodes} inodes are left, and an image has about as many files", fix)


def _boot(facts: NodeFacts) -> Iterator[Finding]:
    """A new kernel is copied to /boot when the node shuts down, and there is nobody then to tell that it failed."""
    boot, repository, needed = facts.space.get("/boot"), facts.space.get(REPOSITORY), facts.kernel_bytes
    if boot is None or repository is None or not needed or boot.device == repository.device:
        return
    if boot.available < needed:
        yield error(
            Check.BOOT_SPACE,
            f"/boot has {readable_bytes(boot.available)} left, and kernel and initramfs of what runs take {readable_bytes(needed)}: "
            "with another kernel, what is staged would be lost at the shutdown, or the rollback deployment in its favour",
            "Remove what is not ostree's from /boot, and pinned deployments that nobody needs (`ostree admin status`).",
        )
