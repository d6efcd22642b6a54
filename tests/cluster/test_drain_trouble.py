# SPDX-License-Identifier: GPL-3.0-or-later
"""Drains that meet trouble: budgets that hold, servers that go away, credentials that end, rights that are missing."""

from __future__ import annotations

import time

import pytest
from ansible_collections.imagemode.nodes.plugins.plugin_utils import _cluster_service

from cluster import users
from cluster.cluster import Cluster
from cluster.draining import Draining, annotation, outcomes


@pytest.fixture
def draining(cluster: Cluster) -> Draining:
    cluster.node("n1")
    cluster.node("n2")
    return Draining(cluster)


def held_pod(cluster: Cluster, **wanted: float) -> tuple[str, str]:
    """A pod on n1 that its budget lets not go; its namespace, and the budget's name."""
    namespace = cluster.namespace()
    cluster.pod(namespace, "n1", "db", labels={"app": "db"}, **wanted)  # type: ignore[arg-type]
    return namespace, cluster.budget(namespace, "keep", labels={"app": "db"}, min_available=1)


def test_a_budget_that_opens_later(cluster: Cluster, draining: Draining) -> None:
    namespace, budget = held_pod(cluster)
    cluster.pod(namespace, "n1", "web")
    running = draining.beginning("n1", deadline="60s")
    cluster.wait_for(lambda: "held by" in draining.said, "nobody said who holds it")
    assert f"{namespace}/db" in draining.said
    assert f"budget {budget} (0 disruptions allowed, 1 of 1 healthy)" in draining.said
    cluster.set_budget(namespace, budget, min_available=0)
    result = running.result()
    assert outcomes(result) == {"db": "evicted", "web": "evicted"}
    assert [(one["name"], [pod[: len(namespace) + 3] for pod in one["pods"]]) for one in result["budgets"]] == [
        (budget, [f"{namespace}/db"])
    ]


def test_a_budget_that_never_opens(cluster: Cluster, draining: Draining) -> None:
    namespace, budget = held_pod(cluster)
    cluster.pod(namespace, "n1", "web")
    result = draining.drain("n1", deadline="4s")
    assert (result["failed"], result["drained"], result["changed"]) == (True, False, True)
    assert outcomes(result) == {"db": "held", "web": "evicted"}
    assert result["budgets"] == [
        {
            "namespace": namespace,
            "name": budget,
            "allowed": 0,
            "healthy": 1,
            "wanted": 1,
            "expected": 1,
            "pods": [f"{namespace}/{result['pods'][0]['name']}"],
        }
    ]
    assert "1 of 2 pods left" in result["msg"]
    assert f"held by budget {budget}" in result["msg"]
    assert f"budget {budget} never lets a pod go: it wants 1 healthy of 1" in result["msg"]
    assert "It takes pods as before." in result["msg"]
    assert not cluster.is_cordoned("n1")
    assert annotation(cluster, "n1") is None
    assert 4 <= result["seconds"] < 15
    tries = [request.at for request in cluster.requests("rollout", "create", "pods/eviction") if request.status == 429]
    assert 2 <= len(tries) <= 5, "it backs off"


def test_a_failed_drain_leaves_somebody_elses_cordon(cluster: Cluster, draining: Draining) -> None:
    held_pod(cluster)
    cluster.cordon("n1")
    result = draining.drain("n1", deadline="2s")
    assert result["failed"]
    assert "It stays cordoned, because somebody else cordoned it." in result["msg"]
    assert cluster.is_cordoned("n1")


def test_the_cordon_of_a_run_that_died_goes_too(cluster: Cluster, draining: Draining) -> None:
    held_pod(cluster)
    draining.drain("n1", state="cordoned")
    assert draining.drain("n1", deadline="2s")["failed"]
    assert not cluster.is_cordoned("n1")


