# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds the system lock, asked of a real kernel and of made-up process tables."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._host.local_runner import LocalRunner
from ansible_collections.imagemode.nodes.plugins.module_utils._host.lock_holder import (
    lock_holder_step,
    parse_lock_holder,
)

# Takes the file name and the kind of lock; the numbers are F_OFD_SETLKW and F_WRLCK, which Python has no names for.
TAKE = """
import fcntl, os, struct, sys
handle = os.open(sys.argv[1], os.O_RDWR)
if sys.argv[2] == "flock":
    fcntl.flock(handle, fcntl.LOCK_EX)
else:
    fcntl.fcntl(handle, 38, struct.pack("hhqqi4x", 1, 0, 0, 0, 0))
print("has it", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "ostree/lock"
    path.parent.mkdir()
    path.touch()
    return path


def holder_of(lock: Path, proc: str = "/proc") -> str | None:
    outcome = LocalRunner().run_one(lock_holder_step(str(lock), proc))
    assert outcome.ok, outcome
    found = parse_lock_holder(outcome.stdout)
    return found.describe() if found else None


def wait_for_open(lock: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for fd in Path(f"/proc/{process.pid}/fd").iterdir():
            if fd.resolve() == lock:
                return
        time.sleep(0.02)
    raise AssertionError("the process never opened the lock")


def test_nobody(lock: Path, tmp_path: Path) -> None:
    assert holder_of(lock) is None
    assert holder_of(tmp_path / "missing") is None


@pytest.mark.parametrize("kind", ["flock", "open file description"])
def test_the_holder_not_the_one_who_waits(lock: Path, kind: str) -> None:
    argv = [sys.executable, "-c", TAKE, str(lock), kind]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe) as first:
        assert first.stdout is not None
        first.stdout.readline()
        with subprocess.Popen(argv, stdin=pipe, stdout=pipe) as second:
            wait_for_open(lock, second)
            found = holder_of(lock)
            first.kill()
            second.kill()
    assert found is not None
    assert f"(process {first.pid}," in found


def test_a_file_of_the_same_name_elsewhere_is_another_lock(lock: Path, tmp_path: Path) -> None:
    other = tmp_path / "container/ostree/lock"
    other.parent.mkdir(parents=True)
    with other.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert holder_of(lock) is None


def make_process(proc: Path, pid: int, lock: Path, *, holds: bool, cgroup: str) -> None:
    directory = proc / str(pid)
    (directory / "fd").mkdir(parents=True)
    (directory / "fdinfo").mkdir()
    (directory / "fd/7").symlink_to(lock)
    (directory / "fdinfo/7").write_text(
        "pos:\t0\n" + ("lock:\t1: OFDLCK ADVISORY WRITE -1 fe:00:1 0 EOF\n" if holds else "")
    )
    (directory / "stat").write_text(f"{pid} (bootc) S {' '.join(['1'] * 18)} {100 * pid} 1\n")
    (directory / "cgroup").write_text(f"0::/system.slice/{cgroup}\n")


@pytest.mark.parametrize(
    ("holds", "named"),
    [
        ({20: False, 30: True}, "bootc (process 30, running for 70 s, in unit-30.service)"),
        ({20: False, 30: False}, "bootc (process 20, running for 80 s, in unit-20.service)"),
    ],
)
def test_the_unit_is_named(lock: Path, tmp_path: Path, holds: dict[int, bool], named: str) -> None:
    proc = tmp_path / "proc"
    for pid, has_it in holds.items():
        make_process(proc, pid, lock, holds=has_it, cgroup=f"unit-{pid}.service")
    (proc / "uptime").write_text("100.00 100.00\n")
    assert holder_of(lock, str(proc)) == named
