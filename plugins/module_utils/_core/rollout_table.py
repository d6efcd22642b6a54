# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a pool as a person reads it who wants to know what goes on, or to set it right."""

from __future__ import annotations

from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import short_digest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.maintenance_window import next_opening
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_decision import Alive
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_holder import Liveness
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_progress import tally
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import PoolState, Slot, SlotState
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_wording import names, spoken

_LIVENESS = {Liveness.ALIVE: "", Liveness.DEAD: ", which is gone", Liveness.UNKNOWN: ", of which nothing is known here"}


def state_lines(state: PoolState, alive: Alive, now: float) -> list[str]:
    """A line on the pool, one on whatever holds its rollout back, and a table of the nodes that are not simply in service."""
    target = f" to {short_digest(state.target_digests[0])}" if state.target_digests else ""
    out = len(state.out_of_service)
    lines = [
        f"{state.pool}: {state.pool_size} nodes, last rollout{target}: {tally(state)}; {out} out of service, window {state.window}"
    ]
    lines += [f"{state.pool}: {line}" for line in _held_back(state, now)]
    lines += [
        f"{state.pool}: denied since {spoken(now - denial.since)}: {denial.digest}: {denial.reason}"
        for denial in state.denied
    ]
    if not state.nodes:
        return [*lines, f"{state.pool}: all nodes are in service, as far as is known here"]
    rows = [("node", "state", "phase", "since", "held by / reason")]
    for name, slot in sorted(state.nodes.items(), key=lambda item: (item[1].since, item[0])):
        rows.append((name, slot.state.value, slot.phase, spoken(now - slot.since), _about(state, slot, alive, now)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return lines + ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def _held_back(state: PoolState, now: float) -> list[str]:
    held = []
    if state.paused:
        held.append("paused by a person")
    if state.canaries:
        held.append(f"waits for its canaries: {names(state.canaries)}")
    elif state.needs_approval:
        held.append(f"waits for an approval of {names(state.target_digests)}")
    opening = next_opening(state.policy.maintenance_windows, now)
    if opening:
        held.append(f"the next maintenance window opens at {opening.told}, in {spoken(opening.at - now)}")
    return held


def _about(state: PoolState, slot: Slot, alive: Alive, now: float) -> str:
    if slot.state is not SlotState.ACTIVE:
        return slot.reason or "-"
    late = (
        f"overdue, in work for {spoken(now - slot.held_since)}; " if slot.is_overdue(state.policy.overdue, now) else ""
    )
    if slot.holder is None:
        return f"{late}nobody"
    return f"{late}{slot.holder}{_LIVENESS[alive(slot.holder)]}"
