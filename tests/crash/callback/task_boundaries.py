# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# ruff: noqa: E402 (the documentation comes before the imports)
"""Notes where each task begins and ends on each host, and strikes at one of these boundaries. For the crash campaign only."""

from __future__ import annotations

DOCUMENTATION = """
name: task_boundaries
type: aggregate
short_description: Strike at a task boundary
description:
  - Reads the JSON file that the variable IMAGEMODE_CRASH names, with the keys C(notes) (a file to write),
    C(boundary) (play, task, host and edge, or null), C(number) (which time it is met) and C(strike).
author: imagemode.nodes contributors
"""

import collections
import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """In the main process of ansible-playbook, which is where tasks are handed out and their results arrive."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "task_boundaries"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        with open(os.environ["IMAGEMODE_CRASH"], encoding="utf-8") as file:
            self._order: dict[str, Any] = json.load(file)
        self._play = ""
        self._met: collections.Counter[tuple[str, ...]] = collections.Counter()
        self._note({"pid": os.getpid()})

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._play = play.get_name()

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self._boundary(task, host, "begin")

    def v2_runner_on_ok(self, result: Any) -> None:
        self._ended(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._ended(result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._note({"skipped": [self._play, str(result.task.get_name()), str(result.host.get_name())]})

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._ended(result)

    def _ended(self, result: Any) -> None:
        self._boundary(result.task, result.host, "end")

    def _boundary(self, task: Any, host: Any, edge: str) -> None:
        boundary = (self._play, str(task.get_name()), str(host.get_name()), edge)
        self._met[boundary] += 1
        self._note({"boundary": boundary, "number": self._met[boundary]})
        wanted = self._order["boundary"]
        if wanted is not None and boundary == tuple(wanted) and self._met[boundary] == self._order["number"]:
            self._strike()

    def _strike(self) -> None:
        self._note({"struck": self._order["strike"]})
        if self._order["strike"] == "power":
            # In a process of its own: none of the lab's locks may be held when this one forks a worker.
            subprocess.run([sys.executable, "-m", "crash.power", *self._order["power"]], check=True)
        else:
            if self._order["strike"] == "everything":
                for pid in descendants(os.getpid()):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            os.killpg(os.getpgrp(), signal.SIGKILL)

    def _note(self, entry: dict[str, Any]) -> None:
        line = json.dumps(entry) + "\n"
        handle = os.open(self._order["notes"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)


def descendants(ancestor: int) -> list[int]:
    """All processes below one, workers in sessions of their own included, but what a node of the lab runs and what is below that.

    What runs on a node goes on when its controller goes away. The node's service manager in particular: it is below the
    controller for the moment in which it is asked for a unit.
    """
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with (
                contextlib.suppress(OSError, ValueError, IndexError),
                open(f"/proc/{name}/stat", encoding="utf-8") as stat,
            ):
                parents[int(name)] = int(stat.read().rpartition(")")[2].split()[1])
    found, spared = {ancestor}, set[int]()
    while more := {pid for pid, parent in parents.items() if parent in found} - found - spared:
        spared |= {pid for pid in more if _is_of_a_node(pid)}
        found |= more - spared
    return sorted(found - {ancestor})


def _is_of_a_node(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as environment:
            return any(word.startswith(b"LAB_NODE=") for word in environment.read().split(b"\0"))
    except OSError:
        return False
