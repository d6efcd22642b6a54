# SPDX-License-Identifier: GPL-3.0-or-later
"""What rpm-ostree does to a host's state, as one pure step: the model that plans are tried on.

Written from rpm-ostree's behaviour (recorded with 2026.2), not from the planner. It builds on whatever is first in the
order of boots, refuses the text that this follows already, and carries local changes over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import (
    NO_LOCAL_CHANGES,
    DeployedImage,
    Deployment,
    HostState,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    ImageReference,
    parse_ostree_reference,
)


class Refused(Exception):
    """rpm-ostree exits with 1 and has changed nothing."""


def run(state: HostState, argv: tuple[str, ...], registry: Mapping[ImageReference, str]) -> HostState:
    """The state after a command. `registry` maps each reference to the digest that it means now."""
    verb = argv[1]
    if argv == ("ostree", "admin", "undeploy", "0"):
        assert state.staged is not None
        return replace(state, staged=None)
    if argv[:3] == ("ostree", "admin", "lock-finalization"):
        assert state.staged is not None
        return replace(state, staged=replace(state.staged, download_only="--unlock" not in argv))
    if verb == "rollback":
        if state.staged is not None:
            raise Refused("Staged deployment (remove with cleanup -p)")
        assert state.rollback is not None
        return replace(state, rollback_queued=not state.rollback_queued)
    first = _first(state)
    if verb == "reset":
        return (
            _stage(state, replace(first, local_changes=NO_LOCAL_CHANGES), first.image) if first.local_changes else state
        )
    if verb == "upgrade":
        assert first.image is not None
        digest = registry[first.image.reference]
        return state if digest == first.digest else _stage(state, first, replace(first.image, digest=digest))
    if verb == "rebase":
        return _rebase(state, first, argv[-1], registry)
    raise AssertionError(f"the model knows no {argv}")


def _rebase(state: HostState, first: Deployment, text: str, registry: Mapping[ImageReference, str]) -> HostState:
    target = parse_ostree_reference(text)
    if first.image and (first.image.reference, first.image.signature) == (target.reference, target.signature):
        raise Refused(f"Old and new refs are equal: {text}")
    return _stage(state, first, DeployedImage(target.reference, target.signature, registry[target.reference]))


def _first(state: HostState) -> Deployment:
    first = state.staged or (state.rollback if state.rollback_queued else state.booted)
    assert first is not None
    return first


def _stage(state: HostState, base: Deployment, image: DeployedImage | None) -> HostState:
    """A new deployment, always: also of content that is booted already."""
    staged = Deployment(
        image, f"commit-of-{image and image.digest}", 1, local_changes=base.local_changes, origin=base.origin
    )
    return replace(state, staged=staged)


def reboot(state: HostState) -> HostState:
    """What was next is booted."""
    return replace(state, booted=state.next, rollback=state.booted, staged=None, rollback_queued=False)
