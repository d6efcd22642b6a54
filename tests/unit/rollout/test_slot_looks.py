# SPDX-License-Identifier: GPL-3.0-or-later
"""How many round trips to the store one task of rollout_slot takes, where the store is on a host."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.action import rollout_slot
from ansible_collections.imagemode.nodes.plugins.module_utils._host.local_runner import LocalRunner
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_action import GuardError
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_host import HostStore
from cluster.store_behaviour import state_of

OPTIONS = {
    "pool": "workers",
    "state": "held",
    "phase": "rebooting",
    "zone": "",
    "from_digest": "",
    "from_checksum": "",
    "boot_id": "",
    "expected_digests": [],
    "take_over": False,
    "wait_timeout": "0",
    "deny": False,
    "reason": "",
}


class Pool:
    """A planned pool in a store on a host, and tasks of its nodes."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runner = LocalRunner()
        store = HostStore(self.runner, "bastion", str(directory), "workers", print)
        assert store.swap(state_of("workers"), 0)
        monkeypatch.setattr(rollout_slot, "select_store", lambda *_unused: store)

    def trips(self, node: str = "n1", strategy: str = "host_pinned", forks: int = 10, **options: Any) -> int:
        play = SimpleNamespace(_play=SimpleNamespace(strategy=strategy))
        action = object.__new__(rollout_slot.ActionModule)
        action._task = SimpleNamespace(check_mode=False, _parent=play)
        variables = {
            "inventory_hostname": node,
            "groups": {"workers": ["n1", "n2", "n3", "n4"]},
            "ansible_play_hosts_all": ["n1", "n2", "n3", "n4"],
            "ansible_forks": forks,
        }
        before = self.runner.trips
        assert action.act({**OPTIONS, **options}, variables)["slot_state"] == options.get("state", "held")
        return self.runner.trips - before


@pytest.fixture
def a_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pool:
    return Pool(tmp_path, monkeypatch)


def test_a_free_slot_takes_a_look_and_an_exchange(a_pool: Pool) -> None:
    assert a_pool.trips() == 3


def test_a_slot_is_given_back_in_one_exchange(a_pool: Pool) -> None:
    a_pool.trips()
    assert a_pool.trips(state="released") == 2


def test_a_play_that_could_not_go_on_is_refused_before_it_takes_a_slot(a_pool: Pool) -> None:
    with pytest.raises(GuardError, match="strategy is linear"):
        a_pool.trips(strategy="linear")
    assert a_pool.runner.trips == 1, "the test's own write"
    with pytest.raises(GuardError, match="2 forks"):
        a_pool.trips(forks=2)
