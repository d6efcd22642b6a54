# SPDX-License-Identifier: GPL-3.0-or-later
"""How a wanted image gets into next place: a pure function of the host's state, the same for both tools.

What the tools do differently is in `bootc_plan` and `rpm_ostree_plan`. In common: each of them compares texts, not
content, with what is *staged*, and goes on to make a new deployment even of content that is already booted. So what
costs nothing is found out here, before a tool is asked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Union

from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_image import (
    DesiredImage,
    LocalChangesPolicy,
    Placement,
    origin_base,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_ref import DesiredRef
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import (
    Deployment,
    HostState,
    describe,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import UNVERIFIED, Signature
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Command, Plan, Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._core.running_usr import running_usr

Desired = Union[DesiredImage, DesiredRef]

# The index alone would hit whatever is first by then. Of one that is locked ostree says only that (recorded, ostree 2026.4).
_STILL_STAGED = 'ostree admin status | grep -F -- " $1 (" | grep -qE "[(](staged|finalization locked)[)]"'

# Both tools' rollback is a toggle: run again after a lost connection, or after somebody else's, it would queue what was taken back.
_STILL_QUEUED = 'ostree admin status | grep -qF -- " $1 (pending)"'


UNQUEUE_ANY = Command(("rpm-ostree", "rollback"), "take back the queued rollback")
"""Whatever the rollback is."""


class StagingTool(ABC):
    """What bootc and rpm-ostree do differently."""

    name: str
    """The tool's name in messages."""

    @abstractmethod
    def unqueue(self, state: HostState) -> Command:
        """Takes a queued rollback back."""

    @abstractmethod
    def refuse_losses(self, state: HostState, booted: Deployment, desired: Desired) -> None:
        """Raises Refusal where staging would lose what the user did not give up."""

    @abstractmethod
    def stage(
        self, state: HostState, booted: Deployment, desired: Desired, signature: Signature
    ) -> tuple[Command, ...]:
        """The commands that stage `desired`, unlocked. Raises Refusal where the tool cannot get there."""


def plan_staging(tool: StagingTool, state: HostState, desired: Desired) -> Plan:
    """The plan that makes `desired` the next thing to boot, or gets it onto the disk. Raises Refusal."""
    if state.booted is None:
        raise Refusal(
            f"This host is not image-mode: {tool.name} knows of no booted deployment. It can only act on a host that was "
            "installed from an image or from ostree."
        )
    signature = desired.signature_on(state)
    if desired.placement is Placement.DOWNLOADED:
        return _plan_download(tool, state, state.booted, desired, signature)
    if desired.satisfied_by(state.next, signature):
        where = "already staged, waiting for a reboot" if state.reboot_required else "already booted"
        return _nothing_to_do(state, f"{where}: {describe(state.next)}")
    if desired.satisfied_by(state.booted, signature):
        return _return_to_booted(tool, state, state.booted, desired)
    if state.staged is not None and desired.satisfied_by(state.staged, signature):
        after = replace(state, staged=replace(state.staged, download_only=False))
        command = _lock(state.staged, locked=False)
        return Plan(state, after, (command,), f"unlocked the downloaded {state.staged.describe()} for the next boot")
    return _stage(tool, state, state.booted, desired, signature)


def plan_unstaging(state: HostState, desired: Desired | None) -> Plan:
    """The plan that discards what is staged: anything, or only `desired`. Raises Refusal."""
    staged = state.staged
    if staged is None:
        return _nothing_to_do(state, "nothing is staged")
    if desired is not None and not desired.satisfied_by(staged, desired.signature_on(state)):
        return _nothing_to_do(
            state, f"not staged: {desired.describe()}; staged is {staged.describe()}, which was left alone"
        )
    if staged.local_changes and (desired is None or desired.local_changes is LocalChangesPolicy.FAIL):
        raise Refusal(
            f"The staged deployment has {staged.local_changes.describe()}, which discarding it would lose. Reboot into it, or name "
            "the image and set local_changes: discard."
        )
    warnings = []
    if state.rollback_queued:
        warnings.append(f"a rollback is still queued: {describe(state.rollback)} boots next")
    after = replace(state, staged=None, kargs_next=None if state.rollback_queued else state.kargs_booted)
    return Plan(state, after, (discard(staged),), f"discarded the staged {staged.describe()}", tuple(warnings))


