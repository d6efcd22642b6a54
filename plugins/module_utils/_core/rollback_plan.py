# SPDX-License-Identifier: GPL-3.0-or-later
"""How the rollback deployment gets into next place, or out of it: a pure function of the host's state.

Both tools' `rollback` is a toggle: a second run undoes the first (recorded, bootc 1.16.9 and rpm-ostree 2026.2). So every
decision is made from what is queued, never by running it and looking.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import Enum

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import (
    Deployment,
    HostState,
    Slot,
    Tool,
    describe,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import require_digests
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Command, Plan, Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._core.staging_plan import discard

# Deletes index 0, which is the staged deployment where there is one. `rpm-ostree cleanup -p` would delete a queued
# rollback along with it (recorded, rpm-ostree 2026.2).
_UNDEPLOY = Command(("ostree", "admin", "undeploy", "0"), "discard the staged deployment")


class RollbackState(str, Enum):
    """Whether the rollback deployment is to boot next."""

    QUEUED = "queued"
    UNQUEUED = "unqueued"


class StagedPolicy(str, Enum):
    """What to do with a staged deployment that a rollback would discard."""

    FAIL = "fail"
    DISCARD = "discard"


@dataclass(frozen=True)
class RollbackRequest:
    """What was asked for. The expectations are about what boots next in the end."""

    state: RollbackState = RollbackState.QUEUED
    expected_digests: Collection[str] = ()
    expected_checksum: str | None = None
    staged: StagedPolicy = StagedPolicy.FAIL

    @property
    def names_target(self) -> bool:
        """Whether the request says which deployment it means."""
        return bool(self.expected_digests or self.expected_checksum)


def plan_rollback(state: HostState, request: RollbackRequest, has_rpm_ostree: bool) -> Plan:
    """The plan that queues or unqueues the rollback. Raises Refusal, InvalidReference."""
    require_digests(request.expected_digests)
    if state.booted is None:
        raise Refusal("This host is not image-mode: there is no deployment to go back to.")
    if request.state is RollbackState.UNQUEUED:
        return _unqueue(state, state.booted, request, has_rpm_ostree)
    return _queue(state, request, has_rpm_ostree)


def satisfied(state: HostState, wanted: HostState) -> bool:
    """Whether a host boots next what a plan wanted it to."""
    return state.next_slot is wanted.next_slot and _identity(state.next) == _identity(wanted.next)


def _queue(state: HostState, request: RollbackRequest, has_rpm_ostree: bool) -> Plan:
    target = state.rollback
    if _is_back_already(state, request):
        return Plan(state, state, (), f"is back already: {describe(state.booted)} is booted, and boots next")
    if state.booted is not None and _is_leaving(state, request):
        return _stay(state, state.booted, request, has_rpm_ostree)
    if target is None:
        raise Refusal(f"This host has no rollback deployment, so there is nothing to go back to. {inventory(state)}")
    _require_expected(state, target, request, "the rollback deployment")
    if state.next_slot is Slot.ROLLBACK:
        return Plan(state, state, (), f"the rollback is queued already: {target.describe()} boots next")
    if target.pinned and not request.names_target:
        raise Refusal(
            f"The deployment that this host names as rollback, {target.describe()}, is pinned: it was kept on purpose, and need not "
            f"be what ran before. Name it with {_name_it(target)} if you mean it. {inventory(state)}"
        )
    _refuse_read_only(state)
    warnings = _about_staged(state, request)
    after = replace(state, staged=None, rollback_queued=True, kargs_next=None)
    summary = f"queued the rollback to {target.describe()}"
    if state.staged is not None and state.rollback_queued:
        # The rollback is queued below the staged deployment; asking for it again would take it back.
        _refuse_composefs(state)
        return Plan(state, after, (_UNDEPLOY,), summary, warnings)
    return Plan(state, after, _toggle(state, target, has_rpm_ostree), summary, warnings)


def _is_back_already(state: HostState, request: RollbackRequest) -> bool:
    """Whether the host has booted what was asked for, as after the reboot of an earlier run: going on would take it away again."""
    if not request.names_target or state.booted is None or state.next_slot is not Slot.BOOTED:
        return False
    return _as_expected(state.booted, request) and not (state.rollback and _as_expected(state.rollback, request))


def _is_leaving(state: HostState, request: RollbackRequest) -> bool:
    """Whether the host runs what was asked for, and would leave it at the next reboot."""
    if not request.names_target or state.booted is None or state.next_slot is Slot.BOOTED:
        return False
    return _as_expected(state.booted, request) and not (state.rollback and _as_expected(state.rollback, request))


def _stay(state: HostState, booted: Deployment, request: RollbackRequest, has_rpm_ostree: bool) -> Plan:
    """Take back what would boot instead: what is staged, or a rollback that is queued, as it looks where the boot loader fell
    back to the older of two deployments."""
    if state.staged is None or state.next_slot is Slot.ROLLBACK:
        return _unqueue(state, booted, request, has_rpm_ostree)
    _refuse_read_only(state)
    warnings = _about_staged(state, request)
    if state.rollback_queued:
        raise Refusal(
            f"{state.staged.describe()} is staged on this host over a rollback that is queued. Discard what is staged first (image_stage "
            f"with state: unstaged), then run this again: it takes the rollback back. {inventory(state)}"
        )
    after = replace(state, staged=None, kargs_next=state.kargs_booted)
    return Plan(state, after, (discard(state.staged),), f"stays on {booted.describe()}", warnings)


def _as_expected(deployment: Deployment, request: RollbackRequest) -> bool:
    digests, checksum = request.expected_digests, request.expected_checksum
    return (not digests or deployment.digest in digests) and (not checksum or deployment.checksum == checksum)


def _unqueue(state: HostState, booted: Deployment, request: RollbackRequest, has_rpm_ostree: bool) -> Plan:
    target = state.rollback
    if state.next_slot is not Slot.ROLLBACK or target is None:
        following = state.next or booted
        _require_expected(state, following, request, "the deployment that boots next")
        return Plan(state, state, (), f"no rollback is about to boot: {following.describe()} boots next")
    _require_expected(state, booted, request, "the booted deployment")
    _refuse_read_only(state)
    warnings = _about_staged(state, request)
    after = replace(state, staged=None, rollback_queued=False, kargs_next=state.kargs_booted)
    summary = f"took back the queued rollback: {booted.describe()} boots next"
    return Plan(state, after, _toggle(state, target, has_rpm_ostree), summary, warnings)


def _toggle(state: HostState, target: Deployment, has_rpm_ostree: bool) -> tuple[Command, ...]:
    """The commands that swap booted and rollback, whatever is staged being discarded.

    bootc discards a staged deployment by itself and refuses any rollback that is no clean image; rpm-ostree the other
    way round (recorded, bootc 1.16.9 and rpm-ostree 2026.2).
    """
    purpose = "swap the booted and the rollback deployment in the boot order"
    bootc_can = target.image is not None and not target.local_changes
    if state.tool is Tool.BOOTC and (bootc_can or target.composefs):
        return (Command(("bootc", "rollback"), purpose),)
    if state.tool is Tool.BOOTC and not has_rpm_ostree:
        raise Refusal(
            f"The rollback of this host, {target.describe()}, is not a plain image deployment: bootc refuses to go back to it, and "
            "there is no rpm-ostree here, which could. Choose it in the boot menu, or put it first by hand with `ostree admin "
            "set-default INDEX` (`ostree admin status` lists them from 0)."
        )
    swap = Command(("rpm-ostree", "rollback"), purpose)
    return (_UNDEPLOY, swap) if state.staged is not None else (swap,)


def _about_staged(state: HostState, request: RollbackRequest) -> tuple[str, ...]:
    if state.staged is None:
        return ()
    if request.staged is StagedPolicy.FAIL:
        raise Refusal(
            f"{state.staged.describe()} is staged on this host, and a change of the rollback would discard it without a word. Set "
            "staged: discard if it is not wanted any more; otherwise reboot into it first."
        )
    return (f"discarded what was staged: {state.staged.describe()}",)


def _require_expected(state: HostState, deployment: Deployment, request: RollbackRequest, what: str) -> None:
    digests, checksum = request.expected_digests, request.expected_checksum
    wrong = []
    if digests and deployment.digest not in digests:
        wrong.append(f"one of the digests {', '.join(sorted(digests))}")
    if checksum and deployment.checksum != checksum:
        wrong.append(f"the ostree commit {checksum}")
    if wrong:
        raise Refusal(
            f"Nothing was changed: {what} is {deployment.describe()}, and expected is {' and '.join(wrong)}. {inventory(state)}"
        )


def inventory(state: HostState) -> str:
    """One sentence that lists every deployment of the host, with what names it."""
    slots = (("booted", state.booted), ("staged", state.staged), ("rollback", state.rollback))
    named = [*slots, *(("other", deployment) for deployment in state.others)]
    home = state.booted.stateroot if state.booted else None
    entries = [f"{slot}: {_entry(deployment, home)}" for slot, deployment in named if deployment is not None]
    return f"The host has {'; '.join(entries)}."


def _entry(deployment: Deployment, home: str | None) -> str:
    words = [deployment.describe()]
    if deployment.digest:
        words.append(f"digest {deployment.digest}")
    elif deployment.checksum and deployment.checksum not in words[0]:
        words.append(f"commit {deployment.checksum}")
    if deployment.pinned:
        words.append("pinned")
    if deployment.stateroot and home and deployment.stateroot != home:
        words.append(f"of another stateroot, {deployment.stateroot}")
    return ", ".join(words)


def _name_it(target: Deployment) -> str:
    return f"expected_digests: [{target.digest}]" if target.digest else f"expected_checksum: {target.checksum}"


def _refuse_read_only(state: HostState) -> None:
    if state.read_only:
        raise Refusal(
            "/sysroot of this host is on a read-only device (a live system?): its boot order cannot be changed."
        )


def _refuse_composefs(state: HostState) -> None:
    if state.staged is not None and state.staged.composefs:
        raise Refusal(
            f"The rollback is queued, but {state.staged.describe()} is staged over it, and a host of the composefs backend has no "
            "command to discard only that. Run `bootc rollback` twice on it by hand."
        )


def _identity(deployment: Deployment | None) -> object:
    """What makes it this deployment; pins and cached updates may change at any time."""
    return (deployment.checksum, deployment.serial, deployment.digest) if deployment else None
