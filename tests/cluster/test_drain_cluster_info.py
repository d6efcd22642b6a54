# SPDX-License-Identifier: GPL-3.0-or-later
"""What node_cluster_info tells of a pool, and how few calls that takes."""

from __future__ import annotations

import time
from typing import Any

from cluster.cluster import Cluster
from cluster.draining import Draining

RIGHTS = [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}]


def hosts(*names: str, **renamed: str) -> dict[str, dict[str, Any]]:
    """Hosts and their variables; `renamed` gives names in the cluster."""
    return {**{name: {} for name in names}, **{host: {"imagemode_node_name": name} for host, name in renamed.items()}}


def test_the_nodes_of_a_pool(cluster: Cluster) -> None:
    cluster.node("n1", zone="a")
    cluster.node("n2.example", ready=False, cordoned=True)
    cluster.node("n3", control_plane=True)
    cluster.etcd_pod("n3")
    cluster.node("elsewhere")
    draining = Draining(cluster)
    draining.drain("n1", state="cordoned")
    result = draining.info(hosts("n1", "n3", "n9", n2="n2.example"))
    nodes = result["nodes"]
    assert abs(nodes["n1"].pop("created") - time.time()) < 300
    assert nodes["n1"] == {
        "name": "n1",
        "found": True,
        "ready": True,
        "told": "",
        "cordoned": True,
        "cordoned_by_us": True,
        "cordoned_for": "workers",
        "zone": "a",
        "control_plane": False,
        "etcd_member": False,
    }
    assert (nodes["n2"]["ready"], nodes["n2"]["cordoned"], nodes["n2"]["cordoned_by_us"]) == (False, True, False)
    assert nodes["n2"]["told"]
    assert (nodes["n3"]["control_plane"], nodes["n3"]["etcd_member"]) == (True, True)
    assert (nodes["n9"]["found"], nodes["n9"]["ready"]) == (False, False)
    assert result["etcd"] == {"members": 1, "ready": 1, "healthy": True}
    assert (result["missing_rights"], result["cluster_size"], result["changed"]) == ([], 4, False)
    assert result["server_version"].startswith("v1.")
    assert result["msg"] == "workers: 4 nodes, 2 ready, 2 cordoned; the cluster does not know n9"


def test_budgets_that_can_never_be_met(cluster: Cluster) -> None:
    cluster.node("n1")
    cluster.node("other")
    namespace = cluster.namespace()
    cluster.pod(namespace, "n1", "none", labels={"app": "none"})
    cluster.pod(namespace, "n1", "all", labels={"app": "all"})
    cluster.pod(namespace, "n1", "fine", labels={"app": "fine"})
    cluster.pod(namespace, "other", "away", labels={"app": "away"})
    cluster.budget(namespace, "none", labels={"app": "none"}, max_unavailable=0)
    cluster.budget(namespace, "all", labels={"app": "all"}, min_available="100%")
    cluster.budget(namespace, "fine", labels={"app": "fine"}, max_unavailable=1)
    cluster.budget(namespace, "away", labels={"app": "away"}, max_unavailable=0)
    found = Draining(cluster).info(hosts(h1="n1"))["budgets"]
    assert [(one["name"], one["nodes"], [pod.partition("-")[0] for pod in one["pods"]]) for one in found] == [
        ("all", ["h1"], [f"{namespace}/all".partition("-")[0]]),
        ("none", ["h1"], [f"{namespace}/none".partition("-")[0]]),
    ]
    assert "maxUnavailable" in found[1]["reason"]


def test_the_number_of_calls_does_not_grow_with_the_pool(cluster: Cluster) -> None:
    for number in range(30):
        cluster.node(f"n{number}")
    result = Draining(cluster).info(hosts(*(f"n{number}" for number in range(30))))
    requests = cluster.requests("rollout")
    assert result["calls"] <= 10
    assert [request.verb for request in requests if request.resource == "nodes"] == ["list"]
    assert {request.status for request in requests} <= {200, 201}


def test_missing_rights_are_named(cluster: Cluster) -> None:
    cluster.node("n1")
    cluster.add_user("looker", RIGHTS)
    result = Draining(cluster, "looker").info(hosts("n1"), rights=["read", "drain", "force", "store"])
    assert result["missing_rights"] == [
        "list pods",
        "list poddisruptionbudgets.policy",
        "get nodes",
        "patch nodes",
        "create pods/eviction",
        "delete pods",
        "get leases.coordination.k8s.io in imagemode",
        "create leases.coordination.k8s.io in imagemode",
        "update leases.coordination.k8s.io in imagemode",
    ]
    assert result["nodes"]["n1"]["ready"]


def test_the_shipped_manifest_lacks_only_force(cluster: Cluster) -> None:
    cluster.node("n1")
    result = Draining(cluster).info(hosts("n1"), rights=["read", "drain", "force", "store"])
    assert result["missing_rights"] == ["delete pods"]


def test_somebody_who_may_not_see_the_nodes(cluster: Cluster) -> None:
    result = Draining(cluster, "nobody").info(hosts("n1"))
    assert result["failed"]
    assert "list nodes, list pods" in result["msg"]
    assert "rbac.yml" in result["msg"]


def test_two_hosts_with_one_name(cluster: Cluster) -> None:
    result = Draining(cluster).info(hosts(h1="n1", h2="n1"))
    assert result["failed"]
    assert "h1 and h2 are both the node n1" in result["msg"]
