# SPDX-License-Identifier: GPL-3.0-or-later
"""May this node go out of service now? The rule of the window, as a function of the pool's state alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_holder import Holder, Liveness
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import PoolState, Slot, SlotState
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_wording import names

Alive = Callable[[Holder], Liveness]


class Verdict(Enum):
    """What a node that asks for a slot is told."""

    GRANTED = "granted"
    WAIT = "wait"
    HALTED = "halted"


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
    boot_id: str | None = None
    target_digests: tuple[str, ...] = ()
    take_over: bool = False
    is_first_in_line: bool = True


@dataclass(frozen=True)
class Decision:
    """The answer. `state` is what to store (the same object if nothing changes); `behind` the nodes waited for.

    `reason` is empty where the verdict says it all: a full window whose nodes are being worked on.
    """

    verdict: Verdict
    state: PoolState
    reason: str = ""
    behind: tuple[str, ...] = ()


def decide(state: PoolState, request: Request, alive: Alive) -> Decision:
    """Grant the slot, or say whom the node waits for, or why it will not be granted at all.

    A node that is out of service already may always finish: refusing it would leave it there.
    """
    entry = state.nodes.get(request.node)
    if entry is not None and entry.state is SlotState.ACTIVE:
        return _resume(state, entry, request, alive)
    halted = why_halted(state, request)
    if halted:
        return Decision(Verdict.HALTED, state, halted)
    waiting_for_canaries = tuple(name for name in state.canaries if name != request.node)
    if waiting_for_canaries and request.node not in state.canaries:
        return Decision(Verdict.WAIT, state, "canaries go first", waiting_for_canaries)
    taken = state.out_of_service
    if len(taken) < state.window and not request.is_first_in_line:
        return Decision(Verdict.WAIT, state, "others of this run come first")
    if len(taken) < state.window:
        return Decision(Verdict.GRANTED, _with_slot(state, request, None))
    if all(state.nodes[name].is_failure for name in taken):
        reason = f"the window of {state.window} is taken by nodes that failed: {names(taken)}"
        return Decision(Verdict.HALTED, state, reason)
    return Decision(Verdict.WAIT, state, _why_stuck(state, taken, alive), taken)


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
        return Decision(Verdict.HALTED, state, why_halted(state))
    return Decision(Verdict.GRANTED, _with_slot(state, request, entry))


def why_halted(state: PoolState, request: Request | None = None) -> str:
    """Why no node of the pool may go out of service any more; empty when nothing speaks against it.

    Nodes are named without their own reasons: every node that waits repeats this, and each failure has been told once.
    """
    if state.paused:
        return f"the rollout of pool {state.pool} is paused (rollout_plan with state: resumed lifts that)"
    if request and request.target_digests and set(request.target_digests) != set(state.target_digests):
        return (
            f"this run is for {names(request.target_digests)}, but a newer run has planned pool {state.pool} for "
            f"{names(state.target_digests)}"
        )
    for denial in state.denied:
        if denial.digest in state.target_digests:
            return f"{denial.digest} is denied in pool {state.pool}: {denial.reason}"
    for name in state.canaries:
        slot = state.nodes.get(name)
        if slot and slot.is_failure:
            return f"the canary {name} failed"
    failures = state.failures
    if len(failures) >= state.policy.max_failures:
        return f"{len(failures)} failed ({names(failures)}), and max_failures is {state.policy.max_failures}"
    return ""


def _why_stuck(state: PoolState, taken: tuple[str, ...], alive: Alive) -> str:
    holders = {name: state.nodes[name].holder for name in taken}
    left_behind = tuple(name for name, holder in holders.items() if holder and alive(holder) is Liveness.DEAD)
    if left_behind:
        return (
            f"the run that took {names(left_behind)} out of service is gone; only a run that includes it can finish it"
        )
    return ""


def _resume(state: PoolState, entry: Slot, request: Request, alive: Alive) -> Decision:
    if request.holder.is_same_process(entry.holder):
        if entry.phase == request.phase:
            return Decision(Verdict.GRANTED, state)
        return Decision(Verdict.GRANTED, _with_slot(state, request, entry))
    liveness = alive(entry.holder) if entry.holder else Liveness.DEAD
    if liveness is Liveness.DEAD:
        who = f"{entry.holder}, which is gone" if entry.holder else "an earlier run"
        return Decision(Verdict.GRANTED, _with_slot(state, request, entry), f"carries on from {who}")
    if liveness is Liveness.UNKNOWN and request.take_over:
        reason = f"taken over from {entry.holder}, of which nothing can be known from here, because take_over is set"
        return Decision(Verdict.GRANTED, _with_slot(state, request, entry), reason)
    if liveness is Liveness.UNKNOWN:
        reason = (
            f"its slot is held by {entry.holder}, and whether that still runs cannot be seen from here. If it does not, "
            "run again with imagemode_take_over=true"
        )
        return Decision(Verdict.WAIT, state, reason, (request.node,))
    return Decision(Verdict.WAIT, state, f"{entry.holder} is updating it", (request.node,))


def _with_slot(state: PoolState, request: Request, entry: Slot | None) -> PoolState:
    slot = Slot(
        state=SlotState.ACTIVE,
        phase=request.phase,
        since=entry.since if entry else request.now,
        holder=request.holder,
        # What an earlier holder wrote was seen before the node went; what is seen now may be half an update later.
        from_digest=entry.from_digest if entry and entry.from_digest else request.from_digest,
        boot_id=entry.boot_id if entry and entry.boot_id else request.boot_id,
        was_cordoned=entry.was_cordoned if entry else None,
    )
    return replace(state, nodes={**state.nodes, request.node: slot})
