# SPDX-License-Identifier: GPL-3.0-or-later
"""What the store should say about the nodes of a run before it begins, and who of them is to be updated."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_decision import Alive
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_holder import Liveness
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_request import PlanRequest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_staging import Staging, StagingOutcome
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import PoolState, Slot, SlotState
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_transitions import CORDONED

STAGING = "staging"
NOT_READY = "not ready"
LEFT_CORDONED = "left cordoned"


@dataclass(frozen=True)
class PlannedEntries:
    """`nodes`: to be stored. `ready`: staged; of these `fresh` are those that have to ask for a place.

    `resumed`: out of service, by an earlier or another run. `retried`: out of service, and nobody worked on them.
    """

    nodes: dict[str, Slot]
    ready: tuple[str, ...]
    resumed: tuple[str, ...]
    retried: tuple[str, ...]

    @property
    def fresh(self) -> tuple[str, ...]:
        """Nodes to be updated that nobody has taken out of service yet."""
        return tuple(name for name in self.ready if name not in {*self.resumed, *self.retried} and self._may_ask(name))

    def _may_ask(self, name: str) -> bool:
        entry = self.nodes.get(name)
        return entry is None or entry.state is SlotState.AWAY


def sort_out(state: PoolState, run: PlanRequest, may_retry: bool, denied: bool, alive: Alive) -> PlannedEntries:
    """`may_retry`: nothing speaks against updating nodes. `denied`: nothing was staged, only what is out is brought back."""
    nodes = dict(state.nodes)
    resumed: list[str] = []
    retried: list[str] = []
    ready: list[str] = []
    for item in run.stagings:
        entry = nodes.get(item.node)
        if entry is not None and entry.state is SlotState.ACTIVE:
            # Taken out of service by a run that may be gone, and possibly just booting: its slot waits for it.
            resumed.append(item.node)
            node = run.cluster.get(item.node)
            nodes[item.node] = replace(
                entry,
                held_since=run.now if _is_left(entry, run, alive) else entry.held_since,
                cordoned=node.cordoned if node else entry.cordoned,
            )
            continue
        if denied:
            if entry is not None and can_be_brought_back(entry):
                nodes[item.node] = _taken_up(entry, run)
                retried.append(item.node)
            continue
        if item.outcome is StagingOutcome.READY or _was_away_for_an_update(state, run, item):
            ready.append(item.node)
        planned = _planned(state, run, item, entry)
        if planned is not None and planned.state is SlotState.ACTIVE:
            if may_retry:
                retried.append(item.node)
            else:
                planned = replace(planned, state=SlotState.FAILED, holder=None, held_since=0.0)
        if planned is None:
            nodes.pop(item.node, None)
        else:
            nodes[item.node] = planned
    in_run = {item.node for item in run.stagings}
    for name in run.members:
        if denied or name in in_run or name not in run.cluster:
            continue
        seen = _seen(state, run, name, nodes.get(name), in_run=False)
        if seen is None:
            nodes.pop(name, None)
        else:
            nodes[name] = seen
    return PlannedEntries(nodes, tuple(ready), tuple(resumed), tuple(retried))


def can_be_brought_back(entry: Slot) -> bool:
    """Whether a failed node is out of service by a rollout, and it is known what it ran before."""
    is_ours = entry.state is SlotState.FAILED and entry.phase not in (STAGING, NOT_READY)
    return is_ours and bool(entry.from_digest or entry.from_checksum)


def _taken_up(entry: Slot, run: PlanRequest) -> Slot:
    return replace(entry, state=SlotState.ACTIVE, holder=run.holder, held_since=run.now, reason=None)


def _planned(state: PoolState, run: PlanRequest, item: Staging, entry: Slot | None) -> Slot | None:
    """What to store about a node of this run that nobody is updating; an ACTIVE slot is one that this run takes up."""
    usable = item.outcome in (StagingOutcome.READY, StagingOutcome.RIGHT)
    if not usable and not _was_away_for_an_update(state, run, item):
        return _not_staged(run, item, entry)
    if usable and entry is not None and entry.state is SlotState.FAILED and entry.phase not in (STAGING, NOT_READY):
        return _taken_up(entry, run)
    seen = _seen(state, run, item.node, entry, in_run=True)
    if seen is None or seen.state is not SlotState.FAILED:
        return seen
    # Out of service, and staging got through: its place is taken anyway, so it goes first.
    if item.outcome is StagingOutcome.READY or seen.phase == LEFT_CORDONED:
        return replace(
            seen,
            state=SlotState.ACTIVE,
            holder=run.holder,
            held_since=run.now,
            reason=None,
            from_digest=item.from_digest,
            from_checksum=item.from_checksum,
            boot_id=item.boot_id,
        )
    return seen


def _seen(state: PoolState, run: PlanRequest, name: str, entry: Slot | None, in_run: bool) -> Slot | None:
    """The entry of a node with what the cluster says of it; None: it is in service, or nothing is known against it."""
    node = run.cluster.get(name)
    others_entry = entry is not None and not (entry.state is SlotState.AWAY or entry.phase == NOT_READY)
    if others_entry and not in_run:
        return entry
    if node is None:
        return entry if entry is not None and not in_run else None
    if _came_back(state, run, name):
        return None
    known = entry if entry is not None and not others_entry else None
    since = known.since if known else run.now
    zone = run.zones.get(name, "")
    if not node.ready:
        reason = "the cluster says that it is not ready"
        return Slot(
            SlotState.FAILED, NOT_READY, since, zone=zone, phase_since=since, cordoned=node.cordoned, reason=reason
        )
    if node.cordoned:
        return Slot(SlotState.AWAY, CORDONED, since, zone=zone, phase_since=since)
    if node.left_cordoned and in_run:
        return Slot(SlotState.FAILED, LEFT_CORDONED, since, zone=zone, phase_since=since)
    return None


def _not_staged(run: PlanRequest, item: Staging, entry: Slot | None) -> Slot:
    if entry is not None and entry.state is SlotState.FAILED:
        return replace(entry, reason=item.reason)
    away = item.outcome is StagingOutcome.UNREACHABLE
    node = run.cluster.get(item.node)
    since = entry.since if entry else run.now
    return Slot(
        state=SlotState.FAILED if away or (node is not None and not node.ready) else SlotState.KEPT,
        phase=STAGING,
        since=since,
        from_digest=item.from_digest,
        from_checksum=item.from_checksum,
        boot_id=item.boot_id,
        zone=run.zones.get(item.node, ""),
        phase_since=since,
        cordoned=node is not None and node.cordoned,
        reason=item.reason,
    )


def _was_away_for_an_update(state: PoolState, run: PlanRequest, item: Staging) -> bool:
    """Another controller had the node rebooting while this one tried to stage it, and has brought it back since."""
    if item.outcome is not StagingOutcome.UNREACHABLE or item.node in state.nodes:
        return False
    return _came_back(state, run, item.node)


def _came_back(state: PoolState, run: PlanRequest, name: str) -> bool:
    return run.since is not None and state.returned.get(name, 0.0) >= run.since


def _is_left(entry: Slot, run: PlanRequest, alive: Alive) -> bool:
    """Whether nobody works on it any more, so that the time that it was left alone is not counted against it."""
    if entry.holder is None:
        return True
    liveness = alive(entry.holder)
    return liveness is Liveness.DEAD or (liveness is Liveness.UNKNOWN and run.take_over)
