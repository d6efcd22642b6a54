# SPDX-License-Identifier: GPL-3.0-or-later
"""What stops a rollout: no further node goes out of service, and those that are out finish."""

from __future__ import annotations

from ansible_collections.imagemode.nodes.plugins.module_utils._core.maintenance_window import next_opening
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import OutsideWindow, PoolState
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_wording import names, spoken


def why_halted(state: PoolState, now: float, target_digests: tuple[str, ...] = ()) -> str:
    """Why no node of the pool may go out of service any more; empty when nothing speaks against it.

    `target_digests`: what the run that asks wants; empty: whatever the plan says. Nodes are named without their own reasons:
    every node that waits repeats this, and each failure has been told once.
    """
    if state.paused:
        return (
            f"the rollout of pool {state.pool} is paused (the playbook imagemode.nodes.rollout_store with "
            "-e imagemode_store_state=resumed lifts that)"
        )
    if target_digests and set(target_digests) != set(state.target_digests):
        return (
            f"this run is for {names(target_digests)}, but a newer run has planned pool {state.pool} for "
            f"{names(state.target_digests)}"
        )
    denial = state.denial(state.target_digests)
    if denial:
        return f"{denial.digest} is denied in pool {state.pool}: {denial.reason}"
    return _failures(state, now) or _closed(state, now)


def _failures(state: PoolState, now: float) -> str:
    for name in state.canaries:
        slot = state.nodes.get(name)
        if slot and slot.is_failure:
            return f"the canary {name} failed"
    overdue = state.overdue(now)
    told = state.failures + tuple(overdue_text(state, name, now) for name in overdue)
    if len(told) >= state.failure_limit:
        return f"{len(told)} failed ({names(told)}), and max_failures is {_limit(state)}"
    return ""


def overdue_text(state: PoolState, name: str, now: float) -> str:
    """`n3 overdue: rebooting, in work for 2 h 5 min`."""
    slot = state.nodes[name]
    return f"{name} overdue: {slot.phase}, in work for {spoken(now - slot.held_since)}"


def _limit(state: PoolState) -> str:
    limit = state.policy.max_failures
    return f"{limit}, which is {state.failure_limit} of {state.pool_size}" if limit.percent else str(limit)


def _closed(state: PoolState, now: float) -> str:
    if state.policy.outside_window is OutsideWindow.WAIT:
        return ""
    opening = next_opening(state.policy.maintenance_windows, now)
    if opening is None:
        return ""
    return f"no maintenance window is open. The next one opens at {opening.told}, in {spoken(opening.at - now)}"
