# SPDX-License-Identifier: GPL-3.0-or-later
"""The store on a host: what its scripts do in real shells, and what becomes of a lost connection."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import PoolState
from ansible_collections.imagemode.nodes.plugins.module_utils._host.local_runner import LocalRunner
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import NodeUnreachable, Runner
from ansible_collections.imagemode.nodes.plugins.plugin_utils import _store_host
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store import StoreError, transact
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_host import HostStore
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_remote import StoreLost
from cluster.store_behaviour import state_of

NOBODY = 65534
STATE = state_of("workers")


class ShellRunner(Runner):
    """Scripts in a shell of one's choice, with nothing but these directories on the path, as some user."""

    def __init__(self, *shell: str, path: str = os.environ["PATH"], user: int | None = None, group: int | None = None):
        super().__init__()
        self._shell, self._path, self._user, self._group = shell or ("/bin/sh",), path, user, group

    def _execute(self, script: str, limit: int | None) -> tuple[int, str, str]:
        done = subprocess.run(
            [*self._shell, "-s"],
            input=script,
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": self._path},
            user=self._user,
            group=self._group,
            extra_groups=[] if self._user is not None else None,
            umask=0,
        )
        return done.returncode, done.stdout, done.stderr


class LossyRunner(LocalRunner):
    """Loses the connection as told, once each: `before` the script ran, or `after`."""

    def __init__(self, *losses: str) -> None:
        super().__init__()
        self.losses = list(losses)
        self.resets = 0

    def _execute(self, script: str, limit: int | None) -> tuple[int, str, str]:
        loss = self.losses.pop(0) if self.losses else ""
        if loss == "before":
            raise NodeUnreachable("The connection to the node failed: no route")
        answer = super()._execute(script, limit)
        if loss == "after":
            raise NodeUnreachable("The connection ended while the node was still working.")
        return answer

    def reset(self) -> None:
        self.resets += 1


def store(directory: Path, runner: Runner | None = None, **options: object) -> HostStore:
    return HostStore(runner or ShellRunner(), "bastion", str(directory), "workers", print, **options)  # type: ignore[arg-type]


