# SPDX-License-Identifier: GPL-3.0-or-later
"""``make demo`` as a stranger would use it: to the end, with a file of their own that does not build, and interrupted."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

StartDemo = Callable[..., subprocess.Popen[str]]
PATIENCE_SECONDS = 180.0


@pytest.fixture
def start_demo(tmp_path: Path) -> StartDemo:
    """``start_demo("--nodes", "2")``: the demo as a process of its own, its output in one stream."""

    def start(*arguments: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-u", "-m", "lab.demo", "--lab", str(tmp_path / "demo"), "--boot-seconds", "0.5"]
        return subprocess.Popen(
            [*argv, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    return start


def still_running(directory: Path) -> list[str]:
    """Command lines of the processes that have to do with a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in line:
            found.append(line)
    return found


def test_the_demo_ends_with_runs_that_did_nothing_and_a_report(start_demo: StartDemo, tmp_path: Path) -> None:
    demo = start_demo("--nodes", "3")
    output, _unused = demo.communicate(timeout=PATIENCE_SECONDS)
    assert demo.returncode == 0, output
    assert "second run: 0 changed, 0 reboots, 0 bytes pulled" in output
    assert "migration: 0 changed, 0 reboots, 0 bytes pulled" in output
    assert "Booted image: " in output.partition("# on node3")[2]
    report = output.rpartition("=== Report")[2]
    rows = re.findall(r"^(node\d)\s+(\S+ \S+)\s+1\.0 ([0-9a-f]{12})\s+2\.0 ([0-9a-f]{12})\s+([\d.]+) s", report, re.M)
    assert [row[:2] for row in rows] == [
        ("node1", "bootc 1.16.9"),
        ("node2", "bootc 1.1.6"),
        ("node3", "rpm-ostree 2026.2"),
    ]
    assert len({row[2] for row in rows}) == len({row[3] for row in rows}) == 1
    assert all(float(row[4]) >= 0.5 for row in rows)
    assert still_running(tmp_path) == []


def test_a_step_that_fails_is_named_and_no_node_is_touched(start_demo: StartDemo, tmp_path: Path) -> None:
    (tmp_path / "Containerfile").write_text("RUN echo about to fail\nRUN exit 7\n")
    demo = start_demo("--nodes", "1", "--containerfile", str(tmp_path / "Containerfile"))
    output, _unused = demo.communicate(timeout=PATIENCE_SECONDS)
    assert demo.returncode == 1
    assert "`RUN exit 7` at line 2 of the Containerfile exited with status 7" in output
    assert "playbooks/rollout.yml" not in output
    assert still_running(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_interrupted_leaves_nothing_running(
    start_demo: StartDemo, tmp_path: Path, number: signal.Signals
) -> None:
    demo = start_demo("--nodes", "2")
    assert demo.stdout is not None
    seen = []
    for line in demo.stdout:
        seen.append(line)
        if "Wait for the slot" in line:
            break
    assert still_running(tmp_path) != []
    demo.send_signal(number)
    rest, _unused = demo.communicate(timeout=PATIENCE_SECONDS)
    assert demo.returncode == 130, "".join(seen) + rest
    assert "nothing is left running" in rest
    time.sleep(0.5)  # a worker of Ansible that was told to end takes a moment
    assert still_running(tmp_path) == []
