# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies of a pool in real plays over pretended nodes: zones, soaks, maintenance windows, approval; and uneven fleets.

The rollout modules run in a playbook of their own, and the nodes are pretended; plays, strategy, store and processes are real.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from rollout_project import STAND_INS, RolloutProject, Run

POLICY = str(STAND_INS / "policy.yml")
STORE = "imagemode.nodes.rollout_store"


def run_policy(project: RolloutProject, *arguments: str, **policy: Any) -> Run:
    return project.run("-e", json.dumps({"policy": policy}), *arguments, playbook=POLICY)


def test_one_zone_after_the_other(tmp_path: Path) -> None:
    project = RolloutProject(tmp_path, ("w1", "w2", "w3", "w4", "w5"))
    zones = {"w1": "a", "w2": "b", "w3": "a", "w4": "b"}
    run = run_policy(project, zones=zones, max_zones=1, max_unavailable=3)
    assert run.rc == 0, run.output
    order = [(event, zones.get(name, "")) for _when, event, name in project.journal() if event != "staged"]
    assert [zone for _event, zone in order] == ["a"] * 4 + ["b"] * 4 + [""] * 2
    assert project.most_away_at_once() == 2
    assert "zone b has to wait, because max_zones is 1" in run.output


def test_the_others_wait_until_the_canary_has_soaked_and_each_for_the_one_before(tmp_path: Path) -> None:
    project = RolloutProject(tmp_path, ("w1", "w2", "w3"))
    run = run_policy(project, canaries=["w2"], soak="4s", soak_between="3s", max_unavailable=3)
    assert run.rc == 0, run.output
    when = {(event, name): moment for moment, event, name in project.journal()}
    assert when["down", "w1"] - when["up", "w2"] >= 4 - 1  # it is back in service a moment after it is up
    assert when["down", "w3"] - when["down", "w1"] >= 2.5
    assert "and the soak takes 4 s" in run.output
    assert "soak_between is 3 s" in run.output


def closed_window() -> dict[str, str]:
    """A maintenance window that opens in about six hours."""
    hour = time.gmtime(time.time() + 6 * 3600).tm_hour
    return {"from": f"{hour:02d}:00", "to": f"{hour:02d}:30"}


def test_a_closed_maintenance_window_stops_a_rollout_that_shall_not_wait(tmp_path: Path) -> None:
    project = RolloutProject(tmp_path, ("w1", "w2"))
    run = run_policy(project, maintenance_windows=[closed_window()], outside_window="stop")
    assert run.rc == 0, run.output
    assert "workers: stopped: no maintenance window is open. The next one opens at" in run.output
    assert project.events("down") == []


def test_a_node_waits_for_the_maintenance_window_and_says_so(tmp_path: Path) -> None:
    project = RolloutProject(tmp_path, ("w1",))
    process = project.start("-e", json.dumps({"policy": {"maintenance_windows": [closed_window()]}}), playbook=POLICY)
    try:
        until = time.monotonic() + 180
        while "w1 waits: the next maintenance window opens at" not in project.log():
            assert process.poll() is None, project.log()
            assert time.monotonic() < until, project.log()
            time.sleep(0.2)
        assert project.events("down") == []
        shown = project.finish(project.start(playbook=STORE, log="store"), "store")
        assert "workers: the next maintenance window opens at" in shown.output
    finally:
        process.kill()
        process.wait()


def test_the_rest_follows_the_canaries_when_a_person_has_approved(tmp_path: Path) -> None:
    project = RolloutProject(tmp_path, ("w1", "w2", "w3"))
    policy: dict[str, Any] = {"canaries": ["w2"], "approval": True, "max_unavailable": 2}
    first = run_policy(project, **policy)
    assert first.rc == 0, first.output
    assert project.events("down") == ["w2"]
    assert "workers: when the canaries are back, the others wait for an approval" in first.output

    unapproved = run_policy(project, **policy)
    assert unapproved.rc == 0
    assert "workers: nobody has approved of sha256:new for the rest of pool workers yet" in unapproved.output
    assert project.events("down") == ["w2"]

    assert project.run("-e", "imagemode_store_state=approved", playbook=STORE).rc == 0
    approved = run_policy(project, **policy)
    assert approved.rc == 0, approved.output
    assert sorted(project.events("down")) == ["w1", "w2", "w3"]


