# SPDX-License-Identifier: GPL-3.0-or-later
"""What every store must do, and what only a file can do wrong."""

from __future__ import annotations

import multiprocessing
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import PoolState, Progress
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store import Store, StoreError, transact
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_file import FileStore
from rollout_examples import active, pool

OpenStore = Callable[[str], Store]
STORES = ["file"]


@pytest.fixture(params=STORES)
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Opens the store of a pool, every time as another process would."""
    assert request.param == "file"
    return lambda name: FileStore(tmp_path / "state", name)


def test_a_store_begins_empty(open_store: OpenStore) -> None:
    assert open_store("workers").read() == (None, 0)


def test_what_is_stored_is_read_back_under_a_new_version(open_store: OpenStore) -> None:
    assert open_store("workers").swap(pool({"n1": active()}), 0)
    state, version = open_store("workers").read()
    assert state == pool({"n1": active()}, generation=version)
    assert version > 0


def test_a_swap_on_an_old_version_changes_nothing(open_store: OpenStore) -> None:
    store = open_store("workers")
    store.swap(pool(), 0)
    _state, version = store.read()
    assert store.swap(pool(pool_size=7), version)
    assert not open_store("workers").swap(pool(pool_size=8), version)
    assert not open_store("workers").swap(pool(pool_size=8), 0)
    state, _version = store.read()
    assert state is not None
    assert state.pool_size == 7


def test_pools_do_not_share(open_store: OpenStore) -> None:
    open_store("workers").swap(pool(), 0)
    assert open_store("work/ers").read() == (None, 0)
    assert open_store("..").read() == (None, 0)
    assert open_store("..").swap(pool(), 0)
    assert open_store("Workers").read() == (None, 0)


def test_the_stamp_tells_a_change(open_store: OpenStore) -> None:
    store = open_store("workers")
    stamps = [store.stamp()]
    for version in range(3):
        store.swap(pool(), version)
        stamps.append(store.stamp())
        assert store.stamp() == stamps[-1]
    assert len(set(stamps)) == len(stamps)


def test_transact_stores_nothing_where_nothing_changes(open_store: OpenStore) -> None:
    store = open_store("workers")
    assert transact(store, lambda _state: (None, "seen")) == "seen"
    assert store.read() == (None, 0)
    store.swap(pool(), 0)
    assert transact(store, lambda state: (state, "seen")) == "seen"
    assert store.read()[1] == 1


def test_transact_applies_the_change_to_what_somebody_else_stored_meanwhile(open_store: OpenStore) -> None:
    store = open_store("workers")
    store.swap(pool(), 0)
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


def test_transact_gives_up_after_its_deadline(open_store: OpenStore) -> None:
    store = open_store("workers")
    store.swap(pool(), 0)

    def lose(state: PoolState | None) -> tuple[PoolState | None, None]:
        assert state is not None
        open_store("workers").swap(state, state.generation)
        return replace(state, paused=True), None

    with pytest.raises(StoreError, match="changed by others"):
        transact(store, lose, deadline=0.2)


def _count(open_one: OpenStore, times: int) -> None:
    def change(state: PoolState | None) -> tuple[PoolState | None, None]:
        assert state is not None
        return replace(state, progress=replace(state.progress, done=state.progress.done + 1)), None

    for _number in range(times):
        transact(open_one("workers"), change)


def test_no_change_of_many_processes_is_lost(open_store: OpenStore) -> None:
    open_store("workers").swap(pool(progress=Progress()), 0)
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_count, args=(open_store, 25)) for _unused in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    state, _version = open_store("workers").read()
    assert state is not None
    assert state.progress.done == 150


@pytest.mark.parametrize("content", [b"", b"{", b'{"schema": 99}', b"\xff\xfe"])
def test_a_file_that_is_not_understood_is_left_alone_and_named(tmp_path: Path, content: bytes) -> None:
    store = FileStore(tmp_path, "workers")
    file = tmp_path / "workers.json"
    file.write_bytes(content)
    for use in (store.read, store.check_usable, lambda: store.swap(pool(), 0)):
        with pytest.raises(StoreError) as caught:
            use()
        assert str(file) in str(caught.value)
        assert "remove the file and run again" in str(caught.value)
    assert file.read_bytes() == content


def test_only_the_owner_can_read(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        FileStore(tmp_path / "a" / "state", "workers").swap(pool(), 0)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a" / "state").stat().st_mode) == 0o700
    for file in (tmp_path / "a" / "state").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_group_may_take_part_in_a_directory_that_was_made_for_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    store = FileStore(tmp_path, "workers")
    store.swap(pool(), 0)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("workers.json", "workers.lock"), 0o660)


AS_SOMEBODY_ELSE = """
import os, sys
from pathlib import Path
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_file import FileStore
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(65534); os.umask(0o077)
store = FileStore(Path(sys.argv[1]), "workers")
state, version = store.read()
assert store.swap(state, version)
print("stored")
"""


@pytest.mark.skipif(os.getuid() != 0, reason="needs a second user")
@pytest.mark.parametrize("shared", [True, False])
def test_a_second_user_takes_part_or_is_told_how(shared: bool) -> None:
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        os.chown(directory, -1, 12345)
        directory.chmod(0o2770 if shared else 0o777)
        FileStore(directory, "workers").swap(pool(), 0)
        argv = [sys.executable, "-c", AS_SOMEBODY_ELSE, place, "12345"]
        run = subprocess.run(argv, capture_output=True, text=True, check=False)
        if shared:
            assert run.stdout == "stored\n", run.stderr
            assert FileStore(directory, "workers").read()[1] == 2
        else:
            assert "Run as that user" in run.stderr
            assert "remove the file" not in run.stderr


def test_a_check_leaves_no_file_behind(tmp_path: Path) -> None:
    FileStore(tmp_path / "state", "workers").check_usable()
    assert list((tmp_path / "state").iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="ascii")
    with pytest.raises(StoreError, match="imagemode_store_path"):
        FileStore(tmp_path / "file" / "state", "workers").check_usable()


def test_a_full_disk_keeps_the_old_state(tmp_path: Path) -> None:
    """A write that fails half-way leaves what was there: tried with a limit on the size of files."""
    store = FileStore(tmp_path, "workers")
    store.swap(pool(), 0)
    program = (
        "import resource, signal, sys; from dataclasses import replace; from pathlib import Path\n"
        "from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_file import FileStore\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))\n"
        "store = FileStore(Path(sys.argv[1]), 'workers'); state, version = store.read(); store.swap(state, version)\n"
    )
    run = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "imagemode_store_path" in run.stderr
    assert store.read() == (pool(generation=1), 1)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["workers.json", "workers.lock"]
