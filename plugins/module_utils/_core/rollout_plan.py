# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns what staging found and what the store holds into the order of a rollout. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_decision import Alive, why_halted
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_holder import Holder, Liveness
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_staging import Staging, StagingOutcome
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import (
    Policy,
    PoolState,
    Progress,
    Slot,
    SlotState,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_wording import names

STAGING = "staging"


class PlanError(Exception):
    """No plan can be made. The message says what was seen and what to do."""


@dataclass(frozen=True)
class PlanRequest:
    """What is to be planned.

    `members`: the whole pool in inventory order, also what `--limit` hides. `stagings`: the nodes of this run, in the
    play's order. `shared`: other controllers may see other parts of the pool (sliced jobs). `now`, and `since`, which is
    when staging began: seconds since 1970.
    """

    pool: str
    members: tuple[str, ...]
    stagings: tuple[Staging, ...]
    policy: Policy
    target_digests: tuple[str, ...]
    holder: Holder
    now: float
    since: float | None = None
    canaries: tuple[str, ...] = ()
    pool_size: int | None = None
    shared: bool = False
    take_over: bool = False


@dataclass(frozen=True)
class RolloutPlan:
    """`state` is to be stored, unless it is `before` unchanged. `order`: nodes to queue, first one first."""

    before: PoolState | None
    state: PoolState
    order: tuple[str, ...]
    resumed: tuple[str, ...] = ()
    retried: tuple[str, ...] = ()
    unreachable: tuple[str, ...] = ()
    unstaged: tuple[str, ...] = ()
    right: tuple[str, ...] = ()
    halted: str = ""

    @property
    def changed(self) -> bool:
        """Whether the state has to be stored: there is work to do, or what is known about a node changed."""
        if self.before is None:
            return bool(self.order or self.state.nodes)
        known = dict(self.before.nodes) == dict(self.state.nodes) and self.before.canaries == self.state.canaries
        return bool(self.order) or not known


def plan_rollout(before: PoolState | None, request: PlanRequest, alive: Alive) -> RolloutPlan:
    """The plan for `request` on top of what is stored; raises PlanError when the store belongs to something else."""
    state = before or PoolState(request.pool, len(request.members))
    _guard_strangers(state, request)
    others = live_others(state, request.holder, request.take_over, alive)
    guard_other_target(state, request.target_digests, others)
    unproven_before = state.canaries if set(state.target_digests) == set(request.target_digests) else ()
    shared_size = max(state.pool_size, len(request.members)) if request.shared else len(request.members)
    state = replace(
        state,
        pool_size=request.pool_size or shared_size,
        policy=request.policy,
        target_digests=request.target_digests,
    )
    sorted_out = _sort_out(state, request, retry=not why_halted(replace(state, nodes={}, canaries=())))
    ready = tuple(
        item.node
        for item in request.stagings
        if item.outcome is StagingOutcome.READY or _was_away_for_an_update(state, request, item)
    )
    resumed, retried = sorted_out.resumed, sorted_out.retried
    left_out = {*unproven_before} - {item.node for item in request.stagings}
    to_prove = {*ready, *sorted_out.nodes, *left_out}
    canaries = tuple(dict.fromkeys(name for name in (*unproven_before, *request.canaries) if name in to_prove))
    state = replace(state, nodes=sorted_out.nodes, canaries=canaries)
    halted = why_halted(state) or _unproven(state, left_out, bool(others)) or _abandoned(state, request, alive)
    fresh = tuple(name for name in ready if name not in sorted_out.nodes)
    first = tuple(name for name in canaries if name in fresh)
    rest = () if halted else first + tuple(name for name in fresh if name not in first)
    order = tuple(dict.fromkeys(resumed + retried + rest))
    state = replace(state, progress=_progress(state, order, bool(others)), returned=state.returned if others else {})
    return RolloutPlan(
        before=before,
        state=state,
        order=order,
        resumed=resumed,
        retried=retried,
        unreachable=_named(request, StagingOutcome.UNREACHABLE),
        unstaged=_named(request, StagingOutcome.FAILED),
        right=_named(request, StagingOutcome.RIGHT),
        halted=halted,
    )


@dataclass(frozen=True)
class _Entries:
    nodes: dict[str, Slot]
    resumed: tuple[str, ...]
    retried: tuple[str, ...]


def _sort_out(state: PoolState, request: PlanRequest, retry: bool) -> _Entries:
    """What the store should say about the nodes of this run, and which of them are out of service already."""
    nodes = dict(state.nodes)
    resumed: list[str] = []
    retried: list[str] = []
    for item in request.stagings:
        entry = nodes.get(item.node)
        usable = item.outcome in (StagingOutcome.READY, StagingOutcome.RIGHT)
        if entry is not None and entry.state is SlotState.ACTIVE:
            # Taken out of service by a run that may be gone, and possibly just booting: its slot waits for it.
            resumed.append(item.node)
        elif usable and entry is not None and entry.state is SlotState.FAILED and entry.phase != STAGING:
            if retry:
                nodes[item.node] = replace(
                    entry, state=SlotState.ACTIVE, phase="retry", holder=request.holder, reason=None
                )
                retried.append(item.node)
        elif usable or _was_away_for_an_update(state, request, item):
            nodes.pop(item.node, None)
        elif entry is not None and entry.state is SlotState.FAILED:
            nodes[item.node] = replace(entry, reason=item.reason)
        else:
            away = item.outcome is StagingOutcome.UNREACHABLE
            nodes[item.node] = _not_staged(item, SlotState.FAILED if away else SlotState.UNSTAGED, entry, request.now)
    return _Entries(nodes, tuple(resumed), tuple(retried))


def _was_away_for_an_update(state: PoolState, request: PlanRequest, item: Staging) -> bool:
    """Another controller had the node rebooting while this one tried to stage it, and has brought it back since."""
    if item.outcome is not StagingOutcome.UNREACHABLE or item.node in state.nodes or request.since is None:
        return False
    return state.returned.get(item.node, 0.0) >= request.since


def _not_staged(item: Staging, state: SlotState, entry: Slot | None, now: float) -> Slot:
    return Slot(
        state=state,
        phase=STAGING,
        since=entry.since if entry else now,
        from_digest=item.from_digest,
        boot_id=item.boot_id,
        reason=item.reason,
    )


def _guard_strangers(state: PoolState, request: PlanRequest) -> None:
    if state.pool != request.pool:
        raise PlanError(
            f"the store holds the state of pool {state.pool}, not of {request.pool}: give each its own path"
        )
    strangers = tuple(name for name in state.nodes if name not in request.members)
    if strangers and not request.shared:
        raise PlanError(
            f"the store says that {names(strangers)} of pool {request.pool} is out of service, but the inventory has no "
            "such node in that group. Either another inventory uses the same store, then give each inventory a path of its "
            "own (imagemode_store_path); or the node was renamed or retired, then run once with "
            f"-e '{{\"imagemode_forget\": [{', '.join(chr(34) + name + chr(34) for name in strangers)}]}}'"
        )


def live_others(state: PoolState, holder: Holder, take_over: bool, alive: Alive) -> tuple[str, ...]:
    """The nodes that other runs hold, as far as those live or may live; with `take_over` only what surely lives counts."""
    gone = (Liveness.DEAD, Liveness.UNKNOWN) if take_over else (Liveness.DEAD,)
    held = {name: slot.holder for name, slot in state.nodes.items() if slot.state is SlotState.ACTIVE}
    return tuple(
        name for name, other in held.items() if other and not holder.is_same_process(other) and alive(other) not in gone
    )


def guard_other_target(state: PoolState, targets: Sequence[str], others: tuple[str, ...]) -> None:
    """Raises PlanError if other runs are at work on the pool for another image than `targets`."""
    if others and set(state.target_digests) != set(targets):
        holder = state.nodes[others[0]].holder
        raise PlanError(
            f"pool {state.pool} is just being updated to {names(state.target_digests)} by {holder} ({names(others)} out of "
            f"service), and this run wants {names(tuple(targets))}. Let that run end or stop it, then run again. If "
            "it is gone, and this machine cannot know it, run again with -e imagemode_take_over=true"
        )


def _unproven(state: PoolState, left_out: set[str], others: bool) -> str:
    """Why nobody may follow canaries that this run leaves out, unless a live run is there that can bring them back."""
    missing = tuple(name for name in state.canaries if name in left_out)
    if others or not missing:
        return ""
    return (
        f"the canaries go first, and {names(missing)} has not come back with this image yet. Run again with it (without "
        "--limit, or with a --limit that includes it)"
    )


def _abandoned(state: PoolState, request: PlanRequest, alive: Alive) -> str:
    """Why waiting would never end: the window is full of nodes that nobody works on and that this run leaves out."""
    here = {item.node for item in request.stagings}
    taken = state.out_of_service
    if len(taken) < state.window:
        return ""
    for name in taken:
        slot = state.nodes[name]
        gone = slot.holder is None or alive(slot.holder) is Liveness.DEAD
        if not slot.is_failure and (name in here or not gone):
            return ""
    return (
        f"the window of {state.window} is taken by {names(taken)}, and nobody works on it: the run that took it out of service "
        "failed or is gone. Run again with it (without --limit, or with a --limit that includes it)"
    )


def _progress(state: PoolState, order: Sequence[str], others: bool) -> Progress:
    if not others:
        return Progress(planned=len(order))
    old = state.progress
    return replace(old, planned=max(old.planned, old.done + len(order)))


def _named(request: PlanRequest, outcome: StagingOutcome) -> tuple[str, ...]:
    return tuple(item.node for item in request.stagings if item.outcome is outcome)
