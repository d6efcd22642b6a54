# SPDX-License-Identifier: GPL-3.0-or-later
"""What else happens to a pool's state: a node comes back, fails, is forgotten; a digest is denied or approved."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_decision import Alive
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_holder import Holder, Liveness
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import (
    Denial,
    PoolState,
    Slot,
    SlotState,
)

# The phase of a node that is out of service by the hand of others.
CORDONED = "cordoned by others"


class TransitionError(Exception):
    """A change of the pool's state that must not be made. The message says why and what to do."""


def release(state: PoolState, node: str, holder: Holder, now: float) -> PoolState:
    """The node is back in service. The same state if it held nothing; refused if somebody else holds it by now.

    A node that others have cordoned is done, and out of service as before.
    """
    entry = state.nodes.get(node)
    if entry is None or entry.state is not SlotState.ACTIVE:
        return state
    _require_own(state, node, entry, holder)
    progress = replace(
        state.progress,
        done=state.progress.done + 1,
        seconds=state.progress.seconds + max(0.0, now - entry.held_since),
    )
    after = without(state, [node])
    if entry.cordoned:
        cordoned = Slot(SlotState.AWAY, CORDONED, entry.since, zone=entry.zone, phase_since=now)
        after = replace(after, nodes={**after.nodes, node: cordoned})
    back = now if state.canaries and not after.canaries else state.canaries_back
    return replace(after, progress=progress, returned={**state.returned, node: now}, canaries_back=back)


def fail(state: PoolState, node: str, holder: Holder, now: float, reason: str) -> PoolState:
    """The node stays out of service with nobody working on it.

    A node that holds no slot (its request was refused, or it never asked) is still in service and is not recorded.
    """
    return _ended(state, node, holder, SlotState.FAILED, now, reason, None)


def keep(state: PoolState, node: str, holder: Holder, now: float, reason: str, phase: str | None = None) -> PoolState:
    """The node is in service on its old image, which counts as failure. `phase`: where it ended; None: as it is stored."""
    return _ended(state, node, holder, SlotState.KEPT, now, reason, phase)


def deny(state: PoolState, digests: Iterable[str], reason: str, now: float) -> PoolState:
    """No node of the pool may be given these digests any more; those that are denied already keep their reason."""
    known = {denial.digest for denial in state.denied}
    new = tuple(Denial(digest, reason, now) for digest in dict.fromkeys(digests) if digest not in known)
    return replace(state, denied=state.denied + new) if new else state


def approve(state: PoolState, digests: Iterable[str]) -> PoolState:
    """The rest of the pool may follow the canaries to these target digests."""
    approved = tuple(sorted(set(digests)))
    return state if approved == state.approved else replace(state, approved=approved)


def _ended(
    state: PoolState, node: str, holder: Holder, kind: SlotState, now: float, reason: str, phase: str | None
) -> PoolState:
    entry = state.nodes.get(node)
    if entry is None or entry.state is not SlotState.ACTIVE:
        return state
    _require_own(state, node, entry, holder)
    ended = replace(entry, state=kind, holder=None, reason=reason, phase=phase or entry.phase, phase_since=now)
    return replace(state, nodes={**state.nodes, node: ended})


def owned(state: PoolState, node: str, holder: Holder) -> PoolState:
    """The state as if `holder` had the node's slot: a check run predicts what follows a slot that it did not take."""
    entry = state.nodes.get(node)
    if entry is None or entry.state is not SlotState.ACTIVE:
        return state
    return replace(state, nodes={**state.nodes, node: replace(entry, holder=holder)})


def forget(state: PoolState, nodes: Iterable[str], alive: Alive) -> PoolState:
    """Drop what is stored about nodes which will not come back; refused while a process works on one of them."""
    wanted = list(nodes)
    for name in wanted:
        entry = state.nodes.get(name)
        if entry and entry.holder and alive(entry.holder) is Liveness.ALIVE:
            raise TransitionError(
                f"{name} cannot be forgotten: {entry.holder} is working on it. Let it end, or stop it."
            )
    return without(state, wanted)


def allow(state: PoolState, digests: Iterable[str]) -> PoolState:
    """Lift the denial of digests."""
    lifted = set(digests)
    kept = tuple(denial for denial in state.denied if denial.digest not in lifted)
    return state if kept == state.denied else replace(state, denied=kept)


def without(state: PoolState, nodes: Iterable[str]) -> PoolState:
    """The state without these nodes' entries; the same object if it had none."""
    gone = set(nodes)
    if not gone & (set(state.nodes) | set(state.canaries)):
        return state
    return replace(
        state,
        nodes={name: slot for name, slot in state.nodes.items() if name not in gone},
        canaries=tuple(name for name in state.canaries if name not in gone),
    )


def _require_own(state: PoolState, node: str, entry: Slot, holder: Holder) -> None:
    if not holder.is_same_process(entry.holder):
        raise TransitionError(
            f"the slot of {node} in pool {state.pool} is no longer held by this run: {entry.holder} has taken it over. "
            "Leave the node to that run."
        )
