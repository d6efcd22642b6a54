# SPDX-License-Identifier: GPL-3.0-or-later
"""Control planes: the majority of etcd before a node goes, and what is waited for before it counts as back."""

from __future__ import annotations

import pytest

from cluster.cluster import Cluster
from cluster.draining import Draining


def control_plane(cluster: Cluster, size: int, *, down: str = "") -> Draining:
    for number in range(1, size + 1):
        name = f"m{number}"
        cluster.node(name, control_plane=True)
        cluster.etcd_pod(name, ready=name != down)
    return Draining(cluster)


def test_one_of_three_goes_and_its_member_stays_on_it(cluster: Cluster) -> None:
    draining = control_plane(cluster, 3)
    result = draining.drain("m1")
    assert (result["drained"], result["etcd"]) == (True, {"members": 3, "ready": 3, "healthy": True})
    assert [pod["outcome"] for pod in result["pods"]] == ["left"]


def test_a_second_of_three_must_not_go(cluster: Cluster) -> None:
    draining = control_plane(cluster, 3, down="m3")
    result = draining.drain("m1")
    assert result["failed"]
    assert "without m1 only 1 would be ready (not ready: m3)" in result["msg"]
    assert (result["etcd"], cluster.is_cordoned("m1")) == ({"members": 3, "ready": 2, "healthy": True}, False)
    assert draining.drain("m1", quorum="ignore")["drained"]


def test_the_one_that_is_down_may_go(cluster: Cluster) -> None:
    """It may be the update that mends it."""
    assert control_plane(cluster, 3, down="m3").drain("m3")["drained"]


def test_a_pair_has_no_spare_and_a_single_member_has_nothing_to_lose(cluster: Cluster) -> None:
    draining = control_plane(cluster, 2)
    assert draining.drain("m1")["failed"]
    assert draining.drain("m1", quorum="ignore")["drained"]
    draining.drain("m1", state="uncordoned", ready_deadline="0")


def test_one_member_beside_a_worker(cluster: Cluster) -> None:
    draining = control_plane(cluster, 1)
    cluster.node("w1")
    assert draining.drain("m1")["drained"]


def test_members_that_only_labels_show(cluster: Cluster) -> None:
    for name in ("m1", "m2", "m3"):
        cluster.node(name, labels={"node-role.kubernetes.io/etcd": "true"}, ready=name != "m2")
    draining = Draining(cluster)
    assert "not ready: m2" in draining.drain("m1")["msg"]
    assert draining.drain("m2")["drained"]


def test_a_worker_does_not_ask_for_etcd(cluster: Cluster) -> None:
    draining = control_plane(cluster, 3)
    cluster.node("w1")
    assert draining.drain("w1")["etcd"] is None
    assert not [request for request in cluster.requests("rollout") if request.namespace == "kube-system"]


def test_a_node_is_back_when_it_is_ready(cluster: Cluster) -> None:
    cluster.node("n1")
    draining = Draining(cluster)
    draining.drain("n1", state="cordoned")
    cluster.set_node("n1", ready=False)
    running = draining.beginning("n1", state="uncordoned", ready_deadline="60s")
    cluster.wait_for(lambda: "n1 is not ready" in draining.said, "nobody said what is waited for")
    assert cluster.is_cordoned("n1")
    cluster.set_node("n1", ready=True)
    result = running.result()
    assert (result["cordoned"], result["ready"], cluster.is_cordoned("n1")) == (False, True, False)


def test_a_node_that_does_not_get_ready_stays_cordoned(cluster: Cluster) -> None:
    cluster.node("n1")
    draining = Draining(cluster)
    draining.drain("n1", state="cordoned")
    cluster.set_node("n1", ready=False)
    result = draining.drain("n1", state="uncordoned", ready_deadline="2s")
    assert (result["failed"], result["cordoned"], cluster.is_cordoned("n1")) == (True, True, True)
    assert "is not ready after 2 s" in result["msg"]
    result = draining.drain("n1", state="uncordoned", ready_deadline="0")
    assert (result.get("failed"), cluster.is_cordoned("n1")) == (None, False)


def test_what_the_cluster_says_of_the_boot_before_does_not_count(cluster: Cluster) -> None:
    """For up to forty seconds a cluster calls a node ready that is just rebooting."""
    cluster.node("n1", boot_id="aaaa-1")
    draining = Draining(cluster)
    draining.drain("n1", state="cordoned")
    running = draining.beginning("n1", state="uncordoned", ready_deadline="60s", boot_id="bbbb-2")
    cluster.wait_for(lambda: "from before the reboot" in draining.said, "nobody said what is waited for")
    assert cluster.is_cordoned("n1")
    cluster.set_node("n1", ready=True, boot_id="bbbb-2")
    assert running.result()["cordoned"] is False


@pytest.mark.parametrize(("comes_back", "failed"), [(True, None), (False, True)])
def test_the_member_of_etcd_is_waited_for(cluster: Cluster, comes_back: bool, failed: bool | None) -> None:
    draining = control_plane(cluster, 3, down="m1")
    draining.drain("m1", state="cordoned")
    running = draining.beginning("m1", state="uncordoned", ready_deadline="40s" if comes_back else "2s")
    cluster.wait_for(lambda: "its member of etcd is not ready" in draining.said, "nobody said what is waited for")
    if comes_back:
        (member,) = [pod for pod in cluster.pods("kube-system") if pod.node == "m1"]
        cluster.set_pod(member, ready=True)
    result = running.result()
    assert (result.get("failed"), result["cordoned"]) == (failed, not comes_back)
