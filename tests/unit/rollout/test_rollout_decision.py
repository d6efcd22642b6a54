# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may leave service: situations, and the answer to node n1 (run ME) in each."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_decision import (
    Request,
    Verdict,
    decide,
    predict,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import Denial, PoolState, SlotState
from rollout_examples import ELSEWHERE, GONE, ME, NEW, OLD, OTHER, active, alive, failed, kept, policy, pool

REQUEST = Request("n1", ME, now=100.0, phase="rebooting", from_digest=OLD, boot_id="boot-1", target_digests=(NEW,))
DENIED = (Denial(NEW, "n9: kubelet never came up", 5.0),)

GRANTED = {
    "an empty window": pool(),
    "room beside another node": pool({"n2": active()}),
    "a node that failed staging takes no room": pool({"n2": active(), "n3": kept()}, policy=policy(2, 2)),
    "room beside a failed node, if the policy bears it": pool({"n2": failed()}, policy=policy(2, 2)),
    "its own slot": pool({"n1": active(ME)}),
    "its own slot in a full window": pool({"n1": active(ME), "n2": active()}),
    "its own slot though the rollout is paused": pool({"n1": active(ME)}, paused=True),
    "its own slot though another node failed": pool({"n1": active(ME), "n2": failed()}),
    "the slot that a dead run left": pool({"n1": active(GONE)}),
    "the slot that a dead run left, though the image is denied": pool({"n1": active(GONE)}, denied=DENIED),
    "the slot that a dead run left, though the window shrank": pool(
        {"n1": active(GONE), "n2": active()}, policy=policy(1)
    ),
    "a slot without holder": pool({"n1": replace(active(), holder=None)}),
    "itself a canary": pool(canaries=("n1", "n2")),
    "no canary left": pool(canaries=()),
    "another image was denied": pool(denied=(Denial(OLD, "bad", 1.0),)),
}


@pytest.mark.parametrize("situation", GRANTED)
def test_granted(situation: str) -> None:
    decision = decide(GRANTED[situation], REQUEST, alive)
    assert decision.verdict is Verdict.GRANTED
    slot = decision.state.nodes["n1"]
    assert (slot.state, slot.holder, slot.phase) == (SlotState.ACTIVE, ME, "rebooting")


WAITING: dict[str, tuple[PoolState, tuple[str, ...], str]] = {
    "full": (pool({"n2": active(), "n3": active(since=5.0)}), ("n3", "n2"), ""),
    "one of two places is taken by a failed node": (
        pool({"n2": active(), "n3": failed()}, policy=policy(2, 2)),
        ("n2", "n3"),
        "",
    ),
    "a run died": (
        pool({"n2": active(GONE)}, policy=policy(1)),
        ("n2",),
        "the run that took n2 out of service is gone",
    ),
    "another live run updates the node": (
        pool({"n1": active(OTHER)}),
        ("n1",),
        "process 200 of bob on here is updating",
    ),
    "a run on another machine has the node": (pool({"n1": active(ELSEWHERE)}), ("n1",), "imagemode_take_over=true"),
    "canaries go first": (pool(canaries=("n2", "n3")), ("n2", "n3"), "canaries"),
    "canaries go first, one is out": (pool({"n2": active()}, canaries=("n2",)), ("n2",), "canaries"),
}


@pytest.mark.parametrize("situation", WAITING)
def test_waits(situation: str) -> None:
    state, behind, reason = WAITING[situation]
    decision = decide(state, REQUEST, alive)
    assert (decision.verdict, decision.behind) == (Verdict.WAIT, behind)
    assert reason in decision.reason
    assert bool(reason) == bool(decision.reason)
    assert decision.state is state


HALTED = {
    "paused": (pool(paused=True), "paused"),
    "the image is denied": (pool(denied=DENIED), "kubelet never came up"),
    "a node failed": (pool({"n2": failed()}), "1 failed (n2)"),
    "the node itself failed": (pool({"n1": failed()}, policy=policy(2, 1)), "1 failed (n1)"),
    "staging failed": (pool({"n2": kept()}), "1 failed (n2)"),
    "as many failed as allowed": (pool({"n2": failed(), "n3": kept()}, policy=policy(5, 2)), "max_failures is 2"),
    "the window is full of failed nodes": (
        pool({"n2": failed(), "n3": failed()}, policy=policy(2, 3)),
        "taken by nodes that failed: n2, n3",
    ),
    "a canary failed": (pool({"n2": failed()}, canaries=("n2",), policy=policy(2, 5)), "the canary n2 failed"),
    "a later plan wants another image": (pool(target_digests=("sha256:newer",)), "a newer run has planned"),
}


