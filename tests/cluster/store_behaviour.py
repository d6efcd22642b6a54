# SPDX-License-Identifier: GPL-3.0-or-later
"""What every store of a pool's state must do. A class of tests inherits them, beside a fixture `open_store`."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import replace

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_holder import Holder
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import PoolState, Slot, SlotState
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store import Store, StoreError, transact

OpenStore = Callable[[str], Store]
"""Opens the store of a pool, every time as another process would."""

AWAY = Slot(SlotState.ACTIVE, "rebooting", 10.25, Holder("controller-1", 42, user="ann"), from_digest="sha256:old")
ODD_NAMES = ("work/ers", "..", "Workers", "work_ers", "work ers", "wörkers", "-workers", "w" * 230)


def state_of(pool: str, **fields: object) -> PoolState:
    return replace(PoolState(pool, 6, target_digests=("sha256:new",)), **fields)  # type: ignore[arg-type]


def _count(open_one: OpenStore, times: int) -> None:
    def change(state: PoolState | None) -> tuple[PoolState | None, None]:
        assert state is not None
        return replace(state, progress=replace(state.progress, done=state.progress.done + 1)), None

    for _number in range(times):
        transact(open_one("workers"), change, deadline=120)


class StoreBehaviour:
    """The tests. A class of theirs inherits them."""

    def test_a_store_begins_empty(self, open_store: OpenStore) -> None:
        store = open_store("workers")
        store.check_usable()
        assert store.read() == (None, 0)

    def test_what_is_stored_is_read_back_under_a_new_version(self, open_store: OpenStore) -> None:
        state = state_of("workers", nodes={"n1": AWAY, "nöd-2": AWAY})
        assert open_store("workers").swap(state, 0)
        found, version = open_store("workers").read()
        assert found == replace(state, generation=version)
        assert version > 0
        open_store("workers").check_usable()

    def test_a_swap_on_an_old_version_changes_nothing(self, open_store: OpenStore) -> None:
        store = open_store("workers")
        store.swap(state_of("workers"), 0)
        _state, version = store.read()
        assert store.swap(state_of("workers", pool_size=7), version)
        for old in (version, 0, version + 5):
            assert not store.swap(state_of("workers", pool_size=8), old)
            assert not open_store("workers").swap(state_of("workers", pool_size=8), old)
        state, _version = store.read()
        assert state is not None
        assert state.pool_size == 7

    def test_a_look_does_not_hide_what_comes_after_it_from_a_swap(self, open_store: OpenStore) -> None:
        store = open_store("workers")
        store.swap(state_of("workers"), 0)
        store.stamp()
        open_store("workers").swap(state_of("workers", pool_size=7), 1)
        _state, version = store.read()
        assert version == 2 or not store.swap(state_of("workers", pool_size=8), version)

    def test_pools_do_not_share(self, open_store: OpenStore) -> None:
        open_store("workers").swap(state_of("workers"), 0)
        for name in ODD_NAMES:
            assert open_store(name).read() == (None, 0), name
            assert open_store(name).swap(state_of(name), 0), name
        for name in ODD_NAMES:
            state, _version = open_store(name).read()
            assert state is not None
            assert state.pool == name

    def test_the_stamp_tells_a_change(self, open_store: OpenStore) -> None:
        store = open_store("workers")
        stamps = [store.stamp()]
        for version in range(3):
            store.swap(state_of("workers"), version)
            stamps.append(store.stamp())
            assert store.stamp() == stamps[-1]
        assert len(set(stamps)) == len(stamps)

    def test_the_stamp_tells_what_others_changed(self, open_store: OpenStore) -> None:
        mine = open_store("workers")
        before = mine.stamp()
        open_store("workers").swap(state_of("workers"), 0)
        assert mine.stamp() != before

    def test_transact_stores_nothing_where_nothing_changes(self, open_store: OpenStore) -> None:
        store = open_store("workers")
        assert transact(store, lambda _state: (None, "seen")) == "seen"
        assert store.read() == (None, 0)
        store.swap(state_of("workers"), 0)
        assert transact(store, lambda state: (state, "seen")) == "seen"
        assert store.read()[1] == 1

    def test_transact_applies_the_change_to_what_somebody_else_stored_meanwhile(self, open_store: OpenStore) -> None:
        store = open_store("workers")
        store.swap(state_of("workers"), 0)
        seen: list[int] = []

        def change(state: PoolState | None) -> tuple[PoolState | None, int]:
            assert state is not None
            if not seen:
                open_store("workers").swap(replace(state, pool_size=50), state.generation)
            seen.append(state.pool_size)
            return replace(state, paused=True), state.pool_size

        assert transact(store, change) == 50
        assert seen == [6, 50]
        state, _version = store.read()
        assert state is not None
        assert (state.paused, state.pool_size) == (True, 50)

    def test_transact_gives_up_after_its_deadline(self, open_store: OpenStore) -> None:
        store = open_store("workers")
        store.swap(state_of("workers"), 0)

        def lose(state: PoolState | None) -> tuple[PoolState | None, None]:
            assert state is not None
            assert open_store("workers").swap(state, state.generation)
            return replace(state, paused=True), None

        with pytest.raises(StoreError, match="changed by others"):
            transact(store, lose, deadline=0.2)

    def test_no_change_of_many_processes_is_lost(self, open_store: OpenStore) -> None:
        open_store("workers").swap(state_of("workers"), 0)
        fork = multiprocessing.get_context("fork")
        processes = [fork.Process(target=_count, args=(open_store, 10)) for _unused in range(6)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(180)
            assert process.exitcode == 0
        state, _version = open_store("workers").read()
        assert state is not None
        assert state.progress.done == 60

    def test_the_failures_of_a_thousand_nodes_find_room(self, open_store: OpenStore) -> None:
        """The most that a pool of a thousand can have to remember: all failed, each with a reason of its own."""
        slots = {
            f"worker-{number:04}.fleet.example.com": Slot(
                SlotState.FAILED,
                "rebooting",
                1790000000.5 + number,
                from_digest="sha256:" + f"{number:02x}"[-2:] * 32,
                boot_id=f"1b4e28ba-2fa1-11d2-883f-0016d3cc{number:04x}",
                reason=f"The node did not answer within 900 s after its reboot at 22:{number % 60:02}.",
            )
            for number in range(1000)
        }
        returned = {f"worker-{number:04}.fleet.example.com": 1790000000.5 for number in range(1000)}
        assert open_store("workers").swap(state_of("workers", nodes=slots, returned=returned), 0)
        state, version = open_store("workers").read()
        assert state == state_of("workers", nodes=slots, returned=returned, generation=version)
