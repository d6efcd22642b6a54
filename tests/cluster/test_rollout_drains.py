# SPDX-License-Identifier: GPL-3.0-or-later
"""Rollouts with drains: lab nodes that are nodes of a real cluster, and a user with the rights of the shipped manifest."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.fleet import Availability, MakeFleet, report_of

WEB = {"app": "web"}
DB = {"app": "db"}


def test_a_rolling_update_drains_every_node_and_keeps_what_runs_on_them(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(6, imagemode_max_unavailable=2)
    namespace = fleet.cluster.namespace()
    fleet.cluster.deployment(namespace, "web", replicas=6, labels=WEB, ready_after=0.3)
    fleet.cluster.budget(namespace, labels=WEB, max_unavailable=1)
    agents = [fleet.cluster.pod(namespace, node.name, "agent", owner="DaemonSet") for node in fleet.nodes]
    fleet.cluster.pod(namespace, "n3", "db", owner="StatefulSet", labels=DB, empty_dir=True)
    availability = Availability(fleet.cluster, namespace, WEB)

    run = fleet.rollout()

    assert run.rc == 0, run.stdout
    assert availability.end() >= 5
    assert fleet.boots() == [2] * 6
    assert fleet.versions() == ["2.0"] * 6
    assert fleet.out_of_service() == []
    assert fleet.most_out_of_service() == 2
    for node in fleet.nodes:
        (cordoned_at, cordoned), (uncordoned_at, uncordoned) = fleet.cordons(node)
        assert (cordoned, uncordoned) == (True, False)
        [shutdown], boot = node.journal.read("shutdown"), node.journal.read("boot")[-1]
        assert cordoned_at < shutdown["t"] < boot["t"] < uncordoned_at
    # Nothing was asked for that the manifest does not allow, and what a DaemonSet has on a node was left alone.
    assert [request for request in fleet.requests() if request.status == 403] == []
    assert {pod.uid for pod in fleet.cluster.pods(namespace) if pod.owner == "DaemonSet/agent"} == {
        agent.uid for agent in agents
    }
    assert not {request.name for request in fleet.requests("create", "pods/eviction")} & {pod.name for pod in agents}

    asked = len(fleet.evictions())
    again = fleet.rollout()
    assert again.rc == 0, again.stdout
    assert [again.recap(node.name)["changed"] for node in fleet.nodes] == [0] * 6
    assert fleet.boots() == [2] * 6
    assert len(fleet.evictions()) == asked
    assert [len(fleet.cordons(node)) for node in fleet.nodes] == [2] * 6


def test_a_budget_that_opens_later(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(2, imagemode_canaries=["n1"])
    namespace = fleet.cluster.namespace()
    pod = fleet.cluster.pod(namespace, "n1", "db", labels=DB)
    budget = fleet.cluster.budget(namespace, "db-stays", labels=DB, max_unavailable=0)
    with fleet.rollout_meanwhile() as run:
        fleet.cluster.wait_for(lambda: len(fleet.evictions(429)) >= 2, "the budget was not asked twice", 180)
        assert fleet.boots() == [1, 1]
        assert fleet.out_of_service() == ["n1"]
        assert [one.uid for one in fleet.cluster.pods(namespace)] == [pod.uid]
        fleet.cluster.set_budget(namespace, budget, max_unavailable=1)
        assert run.wait_for_the_end() == 0, run.said
    assert "db-stays" in run.said
    assert fleet.boots() == [2, 2]
    assert fleet.versions() == ["2.0", "2.0"]
    assert fleet.out_of_service() == []


def test_a_budget_that_never_opens(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(3, imagemode_canaries=["n1"], imagemode_drain_deadline="8s")
    namespace = fleet.cluster.namespace()
    pod = fleet.cluster.pod(namespace, "n1", "db", labels=DB)
    budget = fleet.cluster.budget(namespace, "db-stays", labels=DB, max_unavailable=0)

    run = fleet.rollout()

    assert run.rc != 0
    assert "db-stays" in run.stdout
    # The node is back in service on its old image, and what runs on it was never disturbed.
    assert fleet.boots()[0] == 1
    assert fleet.out_of_service() == []
    assert [(one.uid, one.deleting) for one in fleet.cluster.pods(namespace)] == [(pod.uid, False)]
    assert fleet.evictions() == []
    # One failure is the limit, so nobody else goes out.
    assert fleet.boots() == [1, 1, 1]
    assert report_of(run)["halted"]

    fleet.cluster.set_budget(namespace, budget, max_unavailable=1)
    again = fleet.rollout()
    assert again.rc == 0, again.stdout
    assert fleet.boots() == [2, 2, 2]
    assert fleet.versions() == ["2.0"] * 3


def test_a_node_that_somebody_else_cordoned_stays_cordoned(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(3, imagemode_max_unavailable=2)
    fleet.cluster.cordon("n2")
    fleet.rollout()
    assert fleet.out_of_service() == ["n2"]
    assert fleet.cordons(fleet.nodes[1]) == []
    versions = fleet.versions()
    assert (versions[0], versions[2]) == ("2.0", "2.0")


@pytest.mark.parametrize("store", ["file", "host", "kubernetes"])
def test_every_store_holds_the_window(make_fleet: MakeFleet, tmp_path: Path, store: str) -> None:
    place = {"imagemode_store_host": "bastion", "imagemode_store_path": str(tmp_path / "on-the-bastion")}
    fleet = make_fleet(
        4,
        bastion=store == "host",
        imagemode_store=store,
        imagemode_max_unavailable=2,
        **(place if store == "host" else {}),
    )
    namespace = fleet.cluster.namespace()
    fleet.cluster.deployment(namespace, "web", replicas=4, labels=WEB)
    fleet.cluster.budget(namespace, labels=WEB, max_unavailable=2)

    run = fleet.rollout()

    assert run.rc == 0, run.stdout
    assert fleet.boots() == [2] * 4
    assert fleet.out_of_service() == []
    assert fleet.most_out_of_service() == 2
    leases = [lease["metadata"]["name"] for lease in fleet.cluster.api.items("Lease", "imagemode")]
    assert leases == (["imagemode-workers"] if store == "kubernetes" else [])
    again = fleet.rollout()
    assert again.rc == 0, again.stdout
    assert fleet.boots() == [2] * 4
