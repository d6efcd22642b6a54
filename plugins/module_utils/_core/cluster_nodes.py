# SPDX-License-Identifier: GPL-3.0-or-later
"""A node as its cluster sees it, and whose cordon it has."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Set together with spec.unschedulable, in one call: so no crash can leave a cordon of which nobody knows whose it is.
CORDONED_FOR = "imagemode.nodes/cordoned-for"

_ZONES = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")
_CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
# k3s and RKE2 label the nodes whose server process has a member of etcd in it.
ETCD_ROLE = "node-role.kubernetes.io/etcd"


@dataclass(frozen=True)
class ClusterNode:
    """What of a Node object matters here. `version` is its resourceVersion, `created` in seconds since 1970 or None;
    `cordoned_for` is the pool of the annotation, empty without one; `told` says why the node is not ready."""

    name: str
    version: str
    ready: bool
    told: str
    cordoned: bool
    cordoned_for: str
    zone: str
    created: float | None
    control_plane: bool
    etcd_role: bool
    boot_id: str

    def is_ours(self, pool: str) -> bool:
        """Whether it has a cordon, and that was made for the pool."""
        return self.cordoned and self.cordoned_for == pool

    def knows_boot(self, boot_id: str | None) -> bool:
        """Whether what the cluster says is of this boot; also where either side does not tell."""
        return not boot_id or not self.boot_id or _plain(self.boot_id) == _plain(boot_id)


def parse_node(item: Mapping[str, Any]) -> ClusterNode:
    """From a Node object of the API."""
    metadata, spec, status = (item.get(part) or {} for part in ("metadata", "spec", "status"))
    labels = metadata.get("labels") or {}
    ready, told = _readiness(status.get("conditions") or ())
    return ClusterNode(
        name=str(metadata.get("name") or ""),
        version=str(metadata.get("resourceVersion") or ""),
        ready=ready,
        told=told,
        cordoned=bool(spec.get("unschedulable")),
        cordoned_for=str((metadata.get("annotations") or {}).get(CORDONED_FOR) or ""),
        zone=next((str(labels[label]) for label in _ZONES if labels.get(label)), ""),
        created=epoch(metadata.get("creationTimestamp")),
        control_plane=any(label in labels for label in _CONTROL_PLANE),
        etcd_role=str(labels.get(ETCD_ROLE, "")).lower() == "true",
        boot_id=str((status.get("nodeInfo") or {}).get("bootID") or ""),
    )


def cordon_patch(node: ClusterNode, pool: str) -> dict[str, Any] | None:
    """The merge patch that cordons a node for the pool; None if it is cordoned, by whomever.

    It holds for exactly the node that was read: with a changed one the API server answers 409, and one has to read again.
    """
    if node.cordoned:
        return None
    return {**_note(node, pool), "spec": {"unschedulable": True}}


def uncordon_patch(node: ClusterNode, pool: str) -> dict[str, Any] | None:
    """The merge patch that lifts the pool's cordon; None if there is none. What is left of a cordon that somebody lifted
    by hand, the annotation alone, goes as well: it would claim the next cordon, made by whomever, for this pool."""
    if node.cordoned_for != pool:
        return None
    lifted = {"spec": {"unschedulable": None}} if node.cordoned else {}
    return {**_note(node, None), **lifted}


def _note(node: ClusterNode, pool: str | None) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": node.version, "annotations": {CORDONED_FOR: pool}}}


def _readiness(conditions: Any) -> tuple[bool, str]:
    for condition in conditions:
        if condition.get("type") == "Ready":
            if condition.get("status") == "True":
                return True, ""
            words = " ".join(str(condition.get(part) or "") for part in ("reason", "message")).split()
            return False, " ".join(words)[:200] or "the cluster says that it is not ready"
    return False, "the node has not reported to the cluster yet"


def epoch(given: object) -> float | None:
    """Seconds since 1970 of a time of the API, such as `2026-11-21T18:00:00Z`; None for anything else."""
    if not isinstance(given, str):
        return None
    try:
        # Python 3.9 and 3.10 read no Z.
        return datetime.datetime.fromisoformat(given.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None


def _plain(boot_id: str) -> str:
    return boot_id.replace("-", "").strip().lower()
