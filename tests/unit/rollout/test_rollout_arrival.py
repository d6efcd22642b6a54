# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers of one play that come to the line in another order than they were started in, as on a busy machine."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_decision import Request, Verdict
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import PoolState
from ansible_collections.imagemode.nodes.plugins.plugin_utils import _rollout_waiting
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_line import Announcer
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_waiting import SlotWaiter
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_file import FileStore
from rollout_examples import ME, active, alive, failed, policy, pool


class Here:
    """The controller of these workers; nobody else is in its line."""

    holder = ME
    is_gone = False
    is_head = True
    liveness = staticmethod(alive)

    def join(self) -> None:
        return

    step_aside = join


def wait(directory: Path, state: PoolState, before: str | None) -> tuple[Verdict, float]:
    """The answer for n2, and after how many seconds it came."""
    store = FileStore(directory, "workers", False)
    store.swap(replace(state, policy=policy(2, 5)), 0)
    here: Any = Here()
    said: list[str] = []
    began = time.monotonic()
    request = Request("n2", ME, time.time(), target_digests=("sha256:new",))
    decision = SlotWaiter(store, here).wait(request, 0, here, Announcer(said.append), before)
    return decision.verdict, time.monotonic() - began


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_rollout_waiting, "_ARRIVAL", 1.0)
    monkeypatch.setattr(_rollout_waiting, "_POLL", 0.05)


def test_the_one_before_may_come_for_a_while(tmp_path: Path) -> None:
    verdict, seconds = wait(tmp_path, pool({}), "n1")
    assert verdict is Verdict.GRANTED
    assert seconds >= 0.9


HEARD_OF = {
    "nobody is before it": (pool({}), None),
    "it has gone": (pool({"n1": active(ME)}), "n1"),
    "it is back": (pool({}, returned={"n1": 20.0}), "n1"),
    "it failed": (pool({"n1": failed()}), "n1"),
}


@pytest.mark.parametrize("situation", HEARD_OF)
def test_who_was_heard_of_is_not_waited_for(situation: str, tmp_path: Path) -> None:
    state, before = HEARD_OF[situation]
    verdict, seconds = wait(tmp_path, state, before)
    assert verdict is Verdict.GRANTED
    assert seconds < 0.9


def test_a_node_that_may_not_go_at_all_is_told_at_once(tmp_path: Path) -> None:
    verdict, seconds = wait(tmp_path, pool({}, paused=True), "n1")
    assert verdict is Verdict.HALTED
    assert seconds < 0.9
