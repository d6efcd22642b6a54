# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster of the tests is a real API: what a drain, a store and a rollout have to live with comes from there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import get_args

import pytest

from cluster.api import Api, ApiError, Document, path_of
from cluster.cluster import Cluster
from cluster.objects import Owner, Pod, is_true
from cluster.users import Credentials

READS_NODES: Document = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]}
CHANGES_NODES: Document = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["patch"]}
EVICTS: Document = {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]}
MEMBER = {"app": "db"}


def evict(api: Api, pod: Pod, **options: object) -> None:
    metadata = {"namespace": pod.namespace, "name": pod.name}
    body: Document = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    api.call("POST", path_of("Pod", pod.namespace, pod.name, "eviction"), {**body, "deleteOptions": options})


def status_of_eviction(api: Api, pod: Pod) -> int:
    try:
        evict(api, pod)
    except ApiError as error:
        return error.status
    return 201


def is_gone(cluster: Cluster, pod: Pod) -> bool:
    return all(other.uid != pod.uid for other in cluster.pods(pod.namespace))


def two_nodes(cluster: Cluster) -> str:
    cluster.node("n1")
    cluster.node("n2")
    return cluster.namespace()


@pytest.mark.parametrize("owner", ["ReplicaSet", "StatefulSet"])
def test_an_evicted_pod_comes_back_on_a_node_that_takes_pods(cluster: Cluster, owner: Owner) -> None:
    namespace = two_nodes(cluster)
    pod = cluster.pod(namespace, "n1", "db", owner=owner)
    assert (pod.node, pod.ready, pod.owner) == ("n1", True, f"{owner}/db")
    cluster.cordon("n1")
    evict(cluster.api, pod)
    cluster.wait_for(lambda: [one.node for one in cluster.pods(namespace) if one.ready] == ["n2"], "it is not on n2")
    (after,) = cluster.pods(namespace)
    assert after.uid != pod.uid
    assert (after.name == pod.name) == (owner == "StatefulSet")


@pytest.mark.parametrize("owner", [*get_args(Owner), None])
def test_every_kind_of_pod_runs_on_the_node_where_it_was_put(cluster: Cluster, owner: Owner | None) -> None:
    namespace = two_nodes(cluster)
    pod = cluster.pod(namespace, "n2", "db", owner=owner, labels=MEMBER, empty_dir=True)
    kinds = {"static": "Node/n2", None: ""}
    assert (pod.node, pod.phase, pod.ready, pod.owner) == ("n2", "Running", True, kinds.get(owner, f"{owner}/db"))
    assert pod.labels.items() >= MEMBER.items()
    document = cluster.api.get(path_of("Pod", namespace, pod.name))
    assert [volume for volume in document["spec"]["volumes"] if "emptyDir" in volume]
    assert ("kubernetes.io/config.mirror" in document["metadata"]["annotations"]) == (owner == "static")


@pytest.mark.parametrize("phase", ["Succeeded", "Failed", "Pending"])
def test_a_pod_that_does_not_run(cluster: Cluster, phase: str) -> None:
    namespace = two_nodes(cluster)
    pod = cluster.pod(namespace, "n1", owner="Job", phase=phase)
    assert (pod.phase, pod.ready) == (phase, False)


@pytest.mark.parametrize("owner", ["DaemonSet", "ReplicaSet"])
def test_an_owner_that_is_gone(cluster: Cluster, owner: Owner) -> None:
    namespace = two_nodes(cluster)
    pod = cluster.pod(namespace, "n1", "agent", owner=owner, owner_exists=False)
    assert pod.owner == f"{owner}/agent"
    assert cluster.api.items(owner, namespace) == []
    assert not is_gone(cluster, pod)


def test_a_pod_stops_when_it_is_done_or_its_grace_is_over(cluster: Cluster) -> None:
    namespace = two_nodes(cluster)
    slow = cluster.pod(namespace, "n1", owner=None, stops_after=60.0, grace=60)
    quick = cluster.pod(namespace, "n1", owner=None, stops_after=60.0, grace=1)
    immediate = cluster.pod(namespace, "n1", owner=None, stops_after=60.0, grace=60)
    evict(cluster.api, slow)
    evict(cluster.api, quick)
    evict(cluster.api, immediate, gracePeriodSeconds=0)
    assert is_gone(cluster, immediate)
    cluster.wait_for(lambda: is_gone(cluster, quick), "the grace of one second did not end")
    (left,) = cluster.pods(namespace)
    assert (left.uid, left.deleting) == (slow.uid, True)


