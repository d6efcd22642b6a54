# SPDX-License-Identifier: GPL-3.0-or-later
"""Long work under a real systemd: what the lab imitates of it must not differ where it counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._host.long_work import (
    STAGE_UNIT,
    LongOutcome,
    LongWork,
    Work,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Step
from lab import systemd_manager
from lab.systemd_manager import Manager
from systemd_runner import ManagerRunner

pytestmark = pytest.mark.skipif(systemd_manager.missing() is not None, reason=str(systemd_manager.missing()))

AFTER = (Step(("echo", "state"), timeout=10),)
SECRET = "http://user:hunter2@proxy.example.com"
BOOTC = r"""#!/bin/sh
[ "$1" != --version ] || { echo "bootc 1.16.9"; exit 0; }
echo "$https_proxy"
[ "$2" != --progress-fd ] || echo '{"type":"ProgressBytes","bytes":120000000,"bytesTotal":412000000}' >&3
for word in "$@"; do printf '<%s>' "$word"; done
case "$*" in *slow*) sleep 5 ;; *stalls*) sleep 300 & wait ;; *fails*) echo no >&2; exit 7 ;; *dies*) kill -KILL $$ ;; esac
"""
RPM_OSTREE = r"""#!/bin/sh
[ "$1" != cancel ] || { echo cancelled >>/run/cancelled; exit 0; }
trap 'echo "Caught SIGINT, cancelling transaction" >&2; exit 1' INT
while :; do sleep 0.2; done
"""


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    try:
        with systemd_manager.running(tmp_path_factory.mktemp("systemd")) as found:
            yield found
    except systemd_manager.NotComing as reason:
        pytest.skip(f"no systemd can run here: {reason}")


@pytest.fixture
def runner(manager: Manager, tmp_path: Path) -> ManagerRunner:
    for name, script in (("bootc", BOOTC), ("rpm-ostree", RPM_OSTREE)):
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin", "https_proxy": SECRET}
    return ManagerRunner(manager, environment)


def control(runner: ManagerRunner, *argv: str, timeout: int = 60, said: list[str] | None = None) -> LongOutcome:
    """One controller's run."""
    notify = (said if said is not None else []).append
    return LongWork(runner, notify, slice_seconds=2).run(Work(argv, timeout), after=AFTER)


def run(runner: ManagerRunner, *argv: str, timeout: int = 60, said: list[str] | None = None) -> LongOutcome:
    """A run that is alone: behind it stands the state, and the unit's name is free."""
    outcome = control(runner, *argv, timeout=timeout, said=said)
    assert [one.stdout for one in outcome.after] == ["state\n"]
    assert runner.manager.sh(f"systemctl show {STAGE_UNIT} -p LoadState") == "LoadState=not-found\n"
    return outcome


def test_words_streams_and_proxies_arrive(runner: ManagerRunner) -> None:
    words = ("a b", "$HOME", "${PATH}", "$$", "%n", "'", '"', "\\", "")
    outcome = run(runner, "bootc", "switch", *words)
    listed = "".join(f"<{word}>" for word in ("switch", "--progress-fd", "3", *words))
    assert (outcome.command.rc, outcome.command.stdout) == (0, f"{SECRET}\n{listed}")


@pytest.mark.parametrize(("word", "rc"), [("fails", 7), ("dies", 137)])
def test_how_it_failed(runner: ManagerRunner, word: str, rc: int) -> None:
    outcome = run(runner, "bootc", "switch", word)
    assert outcome.command.rc == rc
    assert not outcome.command.timed_out


def test_progress(runner: ManagerRunner) -> None:
    said: list[str] = []
    assert run(runner, "bootc", "switch", "slow", said=said).command.ok
    assert said[0].startswith("pulled 120 of 412 MB (29 %), ")


@pytest.mark.parametrize(
    ("argv", "rc", "stderr"),
    [
        (("bootc", "switch", "stalls"), 143, ""),
        (("rpm-ostree", "rebase", "stalls"), 130, "Caught SIGINT, cancelling transaction\n"),
    ],
)
def test_a_deadline(runner: ManagerRunner, argv: tuple[str, ...], rc: int, stderr: str) -> None:
    outcome = run(runner, *argv, timeout=3)
    assert (outcome.command.rc, outcome.command.stderr, outcome.command.timed_out) == (rc, stderr, True)


def test_an_orphaned_transaction_is_cancelled(runner: ManagerRunner) -> None:
    killer = threading.Timer(2, runner.manager.sh, (f"systemctl kill --signal=KILL {STAGE_UNIT}",))
    killer.start()
    assert run(runner, "rpm-ostree", "rebase", "x").command.rc == 137
    killer.join()
    assert runner.manager.sh("cat /run/cancelled") == "cancelled\n"


def test_three_at_once_want_the_same(runner: ManagerRunner) -> None:
    """A unit is loaded and inactive for a moment before it starts: a second controller once took that for its end."""
    outcomes: list[LongOutcome] = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(control(runner, "bootc", "switch", "slow")))
        for _number in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [outcome.command.rc for outcome in outcomes] == [0, 0, 0]
    assert sorted(outcome.adopted for outcome in outcomes) == [False, True, True]


def test_another_wish_takes_over(runner: ManagerRunner) -> None:
    earlier: list[LongOutcome] = []
    thread = threading.Thread(target=lambda: earlier.append(control(runner, "rpm-ostree", "rebase", "x")))
    thread.start()
    time.sleep(2)
    later = run(runner, "bootc", "switch", "new")
    thread.join()
    assert later.superseded
    assert later.command.ok
    assert earlier[0].stopped