def _nothing_to_do(state: HostState, why: str) -> Plan:
    running = running_usr(state)
    return Plan(state, state, (), why, (running,) if running and not state.reboot_required else ())


def _plan_download(
    tool: StagingTool, state: HostState, booted: Deployment, desired: Desired, signature: Signature
) -> Plan:
    if desired.satisfied_by(booted, signature):
        return _nothing_to_do(state, f"already booted, so there is nothing to download: {booted.describe()}")
    staged = state.staged
    if staged is None or not desired.satisfied_by(staged, signature):
        return _stage(tool, state, booted, desired, signature)
    if staged.download_only:
        return _nothing_to_do(state, f"already downloaded, and locked: {staged.describe()}")
    after = replace(state, staged=replace(staged, download_only=True))
    return Plan(
        state, after, (_lock(staged, locked=True),), f"locked the staged {staged.describe()}: no reboot boots it"
    )


def _return_to_booted(tool: StagingTool, state: HostState, booted: Deployment, desired: Desired) -> Plan:
    """The wanted image runs already, and something else would boot next.

    Staging it again would cost a new deployment and a reboot (recorded with both tools); discarding costs nothing.
    """
    staged = state.staged
    commands = []
    warnings = []
    # No tool takes a rollback back beside a staged deployment, even a locked one: rpm-ostree refuses, bootc drops it.
    if staged is not None and (state.rollback_queued or not staged.download_only):
        _refuse_to_lose_local_changes(desired, staged, "staged")
        commands.append(discard(staged, f"The wanted image is booted, but {staged.describe()} is staged."))
        if staged.download_only:
            warnings.append(f"discarded what was downloaded, to take back the queued rollback: {staged.describe()}")
    if state.rollback_queued:
        commands.append(take_back(tool, state))
    after = replace(state, staged=None, rollback_queued=False)
    after = replace(after, kargs_next=state.kargs_booted)
    done = f"stays on the booted {booted.describe()}: discarded what was to boot next"
    return Plan(state, after, tuple(commands), done, tuple(warnings))


def _stage(tool: StagingTool, state: HostState, booted: Deployment, desired: Desired, signature: Signature) -> Plan:
    staged = state.staged
    if state.read_only:
        raise Refusal("/sysroot of this host is on a read-only device (a live system?): nothing can be staged here.")
    if desired.placement is Placement.DOWNLOADED and booted.composefs:
        raise Refusal(
            "A host of bootc's composefs backend cannot keep an image on its disk without booting it next. Say state: staged."
        )
    tool.refuse_losses(state, booted, desired)
    warnings = []
    if staged is not None and not staged.download_only:
        warnings.append(f"replaced what was staged before: {staged.describe()}")
    if state.unlocked == "development":
        warnings.append("/usr is unlocked (usr-overlay): what was changed there is lost at the reboot")
    if state.unlocked == "hotfix":
        warnings.append("/usr is unlocked for a hotfix: the new deployment does not have what was changed there")
    if state.live_replaced:
        warnings.append(
            "packages were applied live to the booted deployment: they are gone after the reboot unless the image has them"
        )
    if state.update_driver:
        warnings.append(
            f"the update driver {state.update_driver} is registered with rpm-ostree on this node: it does not know of this staging, and "
            "may replace it"
        )
    kept = origin_base(state)
    if isinstance(desired, DesiredImage) and kept and kept.image and kept.image.signature != UNVERIFIED == signature:
        warnings.append(
            f"verification is given up, as signature_policy: unverified asks: the host verified its image ({kept.image.signature}), and "
            "will not verify this one"
        )
    commands = tool.stage(state, booted, desired, signature)
    downloaded = desired.placement is Placement.DOWNLOADED
    predicted = Deployment(
        desired.predicted_image(signature),
        None,
        None,
        stateroot=booted.stateroot,
        composefs=booted.composefs,
        origin=desired.predicted_origin,
        download_only=downloaded,
    )
    after = replace(state, staged=predicted, kargs_next=state.kargs_booted if downloaded else None)
    done = "downloaded, and locked" if downloaded else "staged"
    if any(command.argv[1:] == ("rollback",) for command in commands):
        after = replace(after, rollback_queued=False)
    summary = f"{done}: {desired.describe()}"
    if predicted.digest is not None and predicted.digest == booted.digest and not booted.local_changes:
        summary += (
            ", which is the booted content under another name or policy: a new deployment and a reboot, no layers"
        )
    return Plan(state, after, commands, summary, tuple(warnings))