@pytest.fixture
def busybox_only(tmp_path: Path) -> str:
    """A directory with busybox's commands. The runner looks for others where hosts have them."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("no busybox here")
    applets = tmp_path / "applets"
    applets.mkdir()
    for name in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
        if name != "flock":  # Debian's has none
            (applets / name).symlink_to(busybox)
    return str(applets)


def test_busybox_and_flock_are_enough(tmp_path: Path, busybox_only: str) -> None:
    kept = store(tmp_path / "a b" / "state", ShellRunner(f"{busybox_only}/sh", path=busybox_only))
    kept.check_usable()
    assert kept.read() == (None, 0)
    assert [kept.swap(STATE, 0), kept.swap(STATE, 0), kept.swap(STATE, 1)] == [True, False, True]
    assert kept.read()[1] == 2


def test_only_the_owner_can_read(tmp_path: Path) -> None:
    assert store(tmp_path / "state").swap(STATE, 0)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "state").iterdir()} == {0o600}


def test_a_swap_leaves_the_state_and_its_lock(tmp_path: Path) -> None:
    store(tmp_path).check_usable()
    assert store(tmp_path).swap(STATE, 0)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["workers.json", "workers.lock"]


@pytest.mark.skipif(os.getuid() != 0, reason="needs a second user")
@pytest.mark.parametrize("shared", [True, False])
def test_a_second_user_takes_part_or_is_told_how(shared: bool) -> None:
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        os.chown(directory, -1, 12345)
        directory.chmod(0o2770 if shared else 0o777)
        assert store(directory).swap(STATE, 0)
        other = store(directory, ShellRunner(user=NOBODY, group=12345))
        if shared:
            other.check_usable()
            assert other.swap(STATE, 1)
            assert store(directory).swap(STATE, 2)
        else:
            for use in (other.read, other.check_usable, lambda: other.swap(STATE, 1)):
                with pytest.raises(StoreError, match=r"(?s)ermission denied.*chmod 2770") as caught:
                    use()
                assert not isinstance(caught.value, StoreLost), "nobody waits for rights"


@pytest.mark.skipif(os.getuid() != 0, reason="needs a second user")
def test_a_directory_that_may_not_be_searched_is_not_an_empty_one() -> None:
    with tempfile.TemporaryDirectory() as place:
        assert store(Path(place)).swap(STATE, 0)
        with pytest.raises(StoreError, match="cannot be read"):
            store(Path(place), ShellRunner(user=NOBODY, group=NOBODY)).read()


@pytest.mark.parametrize("content", ["", "{", '{"schema": 99}\n', '{\n"generation": 1,\n"generation": 1,\n}'])
def test_a_file_that_is_not_understood_is_left_alone_and_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "workers.json"
    file.write_text(content, encoding="ascii")
    kept = store(tmp_path)
    for use in (kept.read, kept.stamp, kept.check_usable, lambda: kept.swap(STATE, 0)):
        with pytest.raises(StoreError, match=r"(?s)workers.json on bastion.*remove the file and run again"):
            use()
    assert file.read_text(encoding="ascii") == content


def test_a_file_of_another_pool_is_refused(tmp_path: Path) -> None:
    store(tmp_path).swap(state_of("others"), 0)
    with pytest.raises(StoreError, match="it is about the pool others"):
        store(tmp_path).read()


def test_a_host_without_flock_is_refused(tmp_path: Path, busybox_only: str) -> None:
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        pytest.skip("no bwrap here, to hide flock with")
    argv: tuple[str, ...] = (bwrap, "--dev-bind", "/", "/")
    for directory in ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"):
        if Path(directory, "flock").exists():
            argv += ("--ro-bind", "/dev/null", f"{directory}/flock")
    runner = ShellRunner(*argv, f"{busybox_only}/sh", path=busybox_only)
    kept = store(tmp_path / "state", runner)
    for use in (kept.check_usable, lambda: kept.swap(STATE, 0)):
        with pytest.raises(StoreError, match="no command flock"):
            use()
    assert not (tmp_path / "state" / "workers.json").exists()


def test_a_full_disk_keeps_the_old_state(tmp_path: Path) -> None:
    assert store(tmp_path).swap(STATE, 0)
    with pytest.raises(StoreError, match=r"cannot be kept in .* on bastion"):
        store(tmp_path, ShellRunner("sh", "-c", "trap '' XFSZ; ulimit -f 0; exec sh -s")).swap(STATE, 1)
    assert store(tmp_path).read()[1] == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["workers.json", "workers.lock"]


def test_a_text_that_lost_its_end_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store(tmp_path).swap(STATE, 0)
    monkeypatch.setattr(_store_host, "_SWAP", _store_host._SWAP.replace("cat >", "head -c 100 >"))
    with pytest.raises(StoreLost, match="in part only"):
        store(tmp_path, patience=0.0).swap(STATE, 1)
    assert store(tmp_path).read()[1] == 1


@pytest.mark.parametrize("where", ["flock 9", 'cat >"$new"', 'sync "$new"', 'mv -f -- "$new" "$file"'])
@pytest.mark.parametrize("after", [False, True])
def test_a_swap_that_is_killed_half_way_is_whole_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, after: bool
) -> None:
    """SIGKILL at each step; then the next swap finds no lock in its way, and either the old state or the new one."""
    assert store(tmp_path).swap(STATE, 0)
    swap = _store_host._SWAP
    line = next(line for line in swap.splitlines() if line.startswith(where))
    steps = f"{line}\nkill -KILL $$" if after else f"kill -KILL $$\n{line}"
    monkeypatch.setattr(_store_host, "_SWAP", swap.replace(line, steps))
    with pytest.raises(StoreError):
        store(tmp_path, patience=0.0).swap(STATE, 1)
    monkeypatch.setattr(_store_host, "_SWAP", swap)
    _state, version = store(tmp_path).read()
    assert version == (2 if after and where.startswith("mv") else 1)
    assert store(tmp_path).swap(STATE, version)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["workers.json", "workers.lock"]


def test_a_lock_that_somebody_keeps_is_waited_for_and_then_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_store_host, "_STEP_SECONDS", 1)
    assert store(tmp_path).swap(STATE, 0)
    keeper = subprocess.Popen(["flock", str(tmp_path / "workers.lock"), "sleep", "60"], start_new_session=True)
    try:
        time.sleep(0.3)
        assert store(tmp_path).read()[1] == 1, "a look needs no lock"
        with pytest.raises(StoreLost, match=r"workers.lock locked \(lsof"):
            store(tmp_path, patience=0.0).swap(STATE, 1)
    finally:
        os.killpg(keeper.pid, signal.SIGKILL)
        keeper.wait()
    assert store(tmp_path).swap(STATE, 1)


def test_a_lost_host_is_asked_again_and_said_to_be_lost(tmp_path: Path) -> None:
    lines: list[str] = []
    runner = LossyRunner("before", "after")
    kept = HostStore(runner, "bastion", str(tmp_path), "workers", lines.append, runner.reset, patience=2.0)
    assert kept.read() == (None, 0)
    assert runner.resets == 2
    assert len(lines) == 1, lines
    assert lines[0].startswith("workers: The store's host bastion does not answer: The connection to the node failed")


def test_patience_ends(tmp_path: Path) -> None:
    kept = store(tmp_path, LossyRunner(*["before"] * 50), patience=0.3)
    with pytest.raises(StoreLost, match=r"bastion does not answer.*asked again for"):
        kept.swap(STATE, 0)


def test_the_first_look_has_no_patience(tmp_path: Path) -> None:
    runner = LossyRunner("before")
    with pytest.raises(StoreLost):
        store(tmp_path, runner).check_usable()
    assert runner.resets == 0
    assert runner.losses == []


Meanwhile = Callable[[HostStore], object]


@pytest.mark.parametrize(
    ("losses", "meanwhile", "expected"),
    [
        (("before",), None, True),
        (("after",), None, True),
        (("after", "before", "after"), None, True),
        (("before",), lambda other: other.swap(state_of("workers", pool_size=9), 1), False),
    ],
)
def test_a_swap_whose_answer_was_lost_is_looked_up(
    tmp_path: Path, losses: tuple[str, ...], meanwhile: Meanwhile | None, expected: bool
) -> None:
    assert store(tmp_path).swap(STATE, 0)
    kept = store(tmp_path, LossyRunner(*losses), patience=2.0)
    if meanwhile:
        meanwhile(store(tmp_path))
    new = state_of("workers", paused=True)
    assert kept.swap(new, 1) is expected
    assert store(tmp_path).read()[1] == 2


def test_a_change_is_made_once_whatever_gets_lost(tmp_path: Path) -> None:
    assert store(tmp_path).swap(STATE, 0)
    kept = store(tmp_path, LossyRunner("before", "", "after", "", "before", "after"), patience=3.0)

    def one_more(state: PoolState | None) -> tuple[PoolState | None, None]:
        assert state is not None
        return replace(state, pool_size=state.pool_size + 1), None

    for _number in range(2):
        transact(kept, one_more)
    state, version = store(tmp_path).read()
    assert state is not None
    assert (state.pool_size, version) == (8, 3)
