# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tool changes a host's kernel arguments, and whether it may in the state that the host is in."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import HostState, Slot, describe
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_plan import IMAGE_WAY, Backend
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal

_FIRST_BOOTC = (1, 15, 2)
_FIRST_OSTREE = (2026, 1)
_BROKEN_OSTREE = (2026, 2)


@dataclass(frozen=True)
class KargsTools:
    """What a host has. A version is None where the tool is not there; rpm-ostree's does not matter."""

    rpm_ostree: bool
    bootc: tuple[int, ...] | None
    ostree: tuple[int, ...] | None

    def lacks(self, backend: Backend) -> str | None:
        """Why a backend cannot be used here, as a sentence; None if it can."""
        if backend is Backend.RPM_OSTREE:
            return None if self.rpm_ostree else "rpm-ostree is not installed."
        if backend is Backend.OSTREE:
            return None if self.ostree else "The ostree command is not installed."
        if self.bootc is None or self.bootc < _FIRST_BOOTC:
            return f"`bootc loader-entries` came with bootc 1.15.2, and this node has {_version(self.bootc)}."
        if self.ostree is None or self.ostree < _FIRST_OSTREE:
            return f"`bootc loader-entries` needs ostree 2026.1 or newer, and this node has {_version(self.ostree)}."
        if self.ostree[:2] == _BROKEN_OSTREE:
            return "`bootc loader-entries` does not work with ostree 2026.2, which has a known regression."
        return None


def choose_backend(asked: Backend, tools: KargsTools, state: HostState) -> Backend:
    """The backend to use: the one that was asked for, or the most able one that the host has. Raises Refusal."""
    if state.booted and state.booted.composefs:
        raise Refusal(
            f"This node was booted by bootc's composefs backend, where no tool changes kernel arguments locally. {IMAGE_WAY}"
        )
    if asked is not Backend.AUTO:
        lack = tools.lacks(asked)
        if lack:
            raise Refusal(
                f"backend: {asked.value} cannot be used on this node. {lack} Use backend: auto, which takes what there is."
            )
        return asked
    candidates = (Backend.RPM_OSTREE, Backend.LOADER_ENTRIES, Backend.OSTREE)
    for backend in candidates:
        if not tools.lacks(backend):
            return backend
    lacks = " ".join(tools.lacks(backend) or "" for backend in candidates)
    raise Refusal(f"Nothing on this node can change its kernel arguments. {lacks} {IMAGE_WAY}")


def require_changeable(backend: Backend, state: HostState) -> None:
    """Raises Refusal where a change would harm what others have prepared for the next boot.

    In-place edits stage nothing, and so harm nothing.
    """
    if backend is Backend.OSTREE:
        return
    if state.staged and state.staged.download_only:
        raise Refusal(
            f"{describe(state.staged)} is staged but locked, so that no reboot activates it, and changing kernel arguments now would stage "
            "it again without the lock: the next reboot would boot it. First unlock it (image_stage with state: staged) or discard it "
            "(state: unstaged), then set the arguments."
        )
    target = state.rollback
    if state.rollback_queued and target and (backend is Backend.LOADER_ENTRIES or not target.pinned):
        over = "with something staged over it" if state.next_slot is Slot.STAGED else "for the next boot"
        raise Refusal(
            f"A rollback to {describe(target)} is queued {over}. Changing kernel arguments now would stage a deployment in front of it, "
            "and with that the rollback's target is no longer safe from deletion. Reboot into the rollback first, or take it back "
            "(deployment_rollback with state: unqueued); or pin its deployment with `ostree admin pin`."
        )


def _version(version: tuple[int, ...] | None) -> str:
    return ".".join(map(str, version)) if version else "none"
