# SPDX-License-Identifier: GPL-3.0-or-later
"""What bootc does to a host's state, as one pure step: the model that plans are tried on.

Written from bootc's behaviour (recorded with 1.16.9), not from the planner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import (
    DeployedImage,
    Deployment,
    HostState,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    POLICY,
    UNVERIFIED,
    ImageReference,
    Signature,
)


def run(state: HostState, argv: tuple[str, ...], registry: Mapping[ImageReference, str]) -> HostState:
    """The state after a command. `registry` maps each reference to the digest that it means now."""
    if argv[:2] == ("bootc", "switch"):
        signature = POLICY if "--enforce-container-sigpolicy" in argv else UNVERIFIED
        return switch(state, ImageReference.parse(argv[-1]), signature, registry)
    if argv == ("bootc", "upgrade"):
        return upgrade(state, registry)
    if argv[:3] == ("ostree", "admin", "lock-finalization"):
        assert state.staged is not None
        return replace(state, staged=replace(state.staged, download_only="--unlock" not in argv))
    if argv == ("rpm-ostree", "rollback"):
        assert state.rollback is not None
        assert state.staged is None, "rpm-ostree refuses"
        return replace(state, rollback_queued=not state.rollback_queued)
    if argv == ("bootc", "rollback"):
        assert state.rollback is not None
        assert state.rollback.image is not None, "bootc refuses"
        return replace(state, staged=None, rollback_queued=not state.rollback_queued)
    if argv == ("ostree", "admin", "undeploy", "0"):
        assert state.staged is not None
        return replace(state, staged=None)
    raise AssertionError(f"the model knows no {argv}")


def reboot(state: HostState) -> HostState:
    """What was next is booted."""
    return replace(state, booted=state.next, rollback=state.booted, staged=None, rollback_queued=False)


def switch(
    state: HostState, target: ImageReference, signature: Signature, registry: Mapping[ImageReference, str]
) -> HostState:
    base = state.staged if state.staged is not None else state.booted
    if base and base.image and (base.image.reference, base.image.signature) == (target, signature):
        return state
    return stage(state, DeployedImage(target, signature, registry[target]))


def upgrade(state: HostState, registry: Mapping[ImageReference, str]) -> HostState:
    """`No update available.` for the booted content, whatever is staged; the staged content is unlocked where it was locked."""
    base = state.staged if state.staged is not None else state.booted
    assert base is not None
    assert base.image is not None
    assert state.booted is not None
    digest = registry[base.image.reference]
    if digest == state.booted.digest:
        return state
    if state.staged is not None and digest == state.staged.digest:
        return replace(state, staged=replace(state.staged, download_only=False))
    return stage(state, replace(base.image, digest=digest))


def stage(state: HostState, image: DeployedImage) -> HostState:
    """A new deployment, always: also of content that is booted already."""
    assert state.booted is not None
    serial = (state.booted.serial or 0) + 1 if image.digest == state.booted.digest else 0
    return replace(state, staged=Deployment(image, checksum=f"commit-of-{image.digest}", serial=serial))