def test_a_pod_with_a_finalizer_stays(cluster: Cluster) -> None:
    namespace = two_nodes(cluster)
    pod = cluster.pod(namespace, "n1", owner=None, stops_after=0.0, finalizers=["example.org/hold"])
    evict(cluster.api, pod)
    time.sleep(0.5)
    assert not is_gone(cluster, pod)
    cluster.remove_finalizers(pod)
    cluster.wait_for(lambda: is_gone(cluster, pod), "it stayed without a finalizer")


def test_a_budget_refuses_without_saying_when_to_come_again(cluster: Cluster) -> None:
    namespace = two_nodes(cluster)
    pods = cluster.deployment(namespace, "db", replicas=2, labels=MEMBER, ready_after=0.3)
    name = cluster.budget(namespace, labels=MEMBER, min_available=2)
    assert status_of_eviction(cluster.api, pods[0]) == 429
    cluster.set_budget(namespace, name, max_unavailable=1)
    assert status_of_eviction(cluster.api, pods[0]) == 201
    assert status_of_eviction(cluster.api, pods[1]) == 429
    cluster.wait_for(lambda: len([pod for pod in cluster.pods(namespace) if pod.ready]) == 2, "no pod came back")
    cluster.wait_for(lambda: status_of_eviction(cluster.api, pods[1]) == 201, "the budget did not get room again")


def test_two_budgets_over_one_pod(cluster: Cluster) -> None:
    namespace = two_nodes(cluster)
    pod = cluster.pod(namespace, "n1", labels=MEMBER)
    cluster.budget(namespace, labels=MEMBER, max_unavailable=1)
    cluster.budget(namespace, labels=MEMBER, max_unavailable=1)
    assert status_of_eviction(cluster.api, pod) == 500


def test_an_unready_pod_counts_against_its_budget(cluster: Cluster) -> None:
    namespace = two_nodes(cluster)
    pods = cluster.deployment(namespace, "db", replicas=2, labels=MEMBER)
    cluster.budget(namespace, labels=MEMBER, max_unavailable=1)
    cluster.set_pod(pods[1], ready=False)
    cluster.wait_for(lambda: status_of_eviction(cluster.api, pods[0]) == 429, "the budget did not notice")


def test_nothing_happens_to_the_pods_of_a_node_that_is_not_ready(cluster: Cluster) -> None:
    namespace = two_nodes(cluster)
    pod = cluster.pod(namespace, "n1", owner=None, stops_after=0.0)
    cluster.set_node("n1", ready=False)
    cluster.wait_for(lambda: [one.ready for one in cluster.pods(namespace)] == [False], "the pod is still ready")
    evict(cluster.api, pod)
    time.sleep(0.5)
    assert [one.deleting for one in cluster.pods(namespace)] == [True]
    cluster.set_node("n1", ready=True)
    cluster.wait_for(lambda: is_gone(cluster, pod), "it stayed on a node that is back")


def test_a_user_may_do_what_its_rules_say_and_not_more(cluster: Cluster) -> None:
    cluster.node("n1")
    cluster.add_user("reader", [READS_NODES])
    reader = cluster.api_of("reader")
    assert [node["metadata"]["name"] for node in reader.items("Node")] == ["n1"]
    with pytest.raises(ApiError, match="403 Forbidden") as refused:
        reader.patch(path_of("Node", name="n1"), {"spec": {"unschedulable": True}})
    assert refused.value.status == 403
    with pytest.raises(ApiError, match="403 Forbidden"):
        cluster.api_of("nobody").items("Node")


def test_requests_are_told_with_who_made_them(cluster: Cluster) -> None:
    namespace = two_nodes(cluster)
    pod = cluster.pod(namespace, "n1", labels=MEMBER)
    cluster.budget(namespace, labels=MEMBER, max_unavailable=0)
    cluster.add_user("drainer", [READS_NODES, CHANGES_NODES, EVICTS])
    drainer = cluster.api_of("drainer")
    drainer.items("Node")
    drainer.patch(path_of("Node", name="n1") + "?dryRun=All", {"spec": {"unschedulable": True}})
    status_of_eviction(drainer, pod)
    cluster.wait_for(lambda: len(cluster.requests()) == 3, "three requests are not in the log")
    listed, patched, evicted = cluster.requests()
    assert (listed.user, listed.verb, listed.resource, listed.status) == ("drainer", "list", "nodes", 200)
    assert (patched.verb, patched.name, patched.dry_run) == ("patch", "n1", True)
    assert patched.body == {"spec": {"unschedulable": True}}
    assert (evicted.resource, evicted.namespace, evicted.name) == ("pods/eviction", namespace, pod.name)
    assert (evicted.status, evicted.dry_run) == (429, False)
    assert cluster.requests("drainer", verb="create") == [evicted]
    assert not cluster.is_cordoned("n1")


