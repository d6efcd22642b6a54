# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run wants planned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_cluster import ClusterNode
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_holder import Holder
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_order import Order
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_staging import Staging
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import Policy


class PlanError(Exception):
    """No plan can be made. The message says what was seen and what to do."""


@dataclass(frozen=True)
class PlanRequest:
    """What is to be planned.

    `members`: the whole pool in inventory order, also what `--limit` hides. `stagings`: the nodes of this run, in the
    play's order. `zones`: of those nodes that have one. `cluster`: what the cluster says, of those nodes that it has. `shared`:
    other controllers may see other parts of the pool (sliced jobs). `now`, and `since`, which is when staging began: seconds
    since 1970.
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
    order: Order = Order.INVENTORY
    zones: Mapping[str, str] = field(default_factory=dict)
    cluster: Mapping[str, ClusterNode] = field(default_factory=dict)
    approved: bool = False
    pool_size: int | None = None
    shared: bool = False
    take_over: bool = False
