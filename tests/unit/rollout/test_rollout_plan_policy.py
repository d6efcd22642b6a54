# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan makes of a cluster, of a denied image, of an approval, and of what earlier runs left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.maintenance_window import MaintenanceWindow
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_cluster import ClusterNode, cluster_nodes
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_order import Order
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_plan import plan_rollout, unfinished
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_staging import (
    Staging,
    StagingOutcome,
    staging_from_result,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import (
    Denial,
    OutsideWindow,
    SlotState,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_table import state_lines
from rollout_examples import (
    ELSEWHERE,
    GONE,
    ME,
    NEW,
    NODES,
    OLD,
    OTHER,
    active,
    alive,
    away,
    failed,
    kept,
    plan_request,
    policy,
    pool,
    staged,
)

RIGHT, UNREACHABLE = StagingOutcome.RIGHT, StagingOutcome.UNREACHABLE
NOT_READY = ClusterNode(ready=False)
CORDONED = ClusterNode(cordoned=True)
LEFT = ClusterNode(left_cordoned=True)
DENIED = (Denial(NEW, "n2: unhealthy", 1.0),)
CLOSED = (MaintenanceWindow.parse({"from": "02:00", "to": "03:00"}),)


@pytest.mark.parametrize(
    ("seen", "outcome", "entry", "stored", "phase", "queued"),
    [
        (ClusterNode(), StagingOutcome.READY, None, None, None, True),
        (ClusterNode(), RIGHT, None, None, None, False),
        (NOT_READY, StagingOutcome.READY, None, SlotState.ACTIVE, "not ready", True),
        (NOT_READY, RIGHT, None, SlotState.FAILED, "not ready", False),
        (NOT_READY, UNREACHABLE, None, SlotState.FAILED, "staging", False),
        (NOT_READY, StagingOutcome.FAILED, None, SlotState.FAILED, "staging", False),
        (NOT_READY, StagingOutcome.READY, failed(), SlotState.ACTIVE, "rebooting", True),
        (NOT_READY, StagingOutcome.READY, active(GONE), SlotState.ACTIVE, "rebooting", True),
        (ClusterNode(), RIGHT, failed(phase="not ready"), None, None, False),
        (CORDONED, StagingOutcome.READY, None, SlotState.AWAY, "cordoned by others", True),
        (CORDONED, RIGHT, None, SlotState.AWAY, "cordoned by others", False),
        (CORDONED, RIGHT, away(), SlotState.AWAY, "cordoned by others", False),
        (ClusterNode(), RIGHT, away(), None, None, False),
        (LEFT, RIGHT, None, SlotState.ACTIVE, "left cordoned", True),
        (LEFT, StagingOutcome.READY, None, SlotState.ACTIVE, "left cordoned", True),
        (LEFT, StagingOutcome.READY, active(GONE), SlotState.ACTIVE, "rebooting", True),
        (ClusterNode(), StagingOutcome.READY, kept(phase="rolled back"), None, None, True),
    ],
)
def test_a_node_of_a_cluster(
    seen: ClusterNode, outcome: StagingOutcome, entry: Any, stored: SlotState | None, phase: str | None, queued: bool
) -> None:
    before = pool({"n1": entry}) if entry else pool()
    request = plan_request(staged("n1", outcome, "x"), cluster={"n1": seen}, policy=policy(2, 5))
    plan = plan_rollout(before, request, alive)
    slot = plan.state.nodes.get("n1")
    assert (slot.state if slot else None, slot.phase if slot else None) == (stored, phase)
    assert plan.order == (("n1",) if queued else ())
    again = plan_rollout(plan.state, request, alive)
    assert again.order == plan.order


def test_nodes_that_this_run_leaves_out_are_looked_at_in_the_cluster_too() -> None:
    before = pool({"n5": away(), "n6": failed(phase="not ready")})
    seen = {"n2": NOT_READY, "n3": CORDONED, "n4": LEFT, "n5": ClusterNode(), "n6": ClusterNode()}
    plan = plan_rollout(before, plan_request("n1", cluster=seen, policy=policy(3, 2)), alive)
    assert {name: slot.state for name, slot in plan.state.nodes.items()} == {
        "n2": SlotState.FAILED,
        "n3": SlotState.AWAY,
    }
    assert plan.order == ("n1",)


def test_an_entry_that_a_plan_without_the_cluster_cannot_judge_stays() -> None:
    before = pool({"n5": away(), "n6": failed(phase="not ready")})
    plan = plan_rollout(before, plan_request("n1", policy=policy(3, 2)), alive)
    assert dict(plan.state.nodes) == dict(before.nodes)


def test_a_node_that_another_run_has_just_brought_back_is_not_judged_by_what_was_seen_before() -> None:
    before = pool(returned={"n2": 40.0, "n1": 40.0})
    seen = {"n1": NOT_READY, "n2": NOT_READY}
    plan = plan_rollout(before, plan_request(staged("n1", RIGHT), cluster=seen, since=30.0), alive)
    assert plan.state.nodes == {}


def test_not_ready_nodes_go_first_and_count_against_the_rest() -> None:
    plan = plan_rollout(None, plan_request(*NODES, cluster={"n4": NOT_READY}, canaries=("n2",)), alive)
    assert plan.order == ("n4", "n2", "n1", "n3", "n5", "n6")
    assert (plan.retried, plan.state.nodes["n4"].holder, plan.state.out_of_service) == (("n4",), ME, ("n4",))


def test_a_pool_that_others_have_cordoned_gets_their_nodes_alone() -> None:
    plan = plan_rollout(None, plan_request(*NODES, cluster={"n1": CORDONED, "n3": CORDONED}), alive)
    assert plan.order == ("n1", "n3")
    assert "somebody has cordoned n1, n3 by hand" in plan.halted


def test_a_canary_that_is_right_and_cordoned_holds_nobody_up() -> None:
    request = plan_request("n1", staged("n2", RIGHT), canaries=("n2",), cluster={"n2": CORDONED})
    plan = plan_rollout(None, request, alive)
    assert (plan.order, plan.state.canaries) == (("n1",), ())


def test_a_denied_image_only_finishes_what_is_out_of_service() -> None:
    before = pool({"n2": failed(), "n3": active(GONE), "n4": kept(), "n5": active(OTHER)}, denied=DENIED)
    skipped = [staging_from_result(node, {"skipped": True, "changed": False}, (NEW,)) for node in NODES]
    plan = plan_rollout(before, plan_request(*skipped, policy=policy(2, 9)), alive)
    assert plan.order == plan.resumed == ("n3", "n5")
    assert (plan.unreachable, plan.unstaged, plan.retried) == ((), (), ())
    assert "unhealthy" in plan.halted
    assert "imagemode_store_state=allowed" in plan.denied
    assert {name: slot.state for name, slot in plan.state.nodes.items()} == {
        name: slot.state for name, slot in before.nodes.items()
    }, "nobody was staged, and nobody is blamed for that"
    assert unfinished(before, NODES, ("n5",)) == ("n3",)


def test_nobody_follows_without_an_approval() -> None:
    wanted = policy(2, 5, approval=True)
    held_back = plan_rollout(pool({"n2": active(GONE)}), plan_request(*NODES, policy=wanted), alive)
    assert held_back.order == ("n2",)
    assert "imagemode_approved=true" in held_back.awaiting_approval
    assert held_back.halted == ""
    canaries_first = plan_rollout(None, plan_request(*NODES, policy=wanted, canaries=("n3",)), alive)
    assert (canaries_first.order[0], len(canaries_first.order), canaries_first.awaiting_approval) == ("n3", 6, "")
    approved = plan_rollout(held_back.state, plan_request(*NODES, policy=wanted, approved=True), alive)
    assert (len(approved.order), approved.awaiting_approval, approved.state.approved) == (6, "", (NEW,))
    later = plan_rollout(approved.state, plan_request(*NODES, policy=wanted), alive)
    assert later.awaiting_approval == "", "the approval is remembered"
    another = plan_rollout(
        replace(approved.state, nodes={}), plan_request(*NODES, policy=wanted, target_digests=(OLD,)), alive
    )
    assert another.awaiting_approval, "and holds for no other image"
    everything_right = plan_request(*(staged(node, RIGHT) for node in NODES), policy=wanted)
    assert plan_rollout(None, everything_right, alive).awaiting_approval == ""


def test_the_soak_of_another_image_is_over() -> None:
    before = pool(target_digests=(OLD,), canaries_back=40.0, last_out=30.0)
    state = plan_rollout(before, plan_request("n1"), alive).state
    assert (state.canaries_back, state.last_out) == (0.0, 30.0)
    assert plan_rollout(pool(canaries_back=40.0), plan_request("n1"), alive).state.canaries_back == 40.0


@pytest.mark.parametrize(("outside", "order"), [(OutsideWindow.WAIT, NODES), (OutsideWindow.STOP, ("n2",))])
def test_outside_of_maintenance_windows(outside: OutsideWindow, order: tuple[str, ...]) -> None:
    wanted = policy(2, maintenance_windows=CLOSED, outside_window=outside)
    plan = plan_rollout(pool({"n2": active(GONE)}), plan_request(*NODES, policy=wanted), alive)
    assert sorted(plan.order) == sorted(order)
    assert plan.order[0] == "n2"
    assert bool(plan.halted) == (outside is OutsideWindow.STOP)


@pytest.mark.parametrize(
    ("holder", "take_over", "late"),
    [(GONE, False, False), (OTHER, False, True), (ELSEWHERE, False, True), (ELSEWHERE, True, False)],
)
def test_time_in_which_nobody_worked_on_a_node_does_not_count(holder: Any, take_over: bool, late: bool) -> None:
    before = pool({"n2": active(holder, since=1.0)})
    request = plan_request(*NODES, policy=policy(2, overdue=30.0), take_over=take_over)
    plan = plan_rollout(before, request, alive)
    assert ("n2 overdue" in plan.halted) == late
    assert plan.order[0] == "n2"
    assert plan.state.nodes["n2"].since == 1.0


def test_the_oldest_first() -> None:
    created = {"n5": ClusterNode(created=5.0), "n3": ClusterNode(created=3.0)}
    stagings = [
        replace(staged(node), booted_since=float(age)) for node, age in zip(NODES, (4, 9, 0, 2, 0, 8), strict=True)
    ]
    plan = plan_rollout(None, plan_request(*stagings, cluster=created, order=Order.OLDEST, canaries=("n6",)), alive)
    assert plan.order == ("n6", "n4", "n3", "n1", "n5", "n2")


@pytest.mark.parametrize(
    ("timestamp", "since"),
    [
        ("1970-01-01T00:01:00Z", 60.0),
        ("1970-01-01T01:01:00+01:00", 60.0),
        ("1970-01-01T00:01:00", 60.0),
        ("yesterday", None),
        (None, None),
        (60, None),
    ],
)
def test_since_when_the_booted_deployment_is_there(timestamp: Any, since: float | None) -> None:
    result = {"reboot_required": True, "digest": NEW, "before": {"booted": {"digest": OLD, "timestamp": timestamp}}}
    assert staging_from_result("n1", result, (NEW,)) == Staging(
        "n1", StagingOutcome.READY, digest=NEW, from_digest=OLD, booted_since=since
    )


def test_a_zone_that_has_begun_goes_on() -> None:
    zones = {"n1": "a", "n2": "b", "n3": "a", "n4": "b"}
    plan = plan_rollout(pool({"n4": active(GONE, zone="b")}), plan_request(*NODES[:4], zones=zones), alive)
    assert plan.order == ("n4", "n2", "n1", "n3")


def test_what_the_cluster_says() -> None:
    node = {"found": True, "ready": True, "cordoned": True, "cordoned_by_us": True, "zone": "a", "created": 5}
    assert cluster_nodes(
        {
            "n1": node,
            "n2": {
                **node,
                "cordoned_by_us": False,
                "zone": None,
                "created": None,
                "control_plane": True,
                "ready": False,
            },
            "n3": {"found": False},
            "n4": "?",
        }
    ) == {
        "n1": ClusterNode(left_cordoned=True, zone="a", created=5.0),
        "n2": ClusterNode(ready=False, cordoned=True, control_plane=True),
    }


def test_the_state_as_a_person_reads_it() -> None:
    late = policy(2, 3, approval=True, overdue=60.0, maintenance_windows=CLOSED)
    nodes = {"n1": active(GONE, since=10.0), "worker-2": failed(since=40.0), "n3": kept(), "n4": away(since=0.0)}
    state = pool(nodes, policy=late, paused=True, denied=(Denial(OLD, "n9: bad", 40.0),))
    assert state_lines(state, alive, 100.0) == [
        "workers: 6 nodes, last rollout to sha256:new: 0 of 0 done, 2 failed; 3 out of service, window 2",
        "workers: paused by a person",
        "workers: waits for an approval of sha256:new",
        "workers: the next maintenance window opens at Thu 02:00 UTC, in 118 min",
        "workers: denied since 60 s: sha256:old: n9: bad",
        "  node      state   phase               since  held by / reason",
        "  n4        away    cordoned by others  100 s  -",
        "  n1        active  rebooting           90 s   overdue, in work for 90 s; process 300 of cy on here, which is gone",
        "  n3        kept    staging             90 s   no such image",
        "  worker-2  failed  rebooting           60 s   did not come back",
    ]
    calm = pool(canaries=("n1",))
    assert state_lines(calm, alive, 100.0) == [
        "workers: 6 nodes, last rollout to sha256:new: 0 of 0 done; 0 out of service, window 2",
        "workers: waits for its canaries: n1",
        "workers: all nodes are in service, as far as is known here",
    ]
