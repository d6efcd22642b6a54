# SPDX-License-Identifier: GPL-3.0-or-later
"""One line that tells somebody who looks once in ten minutes where the rollout of a pool stands."""

from __future__ import annotations

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import PoolState
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_wording import names, spoken


def remaining_seconds(state: PoolState) -> float | None:
    """About how long it will still take, from the nodes done so far; None before the first one is done."""
    progress = state.progress
    if progress.done < 1:
        return None
    left = max(0, progress.planned - progress.done)
    side_by_side = left * (progress.seconds / progress.done) / min(state.window, max(1, left))
    return max(side_by_side, left * state.policy.soak_between)


def tally(state: PoolState) -> str:
    """`12 of 50 done, 1 failed, about 9 min left`."""
    progress = state.progress
    parts = [f"{min(progress.done, progress.planned)} of {progress.planned} done"]
    if state.failures:
        parts.append(f"{len(state.failures)} failed")
    left = remaining_seconds(state)
    if left is not None and progress.done < progress.planned:
        parts.append(f"about {spoken(left)} left")
    return ", ".join(parts)


def waiting_line(state: PoolState, node: str, behind: tuple[str, ...], reason: str, now: float) -> str:
    """`workers: node-17 waits behind node-03 (rebooting for 94 s); 12 of 50 done, about 9 min left`."""
    if not behind or behind == (node,):
        return f"{state.pool}: {node} waits: {reason}; {tally(state)}"
    told = tuple(_described(state, name, now) for name in behind)
    return f"{state.pool}: {node} waits behind {names(told, 3)}{f': {reason}' if reason else ''}; {tally(state)}"


def _described(state: PoolState, name: str, now: float) -> str:
    slot = state.nodes.get(name)
    if slot is None:
        return f"{name} (canary)"
    if slot.is_failure:
        return f"{name} (failed)"
    late = ", overdue" if slot.is_overdue(state.policy.overdue, now) else ""
    return f"{name} ({slot.phase} for {spoken(now - slot.phase_since)}{late})"
