# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan makes of what staging found and what the store holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_plan import plan_rollout, unfinished
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_request import PlanError
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_staging import (
    Staging,
    StagingOutcome,
    staging_from_result,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import (
    Denial,
    PoolState,
    Progress,
    SlotState,
)
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
    failed,
    kept,
    plan_request,
    policy,
    pool,
    staged,
)

RIGHT, FAILED, AWAY = StagingOutcome.RIGHT, StagingOutcome.FAILED, StagingOutcome.UNREACHABLE


def test_first_run() -> None:
    plan = plan_rollout(None, plan_request(*NODES), alive)
    assert plan.order == NODES
    assert plan.changed
    assert plan.state == PoolState(
        "workers", 6, target_digests=(NEW,), policy=policy(), progress=Progress(planned=6), nodes={}
    )


def test_the_order() -> None:
    before = pool({"n4": active(GONE), "n5": failed()})
    plan = plan_rollout(before, plan_request(*NODES, canaries=("n6", "n3")), alive)
    assert plan.order == ("n4", "n5", "n6", "n3", "n1", "n2")
    assert (plan.resumed, plan.retried) == (("n4",), ("n5",))
    assert plan.state.canaries == ("n6", "n3")
    assert plan.state.nodes["n4"] == replace(before.nodes["n4"], held_since=50.0), "its time begins anew"
    retry = plan.state.nodes["n5"]
    assert (retry.state, retry.holder, retry.phase, retry.since) == (SlotState.ACTIVE, ME, "rebooting", 10.0)


def test_nothing_to_do_changes_nothing() -> None:
    everything_right = plan_request(*(staged(node, RIGHT) for node in NODES), canaries=("n1",))
    assert not plan_rollout(None, everything_right, alive).changed
    assert not plan_rollout(pool(target_digests=(OLD,), progress=Progress(6, 6, 60.0)), everything_right, alive).changed


def test_limit_hides_nodes_but_not_the_size_of_the_pool() -> None:
    plan = plan_rollout(None, plan_request("n2", policy=policy("50%")), alive)
    assert (plan.order, plan.state.pool_size, plan.state.window) == (("n2",), 6, 3)


def test_the_size_can_be_told_and_a_slice_does_not_shrink_it() -> None:
    assert plan_rollout(None, plan_request("n2", pool_size=60), alive).state.pool_size == 60
    assert plan_rollout(pool(pool_size=60), plan_request("n2", shared=True), alive).state.pool_size == 60
    assert plan_rollout(pool(pool_size=60), plan_request("n2"), alive).state.pool_size == 6


def test_an_unreachable_node_takes_room_and_counts_as_failed() -> None:
    plan = plan_rollout(None, plan_request("n1", staged("n2", AWAY, "no route"), policy=policy(2, 2)), alive)
    assert plan.order == ("n1",)
    assert plan.unreachable == ("n2",)
    assert plan.state.out_of_service == plan.state.failures == ("n2",)
    assert plan.state.nodes["n2"].reason == "no route"


def test_a_node_that_failed_staging_counts_as_failed_but_is_in_service() -> None:
    plan = plan_rollout(None, plan_request("n1", staged("n2", FAILED, "no space"), policy=policy(2, 2)), alive)
    assert plan.order == ("n1",)
    assert (plan.state.out_of_service, plan.state.failures) == ((), ("n2",))


@pytest.mark.parametrize("outcome", [FAILED, AWAY])
def test_too_many_failures_before_the_start_take_nobody_out_of_service(outcome: StagingOutcome) -> None:
    plan = plan_rollout(None, plan_request("n1", staged("n2", outcome, "x")), alive)
    assert plan.order == ()
    assert "1 failed (n2)" in plan.halted
    assert plan.changed


def test_a_stopped_rollout_still_finishes_what_is_out_of_service() -> None:
    plan = plan_rollout(pool({"n3": active(GONE)}), plan_request("n1", staged("n2", FAILED, "x"), "n3"), alive)
    assert plan.order == ("n3",)
    assert plan.halted


