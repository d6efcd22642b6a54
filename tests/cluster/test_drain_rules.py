# SPDX-License-Identifier: GPL-3.0-or-later
"""A node is drained in a real cluster, by the user of the shipped manifest: pods of every kind, cordons, trial runs."""

from __future__ import annotations

from collections import Counter

import pytest

from cluster import objects
from cluster.cluster import Cluster
from cluster.draining import Draining, annotation, outcomes, token_of


@pytest.fixture
def draining(cluster: Cluster) -> Draining:
    cluster.node("n1")
    cluster.node("n2")
    return Draining(cluster)


def test_every_kind_of_pod(cluster: Cluster, draining: Draining) -> None:
    namespace = cluster.namespace()
    cluster.pod(namespace, "n1", "web")
    cluster.pod(namespace, "n1", "db", owner="StatefulSet")
    cluster.pod(namespace, "n1", "batch", owner="Job")
    cluster.pod(namespace, "n1", "cache", empty_dir=True)
    cluster.pod(namespace, "n1", "log", owner="DaemonSet")
    cluster.pod(namespace, "n1", "static", owner="static")
    cluster.pod(namespace, "n1", "done", owner=None, phase="Succeeded", ready=False)
    cluster.pod(namespace, "n2", "other")
    result = draining.drain("n1")
    assert not result.get("failed"), result["msg"]
    assert outcomes(result) == {
        "web": "evicted",
        "db": "evicted",
        "batch": "evicted",
        "cache": "evicted",
        "log": "left",
        "static": "left",
        "done": "left",
    }
    assert {pod["name"].split("-")[0]: pod["kind"] for pod in result["pods"] if pod["outcome"] == "left"} == {
        "log": "daemonset",
        "static": "static",
        "done": "completed",
    }
    assert all(0 < pod["seconds"] < 20 for pod in result["pods"] if pod["outcome"] == "evicted")
    assert (result["changed"], result["drained"], result["cordoned_by_us"], result["was_cordoned"]) == (
        True,
        True,
        True,
        False,
    )
    assert annotation(cluster, "n1") == "workers"
    assert {pod.name.split("-")[0] for pod in cluster.pods(node="n1")} == {"log", "static", "done"}
    assert result["diff"]["before"]["cordoned"] is False
    assert len(result["diff"]["before"]["pods"]) == 7
    assert len(result["diff"]["after"]["pods"]) == 3

    again = draining.drain("n1")
    assert (again["changed"], again["drained"], again["was_cordoned"]) == (False, True, True)
    assert again["diff"]["before"] == again["diff"]["after"]


def test_only_the_rights_of_the_manifest_are_used(cluster: Cluster, draining: Draining) -> None:
    namespace = cluster.namespace()
    for number in range(4):
        cluster.pod(namespace, "n1", f"web{number}")
    result = draining.drain("n1")
    requests = cluster.requests("rollout")
    assert {request.status for request in requests} <= {200, 201}
    counts = Counter((request.verb, request.resource) for request in requests)
    assert counts["create", "pods/eviction"] == 4
    assert counts["patch", "nodes"] == 1
    assert result["calls"] == len(requests)


def test_a_cordon_of_somebody_else_is_never_lifted(cluster: Cluster, draining: Draining) -> None:
    cluster.cordon("n1")
    result = draining.drain("n1")
    assert (result["was_cordoned"], result["cordoned_by_us"], result["changed"]) == (True, False, False)
    result = draining.drain("n1", state="uncordoned")
    assert (result["cordoned"], result["changed"]) == (True, False)
    assert "somebody else cordoned it" in result["msg"]
    assert cluster.is_cordoned("n1")


def test_another_pools_cordon_is_not_ours(cluster: Cluster, draining: Draining) -> None:
    draining.drain("n1", state="cordoned", pool="masters")
    assert annotation(cluster, "n1") == "masters"
    assert draining.drain("n1", state="uncordoned")["cordoned"]
    assert not draining.drain("n1", state="uncordoned", pool="masters")["cordoned"]


