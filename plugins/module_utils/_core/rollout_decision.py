# SPDX-License-Identifier: GPL-3.0-or-later
"""May this node go out of service now? The rule of the window, as a function of the pool's state alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from ansible_collections.imagemode.nodes.plugins.module_utils._core.maintenance_window import next_opening
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_halting import why_halted
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_holder import Holder, Liveness
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import PoolState, Slot, SlotState
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_wording import names, spoken

Alive = Callable[[Holder], Liveness]


class Verdict(Enum):
    """What a node that asks for a slot is told."""

    GRANTED = "granted"
    WAIT = "wait"
    HALTED = "halted"
    UNAPPROVED = "unapproved"


@dataclass(frozen=True)
class Request:
    """A node asks for its slot.

    `now`: seconds since 1970. `target_digests` empty: whatever the pool's plan says. `is_first_in_line`: no other node of
    the same run waits that the plan put before this one.
    """

    node: str
    holder: Holder
    now: float
    phase: str = "out of service"
    from_digest: str | None = None
    from_checksum: str | None = None
    boot_id: str | None = None
    zone: str = ""
    target_digests: tuple[str, ...] = ()
    take_over: bool = False
    is_first_in_line: bool = True


@dataclass(frozen=True)
class Decision:
    """The answer. `state` is what to store (the same object if nothing changes); `behind` the nodes waited for.

    `reason` is empty where the verdict says it all: a full window whose nodes are being worked on. `until`: the time at which
    the answer may be another one though nobody does anything. `phase_before`: what the node did when its slot was adopted.
    """

    verdict: Verdict
    state: PoolState
    reason: str = ""
    behind: tuple[str, ...] = ()
    until: float | None = None
    phase_before: str | None = None


def decide(state: PoolState, request: Request, alive: Alive) -> Decision:
    """Grant the slot, or say whom the node waits for, or why it will not be granted at all.

    A node that is out of service already may always finish: refusing it would leave it there.
    """
    entry = state.nodes.get(request.node)
    if entry is not None and entry.state is SlotState.ACTIVE:
        return _resume(state, entry, request, alive)
    halted = why_halted(state, request.now, request.target_digests)
    if halted:
        return Decision(Verdict.HALTED, state, halted)
    if request.node not in state.canaries:
        held_back = _behind_canaries(state, request)
        if held_back:
            return held_back
    opening = next_opening(state.policy.maintenance_windows, request.now)
    if opening:
        reason = f"the next maintenance window opens at {opening.told}, in {spoken(opening.at - request.now)}"
        return Decision(Verdict.WAIT, state, reason, until=opening.at)
    return _no_room(state, request, alive) or _in_turn(state, request, entry)


def _behind_canaries(state: PoolState, request: Request) -> Decision | None:
    """What keeps a node that is no canary; None if the canaries are back, have soaked, and the rest is approved of."""
    if state.canaries:
        return Decision(Verdict.WAIT, state, "canaries go first", state.canaries)
    if state.needs_approval:
        return Decision(Verdict.UNAPPROVED, state, unapproved(state))
    soaked = state.canaries_back + state.policy.soak
    if state.canaries_back and request.now < soaked:
        reason = (
            f"the canaries came back {spoken(request.now - state.canaries_back)} ago, and the soak takes "
            f"{spoken(state.policy.soak)}"
        )
        return Decision(Verdict.WAIT, state, reason, until=soaked)
    return None


def unapproved(state: PoolState) -> str:
    """What a person has to do where the rest may not follow the canaries yet."""
    return (
        f"nobody has approved of {names(state.target_digests)} for the rest of pool {state.pool} yet. Look at the nodes that run "
        "it, then run again with -e imagemode_approved=true"
    )


def _no_room(state: PoolState, request: Request, alive: Alive) -> Decision | None:
    """What keeps a node because of others that are out of service; None if there is room in the window and in its zone."""
    taken = tuple(name for name in state.out_of_service if name != request.node)
    entry = state.nodes.get(request.node)
    # What others have cordoned has its place, but may serve until it is drained: of such nodes, too, no more than the window
    # are updated at once.
    has_place = entry is not None and entry.takes_window
    others = tuple(name for name in taken if not has_place or state.nodes[name].state is not SlotState.AWAY)
    if len(others) >= state.window:
        if not any(_is_worked_on(state, name) for name in others):
            return Decision(Verdict.HALTED, state, f"the window of {state.window} is taken by {_told(state, others)}")
        return Decision(Verdict.WAIT, state, _why_stuck(state, others, alive), others)
    zones: dict[str, list[str]] = {}
    for name in taken:
        zones.setdefault(state.nodes[name].zone, []).append(name)
    if not state.policy.max_zones or request.zone in zones or len(zones) < state.policy.max_zones:
        return None
    stuck = [nodes for nodes in zones.values() if not all(_is_worked_on(state, name) for name in nodes)]
    if len(stuck) >= state.policy.max_zones:
        left = tuple(name for nodes in stuck for name in nodes if not _is_worked_on(state, name))
        reason = f"max_zones is {state.policy.max_zones}, and another zone has {_told(state, left)}"
        return Decision(Verdict.HALTED, state, reason)
    behind = tuple(name for name in taken if not any(name in nodes for nodes in stuck))
    reason = f"zone {request.zone or 'none'} has to wait, because max_zones is {state.policy.max_zones}"
    return Decision(Verdict.WAIT, state, reason, behind)


def _in_turn(state: PoolState, request: Request, entry: Slot | None) -> Decision:
    """There is room: the node goes, unless another one of its run is before it, or one has just gone."""
    if not request.is_first_in_line:
        return Decision(Verdict.WAIT, state, "others of this run come first")
    next_out = state.last_out + state.policy.soak_between
    # A time of another machine's clock that lies ahead must not hold anybody back for longer than was wanted.
    if state.policy.soak_between and request.now < next_out and request.now >= state.last_out:
        reason = f"a node went {spoken(request.now - state.last_out)} ago, and soak_between is {spoken(state.policy.soak_between)}"
        return Decision(Verdict.WAIT, state, reason, until=next_out)
    return Decision(Verdict.GRANTED, replace(_with_slot(state, request, entry), last_out=request.now))


def predict(state: PoolState, request: Request, alive: Alive) -> Decision:
    """The answer as far as a check run can know it: GRANTED, or HALTED by a pause.

    A check run stores no plan, so failures, canaries and target in `state` are those of an earlier plan, and its own plan
    has seen to them already: it queues nobody whom they stop. A node that would wait would go in its turn.
    """
    entry = state.nodes.get(request.node)
    if entry is not None and entry.state is SlotState.ACTIVE:
        decision = decide(state, request, alive)
        if decision.verdict is Verdict.GRANTED:
            return decision
    elif state.paused:
        return Decision(Verdict.HALTED, state, why_halted(state, request.now))
    return Decision(Verdict.GRANTED, _with_slot(state, request, entry))


def _is_worked_on(state: PoolState, name: str) -> bool:
    return state.nodes[name].state is SlotState.ACTIVE


def _told(state: PoolState, nodes: tuple[str, ...]) -> str:
    """`nodes that failed: n1; nodes that others have cordoned: n2`."""
    away = tuple(name for name in nodes if state.nodes[name].state is SlotState.AWAY)
    failed = tuple(name for name in nodes if name not in away)
    parts = [(failed, "nodes that failed"), (away, "nodes that others have cordoned")]
    return "; ".join(f"{what}: {names(found)}" for found, what in parts if found)


def _why_stuck(state: PoolState, taken: tuple[str, ...], alive: Alive) -> str:
    holders = {name: state.nodes[name].holder for name in taken}
    left_behind = tuple(name for name, holder in holders.items() if holder and alive(holder) is Liveness.DEAD)
    if left_behind:
        return f"the run that took {names(left_behind)} out of service is gone, and a run that includes it finishes it first"
    return ""


def _resume(state: PoolState, entry: Slot, request: Request, alive: Alive) -> Decision:
    if request.holder.is_same_process(entry.holder):
        # A phase that is older than the work on it is that of an earlier run, from which the plan took the node over.
        before = entry.phase if entry.phase_since < entry.held_since else None
        if entry.phase == request.phase and before is None:
            return Decision(Verdict.GRANTED, state)
        return Decision(Verdict.GRANTED, _with_slot(state, request, entry), phase_before=before)
    liveness = alive(entry.holder) if entry.holder else Liveness.DEAD
    if liveness is Liveness.DEAD:
        reason = f"carries on from {entry.holder}, which is gone" if entry.holder else "carries on from an earlier run"
    elif liveness is Liveness.UNKNOWN and request.take_over:
        reason = f"taken over from {entry.holder}, of which nothing can be known from here, because take_over is set"
    elif liveness is Liveness.UNKNOWN:
        reason = (
            f"its slot is held by {entry.holder}, and whether that still runs cannot be seen from here. If it does not, "
            "run again with imagemode_take_over=true"
        )
        return Decision(Verdict.WAIT, state, reason, (request.node,))
    else:
        return Decision(Verdict.WAIT, state, f"{entry.holder} is updating it", (request.node,))
    return Decision(Verdict.GRANTED, _with_slot(state, request, entry), reason, phase_before=entry.phase)


def _with_slot(state: PoolState, request: Request, entry: Slot | None) -> PoolState:
    mine = entry is not None and entry.state is SlotState.ACTIVE and request.holder.is_same_process(entry.holder)
    # What an earlier holder wrote was seen before the node went; what is seen now may be half an update later.
    is_known = entry is not None and bool(entry.from_digest or entry.from_checksum)
    origin = entry if entry is not None and is_known else request
    slot = Slot(
        state=SlotState.ACTIVE,
        phase=request.phase,
        since=entry.since if entry and entry.takes_window else request.now,
        holder=request.holder,
        from_digest=origin.from_digest,
        from_checksum=origin.from_checksum,
        boot_id=entry.boot_id if entry and entry.boot_id else request.boot_id,
        zone=request.zone or (entry.zone if entry else ""),
        phase_since=request.now,
        held_since=entry.held_since if entry and mine else request.now,
        cordoned=entry is not None and (entry.cordoned or entry.state is SlotState.AWAY),
    )
    return replace(state, nodes={**state.nodes, request.node: slot})
