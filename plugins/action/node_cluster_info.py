# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The action behind node_cluster_info: runs once on the controller, for all nodes of a pool."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core import cluster_arguments
from ansible_collections.imagemode.nodes.plugins.module_utils._core.cluster_nodes import ClusterNode
from ansible_collections.imagemode.nodes.plugins.module_utils._core.cluster_rights import rights_of
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_etcd import EtcdMembers
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_wording import counted
from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster import Cluster, ClusterOptions
from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster_action import ClusterAction, name_in_cluster
from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster_patience import Patience, Voice
from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster_survey import (
    cluster_nodes,
    hopeless_budgets,
    missing_rights,
    pool_etcd,
)
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_action import GuardError, pool_members

# An API server that is away for longer than a restart takes is told at once: nothing has begun yet.
_PATIENCE = 20.0


class ActionModule(ClusterAction):
    """Looks at a pool in its cluster."""

    SPEC = cluster_arguments.CLUSTER_INFO

    def act(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """See the module's documentation."""
        pool = options["pool"]
        names = _names(pool, task_vars)
        patience = Patience(time.monotonic() + _PATIENCE, Voice(self.say, f"{pool}: "), self.end_if_alone)
        with Cluster(ClusterOptions.of(options)) as cluster:
            rights = rights_of(options["rights"])
            missing = patience.calling(lambda: missing_rights(cluster, rights, options["store_namespace"]))
            if "list nodes" in missing:
                raise GuardError(
                    f"the user of the kubeconfig may not see the cluster's nodes; missing rights: {', '.join(missing)}. Apply "
                    "files/rbac.yml of the role node_rollout, or bind it to this user."
                )
            known = patience.calling(lambda: cluster_nodes(cluster))
            present = {host: known[name] for host, name in names.items() if name in known}
            etcd, budgets = None, []
            if "list pods" not in missing:
                etcd = patience.calling(lambda: pool_etcd(cluster, list(present.values())))
                if "list poddisruptionbudgets.policy" not in missing:
                    hosts = {node.name: host for host, node in present.items()}
                    budgets = patience.calling(lambda: hopeless_budgets(cluster, hosts))
            version = patience.calling(lambda: cluster.call("GET", "/version"))
            return {
                "changed": False,
                "nodes": {host: _described(name, known.get(name), pool, etcd) for host, name in names.items()},
                "etcd": etcd.as_dict() if etcd else None,
                "budgets": budgets,
                "missing_rights": missing,
                "cluster_size": len(known),
                "server_version": str(version.get("gitVersion") or ""),
                "calls": cluster.calls,
                "msg": f"{pool}: {_line(names, present)}",
            }


def _names(pool: str, task_vars: dict[str, Any]) -> dict[str, str]:
    """The nodes' names in the cluster, by inventory name. Raises GuardError if two hosts claim one node."""
    hostvars = task_vars["hostvars"]
    names = {host: name_in_cluster(host, hostvars[host]) for host in pool_members(pool, task_vars)}
    by_node: dict[str, str] = {}
    for host, name in names.items():
        if by_node.setdefault(name, host) != host:
            raise GuardError(
                f"{by_node[name]} and {host} are both the node {name} of the cluster. Give each its own imagemode_node_name."
            )
    return names


def _described(name: str, node: ClusterNode | None, pool: str, etcd: EtcdMembers | None) -> dict[str, Any]:
    return {
        "name": name,
        "found": node is not None,
        "ready": bool(node and node.ready),
        "told": node.told if node else "the cluster does not know it",
        "cordoned": bool(node and node.cordoned),
        "cordoned_by_us": bool(node and node.is_ours(pool)),
        "cordoned_for": node.cordoned_for if node and node.cordoned else "",
        "zone": node.zone if node else "",
        "created": node.created if node else None,
        "control_plane": bool(node and node.control_plane),
        "etcd_member": bool(etcd and name in etcd.ready_on),
    }


def _line(names: dict[str, str], present: dict[str, ClusterNode]) -> str:
    ready = sum(node.ready for node in present.values())
    cordoned = sum(node.cordoned for node in present.values())
    absent = sorted(set(names) - set(present))
    unknown = (
        f"; the cluster does not know {', '.join(absent[:5])}{' and others' if len(absent) > 5 else ''}"
        if absent
        else ""
    )
    return f"{counted(len(names), 'node')}, {ready} ready, {cordoned} cordoned{unknown}"