@pytest.mark.parametrize("situation", HALTED)
def test_halted(situation: str) -> None:
    state, reason = HALTED[situation]
    decision = decide(state, REQUEST, alive)
    assert decision.verdict is Verdict.HALTED
    assert reason in decision.reason
    assert decision.state is state


PREDICTED: dict[str, tuple[PoolState, Verdict, bool]] = {
    "in service": (pool(), Verdict.GRANTED, True),
    "a window that is full now": (pool({"n2": active(), "n3": active()}), Verdict.GRANTED, True),
    "failures that the plan of this run retries": (pool({"n2": failed()}), Verdict.GRANTED, True),
    "the plan of an earlier image": (pool(target_digests=(OLD,)), Verdict.GRANTED, True),
    "its own slot": (pool({"n1": active(ME)}), Verdict.GRANTED, False),
    "the slot of a dead run": (pool({"n1": active(GONE)}), Verdict.GRANTED, True),
    "the slot of a live run": (pool({"n1": active(OTHER)}), Verdict.GRANTED, True),
    "paused": (pool(paused=True), Verdict.HALTED, False),
    "paused, but out of service": (pool({"n1": active(GONE)}, paused=True), Verdict.GRANTED, True),
}


@pytest.mark.parametrize("situation", PREDICTED)
def test_what_a_check_run_predicts(situation: str) -> None:
    state, verdict, changed = PREDICTED[situation]
    decision = predict(state, REQUEST, alive)
    assert decision.verdict is verdict
    assert (decision.state.nodes.get("n1") != state.nodes.get("n1")) == changed


def test_holding_twice_changes_nothing() -> None:
    once = decide(pool(), REQUEST, alive).state
    again = decide(once, replace(REQUEST, now=200.0), alive)
    assert again.verdict is Verdict.GRANTED
    assert again.state is once


def test_a_new_phase_keeps_the_time_out_of_service() -> None:
    once = decide(pool(), REQUEST, alive).state
    slot = decide(once, replace(REQUEST, now=200.0, phase="checking"), alive).state.nodes["n1"]
    assert (slot.phase, slot.since) == ("checking", 100.0)


def test_what_was_seen_before_the_node_left_survives_the_run_that_saw_it() -> None:
    left = active(GONE, since=10.0, from_digest="sha256:first", boot_id="boot-0", cordoned=True)
    decision = decide(pool({"n1": left}), REQUEST, alive)
    slot = decision.state.nodes["n1"]
    assert (slot.since, slot.from_digest, slot.boot_id, slot.cordoned) == (10.0, "sha256:first", "boot-0", True)
    assert "process 300 of cy on here, which is gone" in decision.reason


def test_take_over_is_said() -> None:
    decision = decide(pool({"n1": active(ELSEWHERE)}), replace(REQUEST, take_over=True), alive)
    assert decision.verdict is Verdict.GRANTED
    assert "taken over from process 400 of dee on far" in decision.reason


def test_take_over_takes_nothing_from_a_live_run() -> None:
    decision = decide(pool({"n1": active(OTHER)}), replace(REQUEST, take_over=True), alive)
    assert decision.verdict is Verdict.WAIT


def test_a_node_lets_those_go_first_that_the_plan_put_before_it() -> None:
    behind_others = replace(REQUEST, is_first_in_line=False)
    assert decide(pool(), behind_others, alive).verdict is Verdict.WAIT
    assert decide(pool({"n1": active(GONE)}), behind_others, alive).verdict is Verdict.GRANTED
    assert decide(pool(paused=True), behind_others, alive).verdict is Verdict.HALTED


def test_a_plain_ostree_deployment_is_remembered_by_its_commit_alone() -> None:
    left = active(GONE, since=10.0, from_checksum="commit-0")
    half_way = replace(REQUEST, from_digest="sha256:new", from_checksum="commit-1")
    slot = decide(pool({"n1": left}), half_way, alive).state.nodes["n1"]
    assert (slot.from_digest, slot.from_checksum) == (None, "commit-0")