@pytest.mark.parametrize(
    ("entry", "outcome", "kept"),
    [
        (kept(), StagingOutcome.READY, None),
        (kept(), RIGHT, None),
        (failed(phase="staging"), StagingOutcome.READY, None),
        (failed(phase="staging"), RIGHT, None),
        (failed(), FAILED, SlotState.FAILED),
        (failed(), AWAY, SlotState.FAILED),
        (kept(), AWAY, SlotState.FAILED),
        (failed(), RIGHT, SlotState.ACTIVE),
        (active(GONE), AWAY, SlotState.ACTIVE),
        (active(GONE), FAILED, SlotState.ACTIVE),
    ],
)
def test_an_entry_of_an_earlier_run(entry: Any, outcome: StagingOutcome, kept: SlotState | None) -> None:
    plan = plan_rollout(pool({"n1": entry}), plan_request(staged("n1", outcome, "x")), alive)
    slot = plan.state.nodes.get("n1")
    assert (slot.state if slot else None) == kept
    assert plan.changed or kept is entry.state
    assert ("n1" in plan.order) == (kept is SlotState.ACTIVE or outcome is StagingOutcome.READY)


def test_a_failed_node_outside_of_this_run_stops_it() -> None:
    plan = plan_rollout(pool({"n2": failed()}), plan_request("n1"), alive)
    assert (plan.order, plan.retried) == ((), ())
    assert "1 failed (n2)" in plan.halted


@pytest.mark.parametrize("entry", [active(GONE), failed()])
def test_waiting_for_nodes_that_nobody_works_on_is_refused(entry: Any) -> None:
    before = pool({"n2": entry, "n3": active(GONE)})
    plan = plan_rollout(before, plan_request("n1", policy=policy(2, 3)), alive)
    assert plan.order == ()
    assert "without --limit" in plan.halted
    with_it = plan_rollout(before, plan_request("n1", "n3", policy=policy(2, 3)), alive)
    assert (with_it.order, with_it.halted) == (("n3", "n1"), "")


def test_a_denied_image_reboots_nobody_and_retries_nobody_of_whom_it_is_not_known_what_ran_before() -> None:
    before = pool({"n2": failed()}, denied=(Denial(NEW, "n2: unhealthy", 1.0),))
    plan = plan_rollout(before, plan_request(*NODES, policy=policy(2, 9)), alive)
    assert (plan.order, plan.retried) == ((), ())
    assert "unhealthy" in plan.halted
    assert plan.state.nodes["n2"].state is SlotState.FAILED


def test_a_canary_that_was_not_staged_stops_the_rollout() -> None:
    request = plan_request("n1", staged("n2", FAILED, "x"), canaries=("n2",), policy=policy(2, 5))
    plan = plan_rollout(None, request, alive)
    assert plan.order == ()
    assert "canary n2" in plan.halted


def test_a_canary_that_is_right_already_holds_nobody_up() -> None:
    plan = plan_rollout(None, plan_request("n1", staged("n2", RIGHT), canaries=("n2",)), alive)
    assert plan.state.canaries == ()


@pytest.mark.parametrize("wanted", [("n2",), ()])
def test_a_run_that_leaves_an_unproven_canary_out_does_not_overtake_it(wanted: tuple[str, ...]) -> None:
    before = pool(canaries=("n2",))
    without_it = plan_rollout(before, plan_request("n1", "n3", canaries=wanted), alive)
    assert (without_it.order, without_it.state.canaries) == ((), ("n2",))
    assert "n2 has not come back with this image yet" in without_it.halted
    with_it = plan_rollout(before, plan_request("n1", "n2", canaries=wanted), alive)
    assert (with_it.order, with_it.state.canaries, with_it.halted) == (("n2", "n1"), ("n2",), "")


def test_an_unproven_canary_is_forgotten_with_its_image_and_when_it_is_right() -> None:
    another_image = plan_rollout(pool(canaries=("n2",), target_digests=(OLD,)), plan_request("n1"), alive)
    assert (another_image.order, another_image.state.canaries) == (("n1",), ())
    right = plan_rollout(pool(canaries=("n2",)), plan_request(staged("n2", RIGHT)), alive)
    assert right.state.canaries == ()
    assert right.changed, "or the next run with --limit would wait for it"


def test_nodes_that_the_inventory_does_not_have_are_named() -> None:
    before = pool({"retired-1": failed(), "retired-2": kept()})
    with pytest.raises(PlanError) as caught:
        plan_rollout(before, plan_request("n1"), alive)
    assert "retired-1, retired-2" in str(caught.value)
    assert """-e '{"imagemode_store_nodes": ["retired-1", "retired-2"]}'""" in str(caught.value)
    shared = plan_rollout(before, plan_request("n1", shared=True, policy=policy(2, 9)), alive)
    assert shared.state.nodes["retired-1"] is before.nodes["retired-1"]