def test_force_deletes_after_the_deadline_what_budgets_held(cluster: Cluster, draining: Draining) -> None:
    held_pod(cluster, stops_after=1.0)
    cluster.add_user(
        "forcing", [*cluster.users.rules(), {"apiGroups": [""], "resources": ["pods"], "verbs": ["delete"]}]
    )
    draining.act_as("forcing")
    result = draining.drain("n1", deadline="3s", force=True)
    assert (result.get("failed"), outcomes(result)) == (None, {"db": "deleted"})
    (request,) = cluster.requests("forcing", "delete", "pods")
    assert (request.body or {})["preconditions"]["uid"]
    assert "gracePeriodSeconds" not in (request.body or {})
    first = cluster.requests("forcing")[0].at
    assert request.at - first >= 2.9


def test_force_without_the_right_names_it(cluster: Cluster, draining: Draining) -> None:
    held_pod(cluster)
    result = draining.drain("n1", deadline="2s", force=True)
    assert result["failed"]
    assert "the right to delete pods" in result["msg"]
    assert not cluster.is_cordoned("n1")


def test_two_budgets_over_one_pod_are_refused_at_once(cluster: Cluster, draining: Draining) -> None:
    namespace, _budget = held_pod(cluster)
    cluster.budget(namespace, "second", labels={"app": "db"}, max_unavailable=1)
    result = draining.drain("n1")
    assert result["failed"]
    assert "2 disruption budgets select it (keep, second)" in result["msg"]
    assert cluster.requests("rollout", "create", "pods/eviction") == []


def test_a_second_budget_that_comes_during_the_drain_is_named(cluster: Cluster, draining: Draining) -> None:
    namespace, _budget = held_pod(cluster)
    running = draining.beginning("n1", deadline="8s")
    cluster.wait_for(lambda: "held by" in draining.said, "nobody said who holds it")
    cluster.budget(namespace, "second", labels={"app": "db"}, max_unavailable=1)
    result = running.result()
    assert result["failed"]
    assert 500 in {request.status for request in cluster.requests("rollout", "create", "pods/eviction")}


def test_the_right_to_evict_is_missing(cluster: Cluster, draining: Draining) -> None:
    namespace = cluster.namespace()
    cluster.pod(namespace, "n1", "web")
    cluster.add_user("half", [rule for rule in cluster.users.rules() if "pods/eviction" not in rule["resources"]])
    draining.act_as("half")
    result = draining.drain("n1")
    assert result["failed"]
    assert 'cannot create resource "pods/eviction"' in result["msg"]
    assert not cluster.is_cordoned("n1")


def test_somebody_without_rights(cluster: Cluster, draining: Draining) -> None:
    draining.act_as("nobody")
    result = draining.drain("n1")
    assert result["failed"]
    assert 'cannot get resource "nodes"' in result["msg"]
    assert "rbac.yml" in result["msg"]
    assert len(cluster.requests("nobody")) == 1, "it is no use to try that again"


def test_the_server_restarts_during_the_drain(cluster: Cluster, draining: Draining) -> None:
    namespace = cluster.namespace()
    for number in range(3):
        cluster.pod(namespace, "n1", f"web{number}", stops_after=2)
    running = draining.beginning("n1", deadline="90s")
    cluster.wait_for(lambda: bool(cluster.requests("rollout", "create", "pods/eviction")), "nothing was evicted")
    cluster.restart(down=2)
    result = running.result(90)
    assert not result.get("failed"), result["msg"]
    assert set(outcomes(result).values()) == {"evicted"}
    assert cluster.pods(node="n1") == []


def test_the_server_is_away_when_the_drain_begins(cluster: Cluster, draining: Draining) -> None:
    namespace = cluster.namespace()
    cluster.pod(namespace, "n1", "web")
    cluster.down()
    running = draining.beginning("n1", deadline="90s")
    cluster.wait_for(lambda: "does not answer" in draining.said, "nobody said what is wrong")
    cluster.up()
    assert outcomes(running.result(90)) == {"web": "evicted"}


def test_a_server_that_stays_away_is_told_and_so_is_the_cordon(
    cluster: Cluster, draining: Draining, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_cluster_service, "_TAKE_BACK", 3.0)
    namespace = cluster.namespace()
    cluster.pod(namespace, "n1", "web", stops_after=4)
    running = draining.beginning("n1", deadline="6s")
    cluster.wait_for(lambda: bool(cluster.requests("rollout", "create", "pods/eviction")), "nothing was evicted")
    cluster.down()
    result = running.result(120)
    cluster.up()
    assert result["failed"]
    assert "does not answer" in result["msg"]
    assert "kubectl uncordon n1" in result["msg"]
    assert annotation(cluster, "n1") == "workers", "it is known whose cordon it is"
    assert draining.drain("n1", state="uncordoned")["cordoned"] is False


