# SPDX-License-Identifier: GPL-3.0-or-later
"""How often a waiting node looks at a store that is a round trip away."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._host.local_runner import LocalRunner
from ansible_collections.imagemode.nodes.plugins.plugin_utils import _rollout_waiting
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_waiting import _Watch
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_host import HostStore
from cluster.store_behaviour import state_of


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Waiting:
    """One waiting node; every call passes half a second, as its worker does."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self.runner = LocalRunner()
        self.store = HostStore(self.runner, "bastion", str(directory), "workers", print)
        self.watch = _Watch(self.store)
        self._clock = clock

    def trips(self, seconds: float, is_head: bool, for_itself: bool = False) -> int:
        before = self.runner.trips
        for _half in range(int(2 * seconds)):
            self._clock.now += 0.5
            self.watch.shows_change(is_head, for_itself, time_has_come=False)
        return self.runner.trips - before


@pytest.fixture
def waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Waiting:
    clock = Clock()
    monkeypatch.setattr(_rollout_waiting, "time", clock)
    assert other_run(tmp_path).swap(state_of("workers"), 0)
    return Waiting(tmp_path, clock)


def other_run(directory: Path) -> HostStore:
    return HostStore(LocalRunner(), "bastion", str(directory), "workers", print)


def test_everybody_looks_once_because_the_slot_may_be_there_already(waiting: Waiting) -> None:
    assert waiting.trips(0.5, is_head=False) == 1


def test_behind_the_head_nobody_looks(waiting: Waiting) -> None:
    waiting.trips(0.5, is_head=False)
    assert waiting.trips(600, is_head=False) == 0


def test_the_head_looks_at_the_stores_pace(waiting: Waiting) -> None:
    waiting.trips(0.5, is_head=True)
    assert waiting.trips(30, is_head=True) == 10


def test_who_waits_for_a_node_of_another_run_looks_on_its_own(waiting: Waiting) -> None:
    waiting.trips(0.5, is_head=False)
    assert waiting.trips(30, is_head=False, for_itself=True) == 10


def test_the_new_head_looks_at_once(waiting: Waiting) -> None:
    waiting.trips(1, is_head=False)
    assert waiting.trips(0.5, is_head=True) == 1


def test_the_head_looks_at_once_when_its_own_run_changed_something(waiting: Waiting, tmp_path: Path) -> None:
    waiting.trips(1, is_head=True)
    time.sleep(0.01)
    assert other_run(tmp_path).swap(state_of("workers", paused=True), 1), "another worker of this process's play"
    assert waiting.trips(0.5, is_head=True) == 1
    assert waiting.trips(0.5, is_head=True) == 0
