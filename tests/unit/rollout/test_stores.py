# SPDX-License-Identifier: GPL-3.0-or-later
"""The stores that need no cluster do what every store must do; and what only a file can do wrong."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._host.local_runner import LocalRunner
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store import StoreError
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_file import FileStore
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_host import HostStore
from cluster.store_behaviour import OpenStore, StoreBehaviour, state_of


@pytest.fixture(params=["file", "host"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    if request.param == "file":
        return lambda name: FileStore(tmp_path / "state", name)
    return lambda name: HostStore(LocalRunner(), "bastion", str(tmp_path / "state"), name, print)


class TestFileAndHost(StoreBehaviour):
    """As every store."""


@pytest.mark.parametrize("content", [b"", b"{", b'{"schema": 99}', b"\xff\xfe"])
def test_a_file_that_is_not_understood_is_left_alone_and_named(tmp_path: Path, content: bytes) -> None:
    store = FileStore(tmp_path, "workers")
    file = tmp_path / "workers.json"
    file.write_bytes(content)
    for use in (store.read, store.check_usable, lambda: store.swap(state_of("workers"), 0)):
        with pytest.raises(StoreError) as caught:
            use()
        assert str(file) in str(caught.value)
        assert "remove the file and run again" in str(caught.value)
    assert file.read_bytes() == content


def test_only_the_owner_can_read(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        FileStore(tmp_path / "a" / "state", "workers").swap(state_of("workers"), 0)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a" / "state").stat().st_mode) == 0o700
    for file in (tmp_path / "a" / "state").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_group_may_take_part_in_a_directory_that_was_made_for_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    store = FileStore(tmp_path, "workers")
    store.swap(state_of("workers"), 0)
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
        FileStore(directory, "workers").swap(state_of("workers"), 0)
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
    store.swap(state_of("workers"), 0)
    program = (
        "import resource, signal, sys; from dataclasses import replace; from pathlib import Path\n"
        "from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_file import FileStore\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))\n"
        "store = FileStore(Path(sys.argv[1]), 'workers'); state, version = store.read(); store.swap(state, version)\n"
    )
    run = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "imagemode_store_path" in run.stderr
    assert store.read() == (state_of("workers", generation=1), 1)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["workers.json", "workers.lock"]
