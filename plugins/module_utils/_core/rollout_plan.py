# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns what staging found and what the store holds into the order of a rollout. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_decision import Alive, unapproved
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_entries import (
    PlannedEntries,
    can_be_brought_back,
    sort_out,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_halting import why_halted
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_holder import Holder, Liveness
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_order import ordered
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_request import PlanError, PlanRequest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_staging import StagingOutcome
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import (
    Policy,
    PoolState,
    Progress,
    SlotState,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_transitions import approve
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_window import NodeLimit
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_wording import names


@dataclass(frozen=True)
class RolloutPlan:
    """`state` is to be stored, unless it is `before` unchanged. `order`: nodes to queue, first one first.

    `halted`: why no further node may go. `denied`: why the target may not be given to anybody. `awaiting_approval`: what a
    person has to do before the rest goes. All three are empty if there is no such thing.
    """

    before: PoolState | None
    state: PoolState
    order: tuple[str, ...]
    resumed: tuple[str, ...] = ()
    retried: tuple[str, ...] = ()
    unreachable: tuple[str, ...] = ()
    unstaged: tuple[str, ...] = ()
    right: tuple[str, ...] = ()
    halted: str = ""
    denied: str = ""
    awaiting_approval: str = ""

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
    state = _with_policy(state, request)
    denial = state.denial(request.target_digests)
    may_retry = not why_halted(replace(state, nodes={}, canaries=()), request.now)
    entries = sort_out(state, request, may_retry, denial is not None, alive)
    left_out = {*unproven_before} - {item.node for item in request.stagings}
    unsettled = {name for name, slot in entries.nodes.items() if slot.state is not SlotState.AWAY}
    to_prove = {*entries.ready, *unsettled, *left_out}
    canaries = tuple(dict.fromkeys(name for name in (*unproven_before, *request.canaries) if name in to_prove))
    state = replace(state, nodes=entries.nodes, canaries=canaries)
    halted = why_halted(state, request.now) or _unproven(state, left_out, bool(others))
    abandoned = "" if halted else _abandoned(state, request, alive)
    awaiting = unapproved(state) if entries.fresh and not halted and not canaries and state.needs_approval else ""
    rest = () if halted or awaiting else _in_order(state, request, entries)
    if abandoned:  # a node that others have cordoned has its place already
        rest = tuple(name for name in rest if name in state.nodes and state.nodes[name].takes_window)
    order = tuple(dict.fromkeys(entries.resumed + entries.retried + rest))
    state = replace(state, progress=_progress(state, order, bool(others)), returned=state.returned if others else {})
    return RolloutPlan(
        before=before,
        state=state,
        order=order,
        resumed=entries.resumed,
        retried=entries.retried,
        unreachable=() if denial else _named(request, StagingOutcome.UNREACHABLE),
        unstaged=() if denial else _named(request, StagingOutcome.FAILED),
        right=_named(request, StagingOutcome.RIGHT),
        halted=halted or abandoned,
        denied=denied_text(state, request.target_digests),
        awaiting_approval=awaiting,
    )


def denied_text(state: PoolState, digests: Sequence[str]) -> str:
    """Why nobody may be given these digests, and how to lift that; empty if nothing speaks against them."""
    denial = state.denial(digests)
    if denial is None:
        return ""
    return (
        f"{denial.digest} is denied in pool {state.pool}: {denial.reason}. Roll out another image; or, if it is good after all, run "
        "the playbook imagemode.nodes.rollout_store with -e imagemode_store_state=allowed and then this again"
    )


def unfinished(state: PoolState, nodes: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    """Those of `nodes` that a run which is gone, or gave up, left out of service; `others`: held by live runs."""
    left = {name for name, slot in state.nodes.items() if slot.state is SlotState.ACTIVE or can_be_brought_back(slot)}
    return tuple(name for name in nodes if name in left and name not in others)


def _with_policy(state: PoolState, request: PlanRequest) -> PoolState:
    shared_size = max(state.pool_size, len(request.members)) if request.shared else len(request.members)
    is_new = set(state.target_digests) != set(request.target_digests)
    state = replace(
        state,
        pool_size=request.pool_size or shared_size,
        policy=request.policy,
        target_digests=request.target_digests,
        canaries_back=0.0 if is_new else state.canaries_back,
    )
    return approve(state, request.target_digests) if request.approved else state


def one_at_a_time(policy: Policy) -> Policy:
    """The policy of a pool of control planes, whose etcd bears the loss of one member and no more."""
    return replace(policy, max_unavailable=NodeLimit(1))


def _in_order(state: PoolState, request: PlanRequest, entries: PlannedEntries) -> tuple[str, ...]:
    first = tuple(name for name in state.canaries if name in entries.fresh)
    ages = {item.node: item.booted_since for item in request.stagings}
    ages.update({name: node.created for name, node in request.cluster.items() if node.created is not None})
    rest = ordered(
        [name for name in entries.fresh if name not in first],
        request.order,
        request.zones,
        {name: age for name, age in ages.items() if age is not None},
        {slot.zone for slot in state.nodes.values() if slot.takes_window},
    )
    return first + rest


def _guard_strangers(state: PoolState, request: PlanRequest) -> None:
    if state.pool != request.pool:
        raise PlanError(
            f"the store holds the state of pool {state.pool}, not of {request.pool}: give each its own path"
        )
    strangers = tuple(name for name in state.nodes if name not in request.members)
    if strangers and not request.shared:
        raise PlanError(
            f"the store says that {names(strangers)} of pool {request.pool} is out of service or failed, but the inventory has no "
            "such node in that group. Either another inventory uses the same store, then give each inventory a path of its "
            "own (imagemode_store_path); or the node was renamed or retired, then run once with "
            "the playbook imagemode.nodes.rollout_store with -e imagemode_store_state=released and "
            f"-e '{{\"imagemode_store_nodes\": [{', '.join(chr(34) + name + chr(34) for name in strangers)}]}}'"
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
    cordoned = []
    for name in taken:
        slot = state.nodes[name]
        gone = slot.holder is None or alive(slot.holder) is Liveness.DEAD
        if slot.state is SlotState.ACTIVE and (name in here or not gone):
            return ""
        if slot.state is SlotState.AWAY:
            cordoned.append(name)
    if cordoned:
        return (
            f"the window of {state.window} is taken by {names(taken)}, and somebody has cordoned {names(tuple(cordoned))} by hand. "
            "Uncordon what is well"
        )
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