def test_cordon_and_uncordon(cluster: Cluster, draining: Draining) -> None:
    first, second = (draining.drain("n1", state="cordoned") for _time in range(2))
    assert ([first["changed"], second["changed"]], cluster.is_cordoned("n1")) == ([True, False], True)
    first, second = (draining.drain("n1", state="uncordoned") for _time in range(2))
    assert ([first["changed"], second["changed"]], cluster.is_cordoned("n1")) == ([True, False], False)
    assert annotation(cluster, "n1") is None


def test_what_is_left_of_a_cordon_that_somebody_lifted_claims_no_later_one(
    cluster: Cluster, draining: Draining
) -> None:
    draining.drain("n1", state="cordoned")
    cluster.cordon("n1", False)
    assert annotation(cluster, "n1") == "workers"
    assert draining.drain("n1", state="uncordoned")["changed"]
    cluster.cordon("n1")
    assert draining.drain("n1", state="uncordoned")["cordoned"]


def test_a_node_that_others_change_all_the_time(cluster: Cluster, draining: Draining) -> None:
    """What was read is out of date when it is written: 409, and again."""
    with cluster.busy_node("n1"):
        for _time in range(10):
            assert draining.drain("n1", state="cordoned")["cordoned_by_us"]
            assert not draining.drain("n1", state="uncordoned")["cordoned"]
    assert 409 in {request.status for request in cluster.requests("rollout", "patch", "nodes")}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "no controller makes it again elsewhere"),
        ({"unmanaged": "delete", "empty_dir": "fail"}, "it keeps data in an emptyDir volume"),
    ],
)
def test_what_is_refused_is_refused_before_anything_moves(
    cluster: Cluster, draining: Draining, options: dict[str, str], words: str
) -> None:
    namespace = cluster.namespace()
    cluster.pod(namespace, "n1", "web")
    cluster.pod(namespace, "n1", "bare", owner=None, empty_dir=True)
    result = draining.drain("n1", **options)
    assert result["failed"]
    assert words in result["msg"]
    assert (outcomes(result), result["changed"]) == ({"bare": "refused", "web": "waiting"}, False)
    assert not cluster.is_cordoned("n1")
    assert cluster.requests("rollout", "create") == []
    assert cluster.requests("rollout", "patch") == []


def test_an_unmanaged_pod_may_go_for_good(cluster: Cluster, draining: Draining) -> None:
    namespace = cluster.namespace()
    cluster.pod(namespace, "n1", "bare", owner=None)
    result = draining.drain("n1", unmanaged="delete")
    assert outcomes(result) == {"bare": "evicted"}
    assert cluster.pods(namespace) == []


def test_a_pod_that_stops_already_is_waited_for(cluster: Cluster, draining: Draining) -> None:
    namespace = cluster.namespace()
    pod = cluster.pod(namespace, "n1", "web", stops_after=3, owner="Job")
    cluster.api.delete(f"/api/v1/namespaces/{namespace}/pods/{pod.name}")
    result = draining.drain("n1")
    assert outcomes(result) == {"web": "gone"}
    assert cluster.requests("rollout", "create", "pods/eviction") == []
    assert cluster.pods(node="n1") == []


@pytest.mark.parametrize(("grace", "sent"), [(None, None), (0, 0), (5, 5)])
def test_the_grace_of_pods(cluster: Cluster, draining: Draining, grace: int | None, sent: int | None) -> None:
    """0 is a grace too, and means at once: a pod that would take a minute is gone."""
    namespace = cluster.namespace()
    cluster.pod(namespace, "n1", "slow", stops_after=60 if grace == 0 else 0.5, grace=60)
    result = draining.drain("n1", grace_period=grace)
    assert outcomes(result) == {"slow": "evicted"}
    (request,) = cluster.requests("rollout", "create", "pods/eviction")
    assert (request.body or {})["deleteOptions"].get("gracePeriodSeconds") == sent
    assert (request.body or {})["deleteOptions"]["preconditions"]["uid"]


