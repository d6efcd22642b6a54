# SPDX-License-Identifier: GPL-3.0-or-later
"""Small states of a pool for the tests of the rollout."""

from __future__ import annotations

from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_holder import Holder, Liveness
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_request import PlanRequest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_staging import Staging, StagingOutcome
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import (
    Policy,
    PoolState,
    Slot,
    SlotState,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_window import NodeLimit

NEW, OLD = "sha256:new", "sha256:old"
ME = Holder("here", 100, user="ann")
OTHER = Holder("here", 200, user="bob")
GONE = Holder("here", 300, user="cy")
ELSEWHERE = Holder("far", 400, user="dee")
NODES = ("n1", "n2", "n3", "n4", "n5", "n6")


def alive(holder: Holder) -> Liveness:
    """ME and OTHER run here, GONE does not, and of other machines nothing is known."""
    if holder.host != "here":
        return Liveness.UNKNOWN
    return Liveness.DEAD if holder.pid == GONE.pid else Liveness.ALIVE


def active(holder: Holder = OTHER, since: float = 10.0, phase: str = "rebooting", **fields: Any) -> Slot:
    fields = {"phase_since": since, "held_since": since, **fields}
    return Slot(SlotState.ACTIVE, phase, since, holder, **fields)


def failed(reason: str = "did not come back", phase: str = "rebooting", since: float = 10.0, **fields: Any) -> Slot:
    return Slot(SlotState.FAILED, phase, since, reason=reason, **fields)


def kept(reason: str = "no such image", phase: str = "staging") -> Slot:
    return Slot(SlotState.KEPT, phase, 10.0, reason=reason)


def away(since: float = 10.0) -> Slot:
    return Slot(SlotState.AWAY, "cordoned by others", since)


def policy(max_unavailable: object = 2, max_failures: object = 1, **fields: Any) -> Policy:
    return Policy(NodeLimit.parse(max_unavailable), NodeLimit.parse(max_failures, "max_failures"), **fields)


def pool(nodes: dict[str, Slot] | None = None, **fields: Any) -> PoolState:
    fields = {"policy": policy(), "target_digests": (NEW,), "pool_size": len(NODES), **fields}
    return PoolState("workers", nodes=nodes or {}, **fields)


def staged(node: str, outcome: StagingOutcome = StagingOutcome.READY, reason: str | None = None) -> Staging:
    return Staging(node, outcome, digest=NEW, from_digest=OLD, boot_id="boot-1", reason=reason)


def plan_request(*stagings: Staging | str, **fields: Any) -> PlanRequest:
    """A request for these nodes; a bare name is a node that is ready to reboot."""
    items = tuple(staged(item) if isinstance(item, str) else item for item in stagings)
    fields = {"policy": policy(), "target_digests": (NEW,), "holder": ME, "now": 50.0, **fields}
    return PlanRequest("workers", NODES, items, **fields)
