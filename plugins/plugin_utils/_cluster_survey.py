# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a cluster says of all nodes of a pool, in few calls however many there are. Private to this collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.cluster_nodes import ClusterNode, parse_node
from ansible_collections.imagemode.nodes.plugins.module_utils._core.cluster_rights import Right
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_budget import (
    Budget,
    parse_budget,
    selector_query,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_etcd import EtcdMembers
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_pod import parse_pod
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_rules import DrainRules, Fate, rule
from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster import Cluster, segment
from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster_node import NODES, etcd_members

# A pod with no controller goes too, where the options say so: its budget holds it all the same.
_WHATEVER_MOVES = DrainRules(unmanaged_go=True)


def missing_rights(cluster: Cluster, rights: Sequence[Right], namespace: str) -> list[str]:
    """Those of the rights that the user does not have, by name. Every authenticated user may ask that."""
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    return [
        right.named(namespace)
        for right in rights
        if not (cluster.call("POST", path, right.review(namespace)).get("status") or {}).get("allowed")
    ]


def cluster_nodes(cluster: Cluster) -> dict[str, ClusterNode]:
    """All nodes of the cluster by name."""
    return {node.name: node for node in map(parse_node, cluster.listed(NODES))}


def pool_etcd(cluster: Cluster, nodes: Sequence[ClusterNode]) -> EtcdMembers | None:
    """The members of etcd, if any of these nodes is of the control plane."""
    return etcd_members(cluster) if any(node.control_plane or node.etcd_role for node in nodes) else None


def hopeless_budgets(cluster: Cluster, hosts: Mapping[str, str]) -> list[dict[str, Any]]:
    """Budgets that can never let a pod go which is on one of the nodes, whose inventory names `hosts` gives by their own
    names. Pods are listed for such budgets alone: all of a cluster's would be hundreds of megabytes."""
    budgets = [parse_budget(item) for item in cluster.listed("/apis/policy/v1/poddisruptionbudgets")]
    found = []
    for budget in budgets:
        if not budget.never or budget.selector is None:
            continue
        pods = _pods_of(cluster, budget, hosts)
        if pods:
            found.append(
                {
                    "namespace": budget.namespace,
                    "name": budget.name,
                    "reason": budget.never,
                    "pods": sorted(pods),
                    "nodes": sorted(set(pods.values())),
                }
            )
    return found


def _pods_of(cluster: Cluster, budget: Budget, hosts: Mapping[str, str]) -> dict[str, str]:
    """By title, the inventory name of the node of every pod that the budget holds."""
    selected = selector_query(budget.selector or {})
    query = {"labelSelector": selected} if selected else None
    found = {}
    for item in cluster.listed(f"/api/v1/namespaces/{segment(budget.namespace)}/pods", query):
        host = hosts.get(str((item.get("spec") or {}).get("nodeName") or ""))
        pod = parse_pod(item)
        if host is not None and rule(pod, _WHATEVER_MOVES).fate is Fate.EVICT:
            found[pod.title] = host
    return found