def test_a_trial_asks_the_cluster_and_changes_nothing(cluster: Cluster, draining: Draining) -> None:
    namespace = cluster.namespace()
    cluster.pod(namespace, "n1", "web")
    cluster.pod(namespace, "n1", "db", labels={"app": "db"})
    budget = cluster.budget(namespace, labels={"app": "db"}, min_available=1)
    draining.check = True
    result = draining.drain("n1")
    assert not result.get("failed")
    assert (outcomes(result), result["changed"]) == ({"db": "held", "web": "would evict"}, True)
    assert [one["name"] for one in result["budgets"]] == [budget]
    assert not cluster.is_cordoned("n1")
    assert len(cluster.pods(node="n1")) == 2
    changing = [request for request in cluster.requests("rollout") if request.verb in ("create", "patch", "delete")]
    assert len(changing) == 3
    assert all(request.dry_run for request in changing)
    draining.drain("n1", state="cordoned")
    assert not cluster.is_cordoned("n1")


def test_a_node_that_the_cluster_does_not_know(draining: Draining) -> None:
    result = draining.drain("n9")
    assert result["failed"]
    assert "imagemode_node_name" in result["msg"]
    result = draining.drain("n9", missing="ignore")
    assert (result.get("failed"), result["found"], result["changed"]) == (None, False, False)


def test_a_pod_from_nowhere_is_told_to_go_too(cluster: Cluster, draining: Draining) -> None:
    """A pod that came after the first look: everything is looked at again until nothing is left."""
    namespace = cluster.namespace()
    cluster.pod(namespace, "n1", "web", stops_after=3)
    running = draining.beginning("n1", unmanaged="delete")
    cluster.wait_for(lambda: cluster.is_cordoned("n1"), "it was not cordoned")
    cluster.api.create(objects.pod(namespace, "late", "n1", objects.Behaviour(), labels={}, annotations={}, owner=None))
    result = running.result()
    assert outcomes(result) == {"web": "evicted", "late": "evicted"}


def test_somebody_lifts_the_cordon_during_the_drain(cluster: Cluster, draining: Draining) -> None:
    namespace = cluster.namespace()
    cluster.pod(namespace, "n1", "web", stops_after=3)
    running = draining.beginning("n1")
    cluster.wait_for(lambda: cluster.is_cordoned("n1"), "it was not cordoned")
    cluster.cordon("n1", False)
    result = running.result()
    assert result["cordoned_by_us"]
    assert cluster.is_cordoned("n1")
    assert "somebody lifted its cordon" in draining.said


def test_no_secret_is_told(cluster: Cluster, draining: Draining) -> None:
    token = token_of(cluster.kubeconfig("rollout"))
    namespace = cluster.namespace()
    cluster.pod(namespace, "n1", "bare", owner=None)
    told = str(draining.drain("n1")) + str(draining.drain("n1", unmanaged="delete")) + draining.said
    assert token not in told


def test_the_only_node_of_a_cluster(cluster: Cluster) -> None:
    draining = Draining(cluster)
    cluster.node("n1")
    namespace = cluster.namespace()
    cluster.pod(namespace, "n1", "web")
    result = draining.drain("n1")
    assert (result.get("failed"), result["changed"], result["drained"]) == (None, False, False)
    assert "only node" in result["msg"]
    assert not cluster.is_cordoned("n1")
    result = draining.drain("n1", only_node="drain")
    assert (result["drained"], outcomes(result)) == (True, {"web": "evicted"})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"deadline": "soon"}, "deadline is 'soon'"),
        ({"deadline": "0"}, "no time to drain"),
        ({"ready_deadline": "-1"}, "ready_deadline is '-1'"),
        ({"grace_period": -1}, "grace_period is -1"),
        ({"evict_parallel": 0}, "evict_parallel is 0"),
    ],
)
def test_options_are_refused_before_anything_is_asked(
    cluster: Cluster, draining: Draining, options: dict[str, object], words: str
) -> None:
    result = draining.drain("n1", **options)
    assert result["failed"]
    assert words in result["msg"]
    assert cluster.requests("rollout") == []