def _refuse_to_lose_local_changes(desired: Desired, deployment: Deployment, slot: str) -> None:
    if deployment.local_changes and desired.local_changes is LocalChangesPolicy.FAIL:
        raise Refusal(
            f"The {slot} deployment has {deployment.local_changes.describe()}, which getting to {desired.describe()} "
            "would drop. Put them into the image and set local_changes: discard, or remove them first with `rpm-ostree reset`."
        )


def refuse_to_drop(desired: Desired, deployments: Sequence[tuple[str, Deployment | None]]) -> None:
    """Raises Refusal if one of the deployments, each with the name of its slot, has local changes that nobody gave up."""
    for slot, deployment in deployments:
        if deployment is not None:
            _refuse_to_lose_local_changes(desired, deployment, slot)


def lock_after(desired: Desired, staged: Deployment) -> Command | None:
    """What is still to be done to a deployment that was staged to be kept on the disk only."""
    if desired.placement is Placement.DOWNLOADED and not staged.download_only:
        return _lock(staged, locked=True)
    return None


def discard(staged: Deployment, situation: str = "") -> Command:
    """The command that discards this very deployment, and no other that was staged since. Raises Refusal after the situation."""
    if staged.composefs:
        raise Refusal(
            f"{situation} A host of bootc's composefs backend has no command to discard a staged deployment. Reboot into it "
            "first, or run `bootc rollback` twice by hand.".strip()
        )
    return Command(("ostree", "admin", "undeploy", "0"), "discard the staged deployment", only_if=_still(staged))


def _lock(staged: Deployment, locked: bool) -> Command:
    """bootc and rpm-ostree lock what they stage, but neither can lock or unlock without a pull, or without a reboot."""
    if staged.composefs:
        return Command(("bootc", "upgrade", "--from-downloaded"), "unlock the downloaded deployment for the next boot")
    argv = ("ostree", "admin", "lock-finalization")
    if locked:
        return Command(argv, "lock the staged deployment, so that no reboot boots it", only_if=_still(staged))
    return Command((*argv, "--unlock"), "unlock the downloaded deployment for the next boot", only_if=_still(staged))


def take_back(tool: StagingTool, state: HostState) -> Command:
    """The command that takes the queued rollback back, if that is queued still."""
    return replace(tool.unqueue(state), only_if=_only_if(_STILL_QUEUED, state.rollback))


def _still(staged: Deployment) -> tuple[str, ...] | None:
    return _only_if(_STILL_STAGED, staged)


def _only_if(question: str, deployment: Deployment | None) -> tuple[str, ...] | None:
    """None on a host of the composefs backend, of which ostree knows nothing."""
    if deployment is None or not deployment.checksum or deployment.serial is None:
        return None
    return ("sh", "-c", question, "sh", f"{deployment.checksum}.{deployment.serial}")
