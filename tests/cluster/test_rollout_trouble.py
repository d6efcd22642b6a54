# SPDX-License-Identifier: GPL-3.0-or-later
"""Rollouts with drains while the API, the user's token and other people make trouble."""

from __future__ import annotations

import time

import pytest

from cluster.fleet import MakeFleet
from cluster.users import Credentials


def test_the_server_restarts_while_a_node_drains(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(2)
    namespace = fleet.cluster.namespace()
    fleet.cluster.pod(namespace, "n1", "db", stops_after=6.0)
    with fleet.rollout_meanwhile() as run:
        fleet.cluster.wait_for(lambda: len(fleet.evictions()) == 1, "nothing was evicted", 180)
        fleet.cluster.restart(down=2.0)
        assert run.wait_for_the_end() == 0, run.said
    assert fleet.boots() == [2, 2]
    assert fleet.out_of_service() == []


def test_the_server_hangs_while_a_node_drains(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(1)
    namespace = fleet.cluster.namespace()
    fleet.cluster.node("spare")
    fleet.cluster.pod(namespace, "n1", "db", stops_after=3.0)
    with fleet.rollout_meanwhile() as run:
        fleet.cluster.wait_for(lambda: len(fleet.evictions()) == 1, "nothing was evicted", 180)
        fleet.cluster.stop_answering()
        time.sleep(12.0)
        assert run.process.poll() is None, run.said
        fleet.cluster.answer()
        assert run.wait_for_the_end() == 0, run.said
    assert fleet.boots() == [2]
    assert fleet.out_of_service() == []


def test_somebody_else_changes_the_nodes_all_the_time(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(2)
    namespace = fleet.cluster.namespace()
    fleet.cluster.pod(namespace, "n1", "db")
    with fleet.cluster.busy_node("n1", every=0.02):
        run = fleet.rollout()
    assert run.rc == 0, run.stdout
    assert fleet.boots() == [2, 2]
    assert fleet.out_of_service() == []


@pytest.mark.parametrize("credentials", ["token", "exec"])
def test_the_token_ends_while_a_node_drains(make_fleet: MakeFleet, credentials: Credentials) -> None:
    fleet = make_fleet(2, credentials=credentials)
    namespace = fleet.cluster.namespace()
    fleet.cluster.pod(namespace, "n1", "db", stops_after=4.0)
    with fleet.rollout_meanwhile() as run:
        fleet.cluster.wait_for(lambda: len(fleet.evictions()) == 1, "nothing was evicted", 180)
        token = fleet.cluster.users.token("rollout")
        fleet.cluster.expire("rollout")
        assert run.wait_for_the_end() == 0, run.said
    assert fleet.boots() == [2, 2]
    assert fleet.out_of_service() == []
    for secret in (token, fleet.cluster.users.token("rollout")):
        assert secret not in run.said
