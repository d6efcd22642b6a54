# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Kubernetes cluster says about the nodes of a pool, as far as a plan needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ClusterNode:
    """One node. `created`: seconds since 1970, or None. `cordoned`: by others; `left_cordoned`: by a rollout of this pool."""

    ready: bool = True
    cordoned: bool = False
    left_cordoned: bool = False
    zone: str = ""
    created: float | None = None
    control_plane: bool = False


def cluster_nodes(given: Mapping[str, Any]) -> dict[str, ClusterNode]:
    """From `nodes` of node_cluster_info; nodes that the cluster does not have are left out."""
    return {
        str(name): _node(item) for name, item in given.items() if isinstance(item, Mapping) and item.get("found", True)
    }


def _node(item: Mapping[str, Any]) -> ClusterNode:
    created = item.get("created")
    ours = bool(item.get("cordoned_by_us"))
    return ClusterNode(
        ready=bool(item.get("ready", True)),
        cordoned=bool(item.get("cordoned")) and not ours,
        left_cordoned=bool(item.get("cordoned")) and ours,
        zone=str(item.get("zone") or ""),
        created=float(created) if isinstance(created, (int, float)) else None,
        control_plane=bool(item.get("control_plane")),
    )