def test_a_test_finds_nothing_of_the_one_before(cluster: Cluster) -> None:
    assert cluster.requests() == []
    assert cluster.pods() == []
    assert cluster.api.items("Node") == []
    assert cluster.api.items("PodDisruptionBudget") == []


@pytest.mark.parametrize("credentials", get_args(Credentials))
def test_a_token_ends_at_once_and_the_file_has_the_next_one(cluster: Cluster, credentials: Credentials) -> None:
    cluster.add_user("reader", [READS_NODES])
    path = cluster.kubeconfig("reader", credentials)
    before = everything_beside(path)
    old = cluster.api_of("reader")
    cluster.expire("reader")
    with pytest.raises(ApiError, match="401 Unauthorized"):
        old.items("Node")
    assert cluster.kubeconfig("reader", credentials) == path
    assert everything_beside(path) != before
    assert cluster.api_of("reader").items("Node") == []
    cluster.expire("reader", renew=False)
    with pytest.raises(ApiError, match="401 Unauthorized"):
        cluster.api_of("reader").items("Node")
    cluster.users.renew("reader")
    assert cluster.api_of("reader").items("Node") == []


def everything_beside(path: Path) -> str:
    """What a user's kubeconfig file says, with the files that it names."""
    return "".join(other.read_text() for other in sorted(path.parent.glob(f"{path.stem}.*")))


def test_a_restarted_server_knows_what_it_knew(cluster: Cluster) -> None:
    namespace = two_nodes(cluster)
    pod = cluster.pod(namespace, "n1")
    url, kubeconfig = cluster.url, cluster.kubeconfig("nobody").read_text()
    nobody = cluster.api_of("nobody")
    assert nobody.get("/version")["minor"] == "36"
    cluster.down()
    with pytest.raises(OSError, match="refused"):
        cluster.api_of("nobody").get("/version")
    cluster.up()
    assert (cluster.url, cluster.kubeconfig("nobody").read_text()) == (url, kubeconfig)
    assert nobody.get("/version")["minor"] == "36"
    assert [one.uid for one in cluster.pods(namespace)] == [pod.uid]
    cluster.cordon("n1")
    evict(cluster.api, pod)
    cluster.wait_for(lambda: [one.node for one in cluster.pods(namespace) if one.ready] == ["n2"], "it is not on n2")


def test_a_server_that_does_not_answer(cluster: Cluster) -> None:
    impatient = Api("127.0.0.1", int(cluster.url.rpartition(":")[2]), cluster.ca_file, "", timeout=0.5)
    cluster.stop_answering()
    with pytest.raises(TimeoutError):
        impatient.get("/version")
    cluster.answer()
    assert cluster.api.get("/version")["major"] == "1"


def test_a_busy_node_changes_between_reading_and_writing(cluster: Cluster) -> None:
    cluster.node("n1")
    with cluster.busy_node("n1"):
        read = cluster.get_node("n1")["metadata"]["resourceVersion"]
        cluster.wait_for(lambda: cluster.get_node("n1")["metadata"]["resourceVersion"] != read, "it did not change")
        with pytest.raises(ApiError, match="409 Conflict"):
            cluster.api.patch(path_of("Node", name="n1"), {"metadata": {"resourceVersion": read}, "spec": {}})


class PlayedNode:
    """As much of a lab's node as is looked at."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.up = True
        self.boot_id = "first"

    def is_up(self) -> bool:
        return self.up


def test_a_node_of_the_lab_is_ready_while_it_is_up(cluster: Cluster) -> None:
    node = PlayedNode("n1")
    cluster.follow([node])

    def told() -> tuple[bool, str]:
        document = cluster.get_node("n1")
        return is_true(document, "Ready"), document["status"]["nodeInfo"]["bootID"]

    assert told() == (True, "first")
    node.up = False
    cluster.wait_for(lambda: told() == (False, "first"), "it did not become NotReady")
    node.boot_id, node.up = "second", True
    cluster.wait_for(lambda: told() == (True, "second"), "it did not become Ready")


def test_a_control_plane(cluster: Cluster) -> None:
    cluster.node("n1", control_plane=True, zone="a", labels={"pool": "masters"})
    labels = cluster.get_node("n1")["metadata"]["labels"]
    assert labels["topology.kubernetes.io/zone"] == "a"
    assert {"node-role.kubernetes.io/control-plane", "pool"} <= labels.keys()
    pod = cluster.etcd_pod("n1", ready=False)
    assert (pod.namespace, pod.name, pod.ready) == ("kube-system", "etcd-n1", False)
