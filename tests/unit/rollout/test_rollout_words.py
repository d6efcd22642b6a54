# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person reads while a rollout runs, and at its end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_outcome import (
    Outcome,
    counted,
    outcome_of,
    table,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_progress import tally, waiting_line
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_staging import Staging, StagingOutcome
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import Progress
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_wording import names, spoken
from rollout_examples import NEW, OLD, active, failed, policy, pool, staged, unstaged

READY, RIGHT = StagingOutcome.READY, StagingOutcome.RIGHT


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0 s"),
        (0.4, "0 s"),
        (94, "94 s"),
        (119.4, "119 s"),
        (120, "2 min"),
        (540, "9 min"),
        (7199, "2 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_spoken(seconds: float, said: str) -> None:
    assert spoken(seconds) == said


def test_names() -> None:
    assert names(("a", "b")) == "a, b"
    assert names(("a", "b", "c", "d"), 2) == "a, b and 2 more"


def test_who_waits_for_whom() -> None:
    state = pool({"n3": active(since=6.0), "n5": failed()}, progress=Progress(50, 12, 12 * 28.0), policy=policy(2, 2))
    assert waiting_line(state, "n17", ("n3", "n5"), "", 100.0) == (
        "workers: n17 waits behind n3 (rebooting for 94 s), n5 (failed); 12 of 50 done, 1 failed, about 9 min left"
    )
    assert waiting_line(state, "n17", ("n9",), "canaries go first", 100.0) == (
        "workers: n17 waits behind n9 (canary): canaries go first; 12 of 50 done, 1 failed, about 9 min left"
    )
    assert waiting_line(state, "n3", ("n3",), "somebody is updating it", 100.0).startswith(
        "workers: n3 waits: somebody is updating it; 12 of 50"
    )


@pytest.mark.parametrize(
    ("progress", "window", "said"),
    [
        (Progress(6, 0, 0.0), 2, "0 of 6 done"),
        (Progress(6, 2, 60.0), 2, "2 of 6 done, about 60 s left"),
        (Progress(6, 5, 150.0), 2, "5 of 6 done, about 30 s left"),
        (Progress(6, 6, 180.0), 2, "6 of 6 done"),
        (Progress(6, 9, 180.0), 2, "6 of 6 done"),
    ],
)
def test_tally(progress: Progress, window: int, said: str) -> None:
    assert tally(pool(progress=progress, policy=policy(window))) == said


RELEASED = {"slot_state": "released", "seconds": 71.2}
REFUSED = {"halted": True, "reason": "n2 failed", "failed": True}


@pytest.mark.parametrize(
    ("staging", "held", "ended", "check_mode", "outcome", "seconds", "reason"),
    [
        (staged("n1"), {}, RELEASED, False, Outcome.UPDATED, 71.2, None),
        (staged("n1"), {}, {**RELEASED, "seconds": None}, True, Outcome.PREDICTED, None, None),
        (
            staged("n1"),
            {},
            {"slot_state": "failed", "seconds": 900.0, "reason": "no answer"},
            False,
            Outcome.FAILED,
            900.0,
            "no answer",
        ),
        (staged("n1"), REFUSED, {"slot_state": "failed", "reason": "x"}, False, Outcome.NOT_REACHED, None, "n2 failed"),
        (staged("n1"), None, None, False, Outcome.NOT_REACHED, None, "stopped before its turn"),
        (staged("n1", RIGHT), None, None, False, Outcome.RIGHT, None, None),
        (staged("n1", RIGHT), {}, RELEASED, False, Outcome.UPDATED, 71.2, None),
        (staged("n1", StagingOutcome.FAILED, "no space"), None, None, False, Outcome.UNSTAGED, None, "no space"),
        (
            staged("n1", StagingOutcome.UNREACHABLE, "no route"),
            None,
            None,
            False,
            Outcome.UNREACHABLE,
            None,
            "no route",
        ),
    ],
)
def test_outcome(
    staging: Any, held: Any, ended: Any, check_mode: bool, outcome: Outcome, seconds: float | None, reason: str | None
) -> None:
    found = outcome_of(staging, held, None, ended, check_mode)
    assert (found.outcome, found.seconds) == (outcome, seconds)
    assert (reason in found.reason) if reason and found.reason else found.reason is reason
    assert (found.from_digest, found.to_digest) == (OLD, NEW)
    assert outcome.is_right == (reason is None)


def test_digests_of_a_node_that_an_earlier_run_left_rebooting() -> None:
    away = Staging("n1", StagingOutcome.UNREACHABLE, reason="no route")
    held, rebooted = {"slot": {"from_digest": OLD}}, {"changed": False, "booted": {"digest": NEW}}
    found = outcome_of(away, held, rebooted, RELEASED, False)
    assert (found.outcome, found.from_digest, found.to_digest) == (Outcome.UPDATED, OLD, NEW)
    half_way = replace(staged("n1", RIGHT), from_digest=NEW)
    assert outcome_of(half_way, held, rebooted, RELEASED, False).from_digest == OLD


def test_table() -> None:
    outcomes = [
        outcome_of(staged("worker-1"), {}, None, RELEASED, False),
        outcome_of(staged("w2", RIGHT), None, None, None, False),
        outcome_of(staged("w3"), {}, None, {"slot_state": "failed", "seconds": 900.0}, False),
    ]
    assert counted(outcomes) == "3 nodes: 1 updated, 1 already right, 1 failed"
    assert table("workers", outcomes) == [
        "workers: 3 nodes: 1 updated, 1 already right, 1 failed",
        "  node      from        to          out of service  outcome",
        "  worker-1  sha256:old  sha256:new  71 s            updated",
        "  w2        sha256:old  sha256:new  -               already right",
        "  w3        sha256:old  sha256:new  900 s           failed",
    ]


def test_a_node_that_is_in_service_is_not_among_those_waited_for() -> None:
    assert pool({"n1": unstaged(), "n2": active()}).out_of_service == ("n2",)