def test_a_state_of_another_pool_is_refused() -> None:
    with pytest.raises(PlanError, match="pool masters"):
        plan_rollout(replace(pool(), pool="masters"), plan_request("n1"), alive)


@pytest.mark.parametrize(("holder", "take_over"), [(OTHER, True), (ELSEWHERE, False)])
def test_two_images_at_once_are_refused(holder: Any, take_over: bool) -> None:
    before = pool({"n2": active(holder)}, target_digests=(OLD,))
    with pytest.raises(PlanError, match="is just being updated to sha256:old by process"):
        plan_rollout(before, plan_request(*NODES, take_over=take_over), alive)


@pytest.mark.parametrize(("holder", "take_over"), [(GONE, False), (ELSEWHERE, True)])
def test_a_dead_rollout_to_another_image_is_taken_over(holder: Any, take_over: bool) -> None:
    before = pool({"n2": active(holder)}, target_digests=(OLD,))
    plan = plan_rollout(before, plan_request(*NODES, take_over=take_over), alive)
    assert plan.order[0] == "n2"
    assert plan.state.target_digests == (NEW,)


def test_a_second_controller_keeps_the_count_and_the_canaries_of_the_first() -> None:
    before = pool({"n2": active(OTHER)}, progress=Progress(6, 1, 90.0), returned={"n1": 40.0}, canaries=("n2",))
    plan = plan_rollout(before, plan_request(staged("n1", RIGHT), *NODES[1:]), alive)
    assert plan.state.progress == Progress(6, 1, 90.0)
    assert plan.state.returned == {"n1": 40.0}
    assert plan.state.canaries == ("n2",)


def test_a_node_that_another_run_had_away_during_staging_did_not_fail() -> None:
    before = pool(returned={"n1": 40.0, "n2": 20.0})
    request = plan_request(staged("n1", AWAY), staged("n2", AWAY), since=30.0, policy=policy(2, 5))
    plan = plan_rollout(before, request, alive)
    assert plan.order == ("n1",)
    assert plan.state.failures == ("n2",)


STAGED = {"reboot_required": True, "digest": NEW, "before": {"boot_id": "b", "booted": {"digest": OLD}}}


@pytest.mark.parametrize(
    ("result", "outcome", "reason"),
    [
        (STAGED, StagingOutcome.READY, None),
        ({**STAGED, "reboot_required": False}, RIGHT, None),
        ({**STAGED, "failed": True, "msg": "no space"}, FAILED, "no space"),
        ({**STAGED, "failed": True, "unreachable_host": True, "msg": "no route"}, AWAY, "no route"),
        ({"unreachable": True}, AWAY, "could not be reached"),
        (None, AWAY, "lost it"),
        ({"skipped": True, "reboot_required": True, "digest": NEW}, FAILED, "did not say"),
        ({"digest": NEW}, FAILED, "did not say"),
        ({**STAGED, "reboot_required": "none"}, FAILED, "did not say"),
        ({**STAGED, "digest": "sha256:else"}, FAILED, "sha256:else, and wanted is sha256:new"),
        ({**STAGED, "digest": None}, FAILED, "unknown digest"),
    ],
)
def test_how_staging_ended(result: Any, outcome: StagingOutcome, reason: str | None) -> None:
    staging = staging_from_result("n1", result, (NEW,))
    assert staging.outcome is outcome
    assert (reason in staging.reason) if reason and staging.reason else staging.reason is reason
    if result and result.get("before") and outcome is not AWAY:
        assert (staging.from_digest, staging.boot_id) == (OLD, "b")


def test_a_check_run_cannot_know_the_digest() -> None:
    result = {**STAGED, "digest": None}
    assert staging_from_result("n1", result, (NEW,), check_mode=True) == Staging(
        "n1", StagingOutcome.READY, digest=None, from_digest=OLD, boot_id="b"
    )


def test_a_node_that_failed_out_of_service_is_brought_back_from_a_denied_image() -> None:
    left = failed(phase="rolling back", from_checksum="commit-0")
    before = pool({"n2": left}, denied=(Denial(NEW, "n1: unhealthy", 1.0),))
    nothing_staged = [staged(name, FAILED, "skipped") for name in ("n1", "n2", "n3")]
    result = plan_rollout(before, plan_request(*nothing_staged, policy=policy(2, 9)), alive)
    assert (result.order, result.retried) == (("n2",), ("n2",))
    assert result.state.nodes["n2"].state is SlotState.ACTIVE
    assert unfinished(before, ("n1", "n2"), ()) == ("n2",)