def test_the_token_ends_during_the_drain(cluster: Cluster, draining: Draining) -> None:
    namespace, budget = held_pod(cluster)
    running = draining.beginning("n1", deadline="90s")
    cluster.wait_for(lambda: "held by" in draining.said, "nobody said who holds it")
    cluster.expire("rollout")
    cluster.set_budget(namespace, budget, min_available=0)
    assert outcomes(running.result(90)) == {"db": "evicted"}


def test_a_token_that_is_renewed_later(cluster: Cluster, draining: Draining) -> None:
    namespace, budget = held_pod(cluster)
    running = draining.beginning("n1", deadline="90s")
    cluster.wait_for(lambda: "held by" in draining.said, "nobody said who holds it")
    cluster.expire("rollout", renew=False)
    cluster.wait_for(lambda: "401" in draining.said, "nobody said that the token is refused")
    cluster.set_budget(namespace, budget, min_available=0)
    cluster.users.renew("rollout")
    assert outcomes(running.result(90)) == {"db": "evicted"}


def test_a_token_that_is_over_before_the_drain(cluster: Cluster, draining: Draining) -> None:
    cluster.expire("rollout", renew=False)
    result = draining.drain("n1")
    assert result["failed"]
    assert "does not accept the credentials (401" in result["msg"]


@pytest.mark.parametrize("credentials", ["file", "exec"])
def test_other_credentials(cluster: Cluster, draining: Draining, credentials: users.Credentials) -> None:
    namespace = cluster.namespace()
    cluster.pod(namespace, "n1", "web")
    kubeconfig = str(cluster.kubeconfig("rollout", credentials))
    assert outcomes(draining.drain("n1", kubeconfig=kubeconfig)) == {"web": "evicted"}
    cluster.expire("rollout")
    assert draining.drain("n1", kubeconfig=kubeconfig, state="uncordoned")["changed"]


def test_pods_of_a_node_that_does_not_answer_the_cluster(cluster: Cluster, draining: Draining) -> None:
    """Nothing there can confirm that a pod has stopped. Their time and ten seconds are waited for."""
    namespace = cluster.namespace()
    cluster.pod(namespace, "n1", "web", grace=1)
    cluster.set_node("n1", ready=False)
    result = draining.drain("n1", deadline="90s")
    assert (result.get("failed"), result["ready"], outcomes(result)) == (None, False, {"web": "unconfirmed"})
    assert result["seconds"] >= 10


def test_a_pod_that_never_ends(cluster: Cluster, draining: Draining) -> None:
    namespace = cluster.namespace()
    cluster.pod(namespace, "n1", "web", finalizers=["test/keep"])
    result = draining.drain("n1", deadline="3s")
    assert result["failed"]
    assert outcomes(result) == {"web": "stopping"}
    assert "stopping for" in result["msg"]
    assert not cluster.is_cordoned("n1")


def test_two_nodes_and_one_budget(cluster: Cluster, draining: Draining) -> None:
    """Drains side by side wait for each other's pods to be ready again, and never break the budget."""
    cluster.node("n3")
    namespace = cluster.namespace()
    cluster.deployment(namespace, "web", replicas=4, labels={"app": "web"}, ready_after=1.0)
    cluster.budget(namespace, "one", labels={"app": "web"}, max_unavailable=1)
    others = Draining(cluster)
    one, two = draining.beginning("n1", deadline="90s"), others.beginning("n2", deadline="90s")
    lowest = 4
    while not (one.is_over and two.is_over):
        lowest = min(lowest, sum(pod.ready and not pod.deleting for pod in cluster.pods(namespace)))
        time.sleep(0.02)
    assert set(outcomes(one.result()).values()) == set(outcomes(two.result()).values()) == {"evicted"}
    assert lowest >= 3
    assert {pod.node for pod in cluster.pods(namespace)} == {"n3"}