def test_nodes_that_a_cluster_knows_better(tmp_path: Path) -> None:
    project = RolloutProject(tmp_path, ("w1", "w2", "w3", "w4"))
    node = {"found": True, "ready": True, "cordoned": False, "cordoned_by_us": False, "zone": None}
    cluster = {
        "w1": {**node, "created": 30},
        "w2": {**node, "created": 10, "cordoned": True},
        "w3": {**node, "created": 20, "ready": False},
        "w4": {**node, "created": 5, "control_plane": True},
    }
    run = run_policy(project, cluster=cluster, order="oldest", max_unavailable=3, max_failures="50%")
    assert "control plane: one node at a time" in run.output
    assert "workers: w2: cordoned by somebody else" in run.output
    # w3 is down anyway, w2 has a place by others' hand and keeps it, so that nobody else finds one.
    assert project.events("down") == ["w3", "w2"]
    assert {name: slot["state"] for name, slot in project.state["nodes"].items()} == {"w2": "away"}
    healed = {name: {**facts, "ready": True, "cordoned": False} for name, facts in cluster.items()}
    again = run_policy(project, cluster=healed, order="oldest", max_unavailable=3)
    assert again.rc == 0, again.output
    assert project.events("down") == ["w3", "w2", "w4", "w1"]
    assert project.most_away_at_once() == 1
    assert project.state["nodes"] == {}


FLEET = 24
WINDOW = 4
# Seconds that each node is away: three long tails, the longest of them last, in the middle and first.
UNEVEN = [8.0 if number in (0, 11, 23) else 1.0 + number % 4 * 0.5 for number in range(FLEET)]
POLICY_OF_FLEET = ("-e", json.dumps({"policy": {"max_unavailable": WINDOW}}))


def makespan(project: RolloutProject) -> float:
    moments = [moment for moment, event, _name in project.journal() if event in ("down", "up")]
    return max(moments) - min(moments)


def uneven_fleet(directory: Path, seconds: list[float]) -> RolloutProject:
    nodes = tuple(f"w{number:02d}" for number in range(len(seconds)))
    project = RolloutProject(directory, nodes)
    for name, away in zip(nodes, seconds, strict=True):
        project.nodes[name].create(seconds=away)
    return project


def test_an_uneven_fleet_never_waits_for_its_long_tails(tmp_path: Path) -> None:
    project = uneven_fleet(tmp_path, UNEVEN)
    run = project.finish(project.start(*POLICY_OF_FLEET, playbook=POLICY, forks=WINDOW + 2), timeout=400)
    assert run.rc == 0, run.output
    assert project.most_away_at_once() == WINDOW
    assert sorted(project.events("down")) == sorted(project.nodes)
    # As fast as the nodes, not as fast as the slowest node of each batch: what a batch waits for is told by its maximum.
    batches = sum(max(UNEVEN[start : start + WINDOW]) for start in range(0, FLEET, WINDOW))
    longest, share = max(UNEVEN), sum(UNEVEN) / WINDOW
    bound = max(longest, share)
    print(f"makespan {makespan(project):.1f} s, bound {bound:.1f} s, batches of {WINDOW} {batches:.1f} s")
    starts = {name: moment for moment, event, name in project.journal() if event == "down"}
    ends = {name: moment for moment, event, name in project.journal() if event == "up"}
    overtaken = [name for name in starts if ends["w00"] > starts[name]]
    assert len(overtaken) > WINDOW, "the others went on while the first node was away"


def test_three_controllers_at_once_on_one_pool(tmp_path: Path) -> None:
    project = uneven_fleet(tmp_path, UNEVEN[:12])
    logs = ("log-a", "log-b", "log-c")
    runs = [project.start(*POLICY_OF_FLEET, playbook=POLICY, forks=WINDOW + 2, log=log) for log in logs]
    ends = [project.finish(process, log, timeout=400) for process, log in zip(runs, logs, strict=True)]
    assert [end.rc for end in ends] == [0, 0, 0], "\n".join(end.output for end in ends)
    assert sorted(project.events("down")) == sorted(project.nodes), "every node reboots once"
    assert project.most_away_at_once() <= WINDOW
    assert project.state["nodes"] == {}
    assert any(" waits: process " in end.output for end in ends) or any("waits behind" in end.output for end in ends)


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ({"soak": "soon"}, "soak is 'soon', which is no length of time"),
        ({"overdue": "-1"}, "overdue is '-1'"),
        ({"maintenance_windows": [{"from": "22:00"}]}, "to of a maintenance window is None"),
        ({"max_zones": 1}, "no node of workers has a zone"),
        ({"max_failures": "0%"}, "max_failures is '0%'"),
    ],
)
def test_a_policy_that_means_nothing_is_refused(tmp_path: Path, policy: dict[str, Any], told: str) -> None:
    project = RolloutProject(tmp_path, ("w1",))
    run = run_policy(project, **policy)
    assert run.rc == 2
    assert told in run.output
    assert project.events("down") == []
