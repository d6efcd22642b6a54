# SPDX-License-Identifier: GPL-3.0-or-later
"""How a rollout ended for each node, read from what its tasks registered, and what is kept of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_outcome import (
    NodeOutcome,
    Outcome,
    counted,
    table,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_steps import Budget, FailedCheck, Pod
from report_examples import (
    BEGIN,
    NEW,
    OLD,
    SKIPPED,
    Results,
    ended,
    fleet,
    held,
    held_up,
    lost,
    record,
    refused,
    staging,
    timed,
    unhealthy,
    updated,
)

RELEASED = ended("released", 71.2)
FAILED_STAGING = timed(0, 3, failed=True, msg="no space")
DENIED = "sha256:1… is denied since Friday: n9 was not well on it"

OUTCOMES: dict[str, tuple[Results, Outcome, float | None, str | None]] = {
    "updated": (updated(90.0), Outcome.UPDATED, 111.0, None),
    "right": ({"staging": staging(reboot=False)}, Outcome.RIGHT, None, None),
    "right, and finished": (
        {"staging": staging(reboot=False), "held": held(1), "ended": RELEASED},
        Outcome.UPDATED,
        71.2,
        None,
    ),
    "not back": (lost(90.0), Outcome.FAILED, 937.4, "did not come back within 903 s"),
    "failed without a reason": (
        {
            "staging": staging(),
            "held": held(1),
            "reboot": timed(2, 3, failed=True, msg="inhibited"),
            "ended": ended("failed", 4),
        },
        Outcome.FAILED,
        4,
        "inhibited",
    ),
    "failed, and could not be recorded": (
        {"staging": staging(), "held": held(1), "ended": {"failed": True, "msg": "the store is lost"}},
        Outcome.FAILED,
        None,
        "the store is lost",
    ),
    "no end": ({"staging": staging(), "held": held(1)}, Outcome.FAILED, None, "nobody recorded its end"),
    "unhealthy": (unhealthy(90.0), Outcome.ROLLED_BACK, 392.0, "2 of 3 checks are not right"),
    "fell back by itself": (
        {
            "staging": staging(),
            "held": held(1),
            "reboot": timed(2, 60, failed=True, rebooted="full", msg="the boot loader fell back"),
            "rollback": SKIPPED,
            "ended": ended("kept", 64.0, "the boot loader fell back"),
        },
        Outcome.ROLLED_BACK,
        64.0,
        "the boot loader fell back",
    ),
    "not drained": (held_up(90.0), Outcome.KEPT, 301.0, "held by the budget db"),
    "not staged": ({"staging": FAILED_STAGING}, Outcome.UNSTAGED, None, "no space"),
    "unreachable": ({"staging": {"unreachable_host": True, "msg": "no route"}}, Outcome.UNREACHABLE, None, "no route"),
    "never staged": ({}, Outcome.UNREACHABLE, None, "Ansible lost it"),
    "halted": ({"staging": staging(), "held": refused("n2 failed")}, Outcome.NOT_REACHED, None, "n2 failed"),
    "halted, and recorded": (
        {"staging": staging(), "held": refused("n2 failed"), "ended": ended("failed", 1.0, "x")},
        Outcome.NOT_REACHED,
        None,
        "n2 failed",
    ),
    "waited for too long": (
        {
            "staging": staging(),
            "held": {"failed": True, "slot_state": "waiting", "halted": False, "msg": "n2 waits behind n3"},
            "ended": ended("failed", 1.0, "x"),
        },
        Outcome.NOT_REACHED,
        None,
        "n2 waits behind n3",
    ),
    "never asked": ({"staging": staging()}, Outcome.NOT_REACHED, None, "stopped before its turn"),
    "waits for approval": (
        {"staging": staging(), "held": {"awaiting_approval": True, "msg": "wants approval"}, "ended": SKIPPED},
        Outcome.AWAITING,
        None,
        "wants approval",
    ),
}


@pytest.mark.parametrize("situation", OUTCOMES)
def test_an_outcome(situation: str) -> None:
    results, outcome, seconds, reason = OUTCOMES[situation]
    [found] = record({"n1": results}).outcomes
    assert (found.outcome, found.seconds) == (outcome, seconds)
    assert (reason in found.reason) if reason and found.reason else found.reason is reason


def test_the_name_of_the_pool_is_told_once() -> None:
    stuck = held_up(90.0)
    stuck["ended"]["reason"] = "workers: n1 is not drained"
    assert record({"n1": stuck}).causes[0].line == "n1 not updated: n1 is not drained"


@pytest.mark.parametrize(
    ("check_mode", "begins"), [(False, "staged, and waits for"), (True, "would be staged, and wait for")]
)
def test_nodes_that_the_plan_did_not_queue_say_what_stopped_it(check_mode: bool, begins: str) -> None:
    stopped = {"halted": True, "reason": "no maintenance window is open"}
    found = record({"n1": {"staging": staging()}}, planned=stopped, check_mode=check_mode)
    assert found.outcomes[0].reason == f"{begins} its reboot: no maintenance window is open"


def test_what_a_check_run_predicts() -> None:
    going = {"staging": staging(), "held": held(1), "ended": ended("released", 0)}
    found = record({"n1": going}, check_mode=True)
    assert (found.outcomes[0].outcome, found.outcomes[0].seconds, found.nodes[0].steps) == (Outcome.PREDICTED, None, ())


def test_a_denied_image() -> None:
    going: dict[str, Results] = {"n1": {"staging": SKIPPED}, "n2": {"staging": SKIPPED, **unhealthy(0.0)}}
    found = record({**going, "n2": {**going["n2"], "staging": SKIPPED}}, checked={"denied": DENIED, "at": BEGIN})
    assert [item.outcome for item in found.outcomes] == [Outcome.DENIED, Outcome.ROLLED_BACK]
    assert (found.halted, found.reason, found.denied, found.outcomes[0].reason) == (True, DENIED, DENIED, DENIED)


def test_nodes_that_the_plan_queued_for_no_turn_wait_for_the_approval_and_the_run_succeeds() -> None:
    nodes: dict[str, Results] = {"n1": {"staging": staging()}, "n2": {"staging": staging(reboot=False)}, "n3": {}}
    found = record(nodes, planned={"awaiting_approval": True, "reason": "nobody has approved yet", "halted": False})
    assert [item.outcome for item in found.outcomes] == [Outcome.AWAITING, Outcome.RIGHT, Outcome.UNREACHABLE]
    assert (found.outcomes[0].reason, found.awaiting_approval, found.halted) == ("nobody has approved yet", True, False)
    assert found.outcomes[0].outcome.is_right


def test_a_rollback_denies_the_image() -> None:
    assert record({"n1": unhealthy(90.0)}).denied.startswith("n1 was rolled back from it: the health gate")
    assert record({"n1": held_up(90.0)}).denied == ""
    known = record(
        {"n1": unhealthy(90.0), "n2": {"staging": staging(), "held": refused("it is denied")}}, last={"denied": DENIED}
    )
    assert (known.denied, known.halted, known.reason) == (DENIED, True, "it is denied")
    assert known.outcomes[1].outcome is Outcome.NOT_REACHED, "it was staged before"


@pytest.mark.parametrize(
    ("booted", "label"),
    [
        ({"digest": OLD, "version": "1"}, "sha256:000000000000"),
        ({"version": "41.20261101.0", "checksum": "c" * 64}, "41.20261101.0"),
        ({"version": "two words", "checksum": "c" * 64}, "ostree:cccccccccccc"),
        ({"checksum": "c" * 64}, "ostree:cccccccccccc"),
        ({"image": {"version": "7"}}, "7"),
        ({}, "-"),
    ],
)
def test_what_a_node_ran_before(booted: dict[str, Any], label: str) -> None:
    seen = {**staging(), "before": {"booted": booted}}
    assert record({"n1": {"staging": seen}}).outcomes[0].from_label == label


def test_a_node_that_an_earlier_run_left_rebooting() -> None:
    away = {"unreachable_host": True, "failed": True, "msg": "no route"}
    adopted = {**held(0.0), "slot": {"since": BEGIN - 400.0, "from_digest": OLD}}
    going = {
        "staging": away,
        "held": adopted,
        "reboot": timed(1, 9, booted={"digest": NEW}),
        "ended": ended("released", 410.0),
    }
    found = record({"n1": going})
    [node] = found.nodes
    assert (node.outcome.outcome, node.outcome.from_digest, node.outcome.to_digest) == (Outcome.UPDATED, OLD, NEW)
    assert (node.out_since, node.back_at, found.started_at) == (BEGIN - 400.0, BEGIN + 10.0, BEGIN)
    half_way = record({"n1": {**going, "staging": staging(reboot=False)}}).nodes[0]
    assert half_way.outcome.from_digest == OLD, "staging saw the new image already, and the slot knows better"


def test_the_steps_of_a_node_and_what_stood_in_its_way() -> None:
    well, back, full = record({"n1": updated(90.0, 50.0), "n2": unhealthy(90.0), "n3": held_up(90.0)}).nodes
    assert [step.kind.value for step in well.steps] == ["stage", "wait", "drain", "reboot", "health", "undrain"]
    assert (well.steps[1].started_at, well.steps[1].seconds) == (BEGIN + 40.0, 50.0)
    assert [(step.kind.value, step.told) for step in back.steps if step.failed] == [("health", back.outcome.reason)]
    assert [step.kind.value for step in back.steps][-4:] == [
        "rollback",
        "rollback_reboot",
        "rollback_health",
        "undrain",
    ]
    assert [step.kind.value for step in full.steps] == ["stage", "drain"], "the reboot was skipped"
    assert back.checks == (
        FailedCheck("failed units", "crio-wipe.service has failed"),
        FailedCheck("registry mirror", "http://localhost:5000/v2/ answered 503, wanted 200"),
    )
    assert full.pods == (Pod("shop/db-0", "held", "budget db"),)
    assert full.budgets == (Budget("shop/db", 0, 2, 2),)
    assert (well.checks, well.pods, well.budgets) == ((), (), ())


def test_results_of_a_shape_that_nobody_promised_are_no_end_of_the_report() -> None:
    odd: Results = {
        "started_at": "soon",
        "seconds": None,
        "failed": True,
        "pods": "many",
        "checks": [None, "x"],
        "budgets": {},
    }
    found = record(
        {"n1": {"staging": staging(), "held": held(1), "drain": odd, "health": odd, "ended": ended("failed", 2, "odd")}}
    )
    assert [step.kind.value for step in found.nodes[0].steps] == ["stage"]
    assert (found.nodes[0].checks, found.nodes[0].pods, found.nodes[0].budgets) == ((), (), ())


def test_a_cause_that_many_nodes_share_is_told_once_and_the_worst_is_first() -> None:
    nodes: dict[str, Results] = {}
    for number in range(6):
        told = f"n{number}: no space left: took {number}.5 s in boot 0123456789abcdef0123456789abcde{number}"
        nodes[f"n{number}"] = {"staging": timed(0, 3, failed=True, msg=told)}
    nodes["n6"] = {"staging": timed(0, 3, failed=True, msg="port 6443 is closed")}
    nodes["n7"] = {"staging": timed(0, 3, failed=True, msg="port 22 is closed")}
    nodes["n8"] = lost(90.0)
    nodes["n9"] = {"staging": staging(), "held": refused("n8 failed")}
    found = record(nodes).causes
    assert [(one.outcome, one.nodes) for one in found] == [
        (Outcome.FAILED, ("n8",)),
        (Outcome.UNSTAGED, ("n0", "n1", "n2", "n3", "n4", "n5")),
        (Outcome.UNSTAGED, ("n6",)),
        (Outcome.UNSTAGED, ("n7",)),
        (Outcome.NOT_REACHED, ("n9",)),
    ]
    assert found[1].line.startswith("6 nodes not staged (n0, n1, n2, n3 and 2 more): n0: no space left")
    assert found[2].line == "n6 not staged: port 6443 is closed"


def test_the_record_and_the_artifact() -> None:
    found = record({"n1": updated(90.0), "n2": lost(90.0), "n3": {"staging": staging(), "held": refused("n2 failed")}})
    kept = json.loads(json.dumps(found.as_dict()))
    assert {key: kept[key] for key in ("schema", "pool", "target", "window", "halted", "reason", "denied")} == {
        "schema": 1,
        "pool": "workers",
        "target": {"image": found.image, "digests": [NEW]},
        "window": 4,
        "halted": True,
        "reason": "n2 failed",
        "denied": "",
    }
    assert kept["counts"] == {"updated": 1, "failed": 1, "not its turn": 1}
    assert (kept["started_at"], kept["ended_at"], kept["seconds"]) == (BEGIN, BEGIN + 2000.0, 2000.0)
    assert [node["node"] for node in kept["nodes"]] == ["n1", "n2", "n3"]
    assert kept["nodes"][1]["steps"][2]["told"].startswith("The node did not come back")
    assert [cause["nodes"] for cause in kept["causes"]] == [["n2"], ["n3"]]
    artifact = found.artifact()
    assert artifact["nodes"] == [item.as_dict() for item in found.outcomes]
    assert set(artifact) == {
        "pool", "target", "seconds", "counts", "halted", "reason", "denied", "awaiting_approval", "nodes"
    }  # fmt: skip


def test_a_whole_fleet() -> None:
    found = fleet(100)
    assert not found.is_right
    assert sum(found.artifact()["counts"].values()) == 100
    assert fleet(12, troubles=False).is_right


def test_the_closing_table() -> None:
    outcomes = [
        NodeOutcome("worker-1", Outcome.UPDATED, OLD, NEW, 71.2),
        NodeOutcome("w2", Outcome.UPDATED, None, NEW, 80.0, from_version="41.2", from_checksum="c" * 64),
        NodeOutcome("w3", Outcome.FAILED, OLD, NEW, 900.0, "no answer"),
        NodeOutcome("w4", Outcome.UNREACHABLE),
    ]
    assert counted(outcomes) == "4 nodes: 2 updated, 1 failed, 1 unreachable"
    assert counted(outcomes[:1]) == "1 node: 1 updated"
    assert table("workers", outcomes) == [
        "workers: 4 nodes: 2 updated, 1 failed, 1 unreachable",
        "  node      from                 to                   out of service  outcome",
        "  worker-1  sha256:000000000000  sha256:111111111111  71 s            updated",
        "  w2        41.2                 sha256:111111111111  80 s            updated",
        "  w3        sha256:000000000000  sha256:111111111111  900 s           failed",
        "  w4        -                    -                    -               unreachable",
    ]
