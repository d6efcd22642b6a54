# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects as the API gives them, with what a test is about set and the rest left out."""

from __future__ import annotations

from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.cluster_nodes import CORDONED_FOR
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_budget import Budget, parse_budget
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_pod import Pod, parse_pod

REPLICA_SET = [{"kind": "ReplicaSet", "name": "web-1", "controller": True}]


def pod_object(
    name: str = "web-1",
    *,
    owners: list[dict[str, Any]] | None = None,
    annotations: dict[str, str] | None = None,
    labels: dict[str, str] | None = None,
    phase: str = "Running",
    deleted: str | None = None,
    volumes: list[dict[str, Any]] | None = None,
    grace: int | None = 30,
) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "shop",
            "name": name,
            "uid": f"uid-{name}",
            "labels": labels or {},
            "annotations": annotations or {},
            "ownerReferences": REPLICA_SET if owners is None else owners,
            **({"deletionTimestamp": deleted} if deleted else {}),
        },
        "spec": {"nodeName": "n1", "volumes": volumes or [], "terminationGracePeriodSeconds": grace},
        "status": {"phase": phase},
    }


def pod(name: str = "web-1", **wanted: Any) -> Pod:
    return parse_pod(pod_object(name, **wanted))


def budget(name: str = "web", **parts: Any) -> Budget:
    """`spec` and `status` of the budget; without, it selects `app: web` and allows one of three to go."""
    spec = parts.get("spec", {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}})
    counted = {
        "observedGeneration": 1,
        "disruptionsAllowed": 1,
        "currentHealthy": 3,
        "desiredHealthy": 2,
        "expectedPods": 3,
    }
    status = parts.get("status", counted)
    return parse_budget({"metadata": {"namespace": "shop", "name": name}, "spec": spec, "status": status})


def node_object(name: str = "n1", *, cordoned: bool = False, pool: str | None = None, **parts: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "resourceVersion": "7",
            "creationTimestamp": "2026-11-21T18:00:00Z",
            "labels": parts.get("labels", {}),
            "annotations": {CORDONED_FOR: pool} if pool else {},
        },
        "spec": {"unschedulable": True} if cordoned else {},
        "status": parts.get("status", {"conditions": [{"type": "Ready", "status": "True"}]}),
    }
