# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pool's policy adds to the window: zones, soaks, maintenance windows, approval, overdue and cordoned nodes.

Node n1 of run ME asks at time 100, as in the tests of the decision.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.maintenance_window import MaintenanceWindow
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_decision import (
    Request,
    Verdict,
    decide,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import (
    OutsideWindow,
    PoolState,
    SlotState,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_transitions import (
    approve,
    keep,
    release,
)
from rollout_examples import GONE, ME, NEW, OLD, OTHER, active, alive, away, failed, kept, policy, pool

REQUEST = Request("n1", ME, now=100.0, phase="draining", zone="a", from_digest=OLD, target_digests=(NEW,))
# 1970-01-01 00:01:40 is a Thursday.
CLOSED = (MaintenanceWindow.parse({"from": "02:00", "to": "03:00"}),)
OPEN = (MaintenanceWindow.parse({"from": "00:00", "to": "03:00"}),)


def zoned(nodes: dict[str, Any], max_zones: int = 1, max_unavailable: int = 5, **fields: Any) -> PoolState:
    return pool(nodes, policy=policy(max_unavailable, 5, max_zones=max_zones), **fields)


GRANTED = {
    "its zone is the one in which nodes are out": zoned({"n2": active(zone="a")}),
    "a second zone where two are allowed": zoned({"n2": active(zone="b")}, max_zones=2),
    "a failed node in its own zone": zoned({"n2": failed(zone="a")}),
    "a node of another zone that is in service": zoned({"n2": kept()}),
    "zones without a limit": zoned({"n2": active(zone="b"), "n3": active(zone="c")}, max_zones=0),
    "an open maintenance window": pool(policy=policy(2, maintenance_windows=OPEN)),
    "out of service in a closed maintenance window": pool(
        {"n1": active(GONE)}, policy=policy(2, maintenance_windows=CLOSED, outside_window=OutsideWindow.STOP)
    ),
    "the soak is over": pool(canaries_back=40.0, policy=policy(2, soak=60.0)),
    "no canary ever came back": pool(policy=policy(2, soak=60.0)),
    "a canary does not soak": pool(canaries=("n1",), canaries_back=99.0, policy=policy(2, soak=60.0)),
    "the soak between nodes is over": pool(last_out=70.0, policy=policy(2, soak_between=30.0)),
    "a clock ahead of ours": pool(last_out=5000.0, policy=policy(2, soak_between=30.0)),
    "approved": pool(approved=(NEW,), policy=policy(2, approval=True)),
    "a canary needs no approval": pool(canaries=("n1",), policy=policy(2, approval=True)),
    "out of service without an approval": pool({"n1": active(GONE)}, policy=policy(2, approval=True)),
    "cordoned by others in a full window": pool({"n1": away(), "n2": active()}),
    "cordoned by others in a window that is full of such": pool({"n1": away(), "n2": away()}),
    "not overdue yet": pool({"n2": active(since=50.0)}, policy=policy(2, overdue=60.0)),
    "overdue for an earlier run, and taken up since": pool(
        {"n2": active(since=1.0, held_since=90.0)}, policy=policy(2, overdue=60.0)
    ),
    "never overdue": pool({"n2": active(since=1.0)}, policy=policy(2, overdue=0.0)),
    "fewer failures than the percentage": pool({"n2": kept()}, policy=policy(2, "34%")),
}


@pytest.mark.parametrize("situation", GRANTED)
def test_granted(situation: str) -> None:
    decision = decide(GRANTED[situation], REQUEST, alive)
    assert decision.verdict is Verdict.GRANTED, decision.reason
    assert decision.state.nodes["n1"].zone == "a"


WAITING: dict[str, tuple[PoolState, tuple[str, ...], float | None, str]] = {
    "another zone": (zoned({"n2": active(zone="b")}), ("n2",), None, "zone a has to wait, because max_zones is 1"),
    "nodes without a zone are a zone": (zoned({"n2": active()}), ("n2",), None, "max_zones is 1"),
    "two other zones": (
        zoned({"n2": active(zone="b"), "n3": failed(zone="c")}, max_zones=2),
        ("n2",),
        None,
        "max_zones is 2",
    ),
    "a closed maintenance window": (
        pool(policy=policy(2, maintenance_windows=CLOSED)),
        (),
        7200.0,
        "the next maintenance window opens at Thu 02:00 UTC, in 118 min",
    ),
    "the canaries soak": (
        pool(canaries_back=70.0, policy=policy(2, soak=60.0)),
        (),
        130.0,
        "the canaries came back 30 s ago, and the soak takes 60 s",
    ),
    "a node has just gone": (
        pool({"n2": active()}, last_out=90.0, policy=policy(2, soak_between=30.0)),
        (),
        120.0,
        "a node went 10 s ago, and soak_between is 30 s",
    ),
    "canaries come before the approval": (
        pool({"n2": active()}, canaries=("n2",), policy=policy(2, approval=True)),
        ("n2",),
        None,
        "canaries go first",
    ),
    "cordoned by others, as many as the window being updated": (
        pool({"n1": away(), "n2": active(), "n3": active(), "n4": away()}),
        ("n2", "n3"),
        None,
        "",
    ),
    "a cordoned node is one of the full window": (pool({"n2": active(), "n3": away()}), ("n2", "n3"), None, ""),
}


@pytest.mark.parametrize("situation", WAITING)
def test_waits(situation: str) -> None:
    state, behind, until, reason = WAITING[situation]
    decision = decide(state, REQUEST, alive)
    assert decision.verdict is Verdict.WAIT, decision.reason
    assert (decision.behind, decision.until) == (behind, until)
    assert reason in decision.reason
    assert decision.state is state


@pytest.mark.parametrize("situation", [name for name, (_s, _b, until, _r) in WAITING.items() if until])
def test_goes_when_the_time_has_come(situation: str) -> None:
    state, _behind, until, _reason = WAITING[situation]
    assert until is not None
    assert decide(state, replace(REQUEST, now=until), alive).verdict is Verdict.GRANTED
    assert decide(state, replace(REQUEST, now=until - 0.1), alive).verdict is Verdict.WAIT


HALTED = {
    "the other zone has a failed node": (
        zoned({"n2": failed(zone="b"), "n3": active(zone="b")}),
        "max_zones is 1, and another zone has nodes that failed: n2",
    ),
    "the other zone has a cordoned node": (
        zoned({"n2": replace(away(), zone="b")}),
        "another zone has nodes that others have cordoned: n2",
    ),
    "the window is full of cordoned and failed nodes": (
        pool({"n2": failed(), "n3": away()}, policy=policy(2, 3)),
        "the window of 2 is taken by nodes that failed: n2; nodes that others have cordoned: n3",
    ),
    "a closed maintenance window that stops": (
        pool(policy=policy(2, maintenance_windows=CLOSED, outside_window=OutsideWindow.STOP)),
        "no maintenance window is open. The next one opens at Thu 02:00 UTC",
    ),
    "an overdue node": (
        pool({"n2": active(since=10.0)}, policy=policy(2, overdue=60.0)),
        "1 failed (n2 overdue: rebooting, in work for 90 s), and max_failures is 1",
    ),
    "as many failures as the percentage": (
        pool({"n2": kept(), "n3": kept()}, policy=policy(2, "34%")),
        "2 failed (n2, n3), and max_failures is 34%, which is 2 of 6",
    ),
    "a canary that was kept": (pool({"n2": kept()}, canaries=("n2",), policy=policy(2, 5)), "the canary n2 failed"),
}


@pytest.mark.parametrize("situation", HALTED)
def test_halted(situation: str) -> None:
    state, reason = HALTED[situation]
    decision = decide(state, REQUEST, alive)
    assert decision.verdict is Verdict.HALTED, decision.reason
    assert reason in decision.reason


def test_nobody_follows_the_canaries_without_an_approval_of_these_digests() -> None:
    state = pool(approved=(OLD,), policy=policy(2, approval=True))
    decision = decide(state, REQUEST, alive)
    assert decision.verdict is Verdict.UNAPPROVED
    assert "imagemode_approved=true" in decision.reason
    assert decide(approve(state, [NEW]), REQUEST, alive).verdict is Verdict.GRANTED
    assert approve(approve(state, [NEW]), [NEW]) == approve(state, [NEW])


def test_an_overdue_node_keeps_its_place() -> None:
    state = pool({"n2": active(since=10.0)}, policy=policy(1, 5, overdue=60.0))
    decision = decide(state, REQUEST, alive)
    assert (decision.verdict, decision.behind) == (Verdict.WAIT, ("n2",))


def test_a_slot_remembers_when_its_phase_began_and_when_it_was_taken_up() -> None:
    first = decide(pool(), REQUEST, alive).state
    second = decide(first, replace(REQUEST, phase="rebooting", now=130.0), alive)
    slot = second.state.nodes["n1"]
    assert (slot.since, slot.held_since, slot.phase_since, slot.phase) == (100.0, 100.0, 130.0, "rebooting")
    assert second.phase_before is None
    assert (first.last_out, second.state.last_out) == (100.0, 100.0)


@pytest.mark.parametrize(
    "taken_up", [active(GONE, phase="rolling back"), active(ME, phase="rolling back", held_since=50.0)]
)
def test_what_an_earlier_run_last_did_is_told_once(taken_up: Any) -> None:
    decision = decide(pool({"n1": taken_up}), replace(REQUEST, phase="rolling back"), alive)
    assert decision.phase_before == "rolling back"
    assert decision.state.nodes["n1"].held_since >= 50.0
    assert decide(decision.state, replace(REQUEST, phase="checking", now=101.0), alive).phase_before is None


def test_a_node_that_others_cordoned_is_out_of_service_after_its_update_too() -> None:
    granted = decide(pool({"n1": away(since=5.0)}), REQUEST, alive).state
    assert (granted.nodes["n1"].state, granted.nodes["n1"].since) == (SlotState.ACTIVE, 5.0)
    after = release(granted, "n1", ME, 160.0)
    assert (after.nodes["n1"].state, after.nodes["n1"].since, after.nodes["n1"].zone) == (SlotState.AWAY, 5.0, "a")
    assert (after.progress.done, after.progress.seconds) == (1, 60.0)


def test_the_last_canary_that_comes_back_starts_the_soak() -> None:
    state = pool({"n1": active(ME), "n2": active(OTHER)}, canaries=("n1", "n2"))
    one = release(state, "n1", ME, 100.0)
    assert (one.canaries, one.canaries_back) == (("n2",), 0.0)
    both = release(one, "n2", OTHER, 120.0)
    assert (both.canaries, both.canaries_back) == ((), 120.0)
    assert release(replace(both, nodes={"n3": active(ME)}), "n3", ME, 150.0).canaries_back == 120.0


def test_a_node_that_is_kept_is_in_service_and_failed() -> None:
    after = keep(pool({"n1": active(ME)}), "n1", ME, 100.0, "3 pods left", "draining")
    slot = after.nodes["n1"]
    assert (slot.state, slot.phase, slot.reason, slot.holder) == (SlotState.KEPT, "draining", "3 pods left", None)
    assert (after.out_of_service, after.failures) == ((), ("n1",))
    assert keep(after, "n1", ME, 101.0, "again") is after
    cordoned = keep(pool({"n1": active(ME, cordoned=True)}), "n1", ME, 100.0, "x")
    assert (cordoned.out_of_service, cordoned.nodes["n1"].phase) == (("n1",), "rebooting")
