# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A node and the members of etcd, read from and changed in a cluster. Private to this collection."""

from __future__ import annotations

from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.cluster_nodes import (
    ClusterNode,
    cordon_patch,
    parse_node,
    uncordon_patch,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_etcd import (
    ETCD_NODES,
    ETCD_PODS,
    EtcdMembers,
    members_by_nodes,
    members_by_pods,
)
from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster import (
    Cluster,
    ClusterError,
    ClusterMissing,
    ClusterOptions,
    segment,
)

NODES = "/api/v1/nodes"


def node_ready(options: ClusterOptions, name: str) -> tuple[bool, str]:
    """Whether the cluster sees a node as ready now, and why not. Any trouble with the cluster is a reason, never raised."""
    try:
        with Cluster(options) as cluster:
            node = read_node(cluster, name)
    except ClusterMissing:
        return False, f"the cluster has no node {name}"
    except ClusterError as error:
        return False, str(error)
    return node.ready, node.told


def read_node(cluster: Cluster, name: str) -> ClusterNode:
    """The node as it is now. Raises ClusterMissing if there is none."""
    return parse_node(cluster.call("GET", f"{NODES}/{segment(name)}"))


def cordon(cluster: Cluster, node: ClusterNode, pool: str, dry: bool = False) -> ClusterNode:
    """Cordon the node for the pool unless it is cordoned; returns the node after that. `dry`: the server only tries.

    Raises ClusterConflict if the node was changed since it was read.
    """
    return _changed(cluster, node, cordon_patch(node, pool), dry)


def uncordon(cluster: Cluster, node: ClusterNode, pool: str, dry: bool = False) -> ClusterNode:
    """Lift the pool's cordon, if the node has it. As `cordon`."""
    return _changed(cluster, node, uncordon_patch(node, pool), dry)


def etcd_members(cluster: Cluster) -> EtcdMembers | None:
    """The members of etcd, as far as the cluster shows them: one to three calls."""
    for namespace, selector in ETCD_PODS:
        pods = cluster.listed(f"/api/v1/namespaces/{namespace}/pods", {"labelSelector": selector})
        members = members_by_pods(pods)
        if members is not None:
            return members
    return members_by_nodes([parse_node(item) for item in cluster.listed(NODES, {"labelSelector": ETCD_NODES})])


def _changed(cluster: Cluster, node: ClusterNode, patch: dict[str, Any] | None, dry: bool) -> ClusterNode:
    if patch is None:
        return node
    query = {"dryRun": "All"} if dry else None
    return parse_node(cluster.call("PATCH", f"{NODES}/{segment(node.name)}", patch, query))
