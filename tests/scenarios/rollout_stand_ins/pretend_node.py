# SPDX-License-Identifier: GPL-3.0-or-later
"""A node as a small file, for tests of the window alone: it stages, reboots, is away, and keeps a journal.

The node is what the clock says, as a real one is: it comes back at its time whether or not somebody waits for it.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class PretendNode:
    """`directory/<name>.json`; the journal of all nodes is `directory/journal`, lines of `epoch down|up|staged name`."""

    def __init__(self, name: str, directory: Path | None = None) -> None:
        self.name = name
        self._directory = directory or Path(os.environ["IMAGEMODE_PRETEND_NODES"])
        self._file = self._directory / f"{name}.json"

    def create(self, **facts: Any) -> None:
        state = {"booted": "sha256:old", "staged": None, "up_at": 0.0, "boots": 0, "seconds": 1.0, "fault": None}
        state["seconds_to_notice"] = 0.0  # until somebody who asks it while it is away knows so
        self._file.write_text(json.dumps({**state, **facts}), encoding="utf-8")

    @contextmanager
    def changing(self) -> Iterator[dict[str, Any]]:
        """The node's state as of now; what is changed in it is stored."""
        with (self._directory / f"{self.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = json.loads(self._file.read_text(encoding="utf-8"))
            if state["staged"] and 0 < state["up_at"] <= time.time():
                state.update(booted=state["staged"], staged=None, up_at=0.0, boots=state["boots"] + 1)
            yield state
            # Whole or not at all: the process that does this may be killed at any moment.
            new = self._directory / f"{self.name}.new"
            new.write_text(json.dumps(state), encoding="utf-8")
            new.replace(self._file)

    def read(self) -> dict[str, Any]:
        with self.changing() as state:
            return dict(state)

    def is_away(self) -> bool:
        state = self.read()
        return bool(state["up_at"]) or state["fault"] == "off"

    def stage(self, digest: str) -> None:
        with self.changing() as state:
            if digest not in (state["booted"], state["staged"]):
                state["staged"] = digest
                self._write("staged", time.time())

    def reboot(self) -> None:
        with self.changing() as state:
            now = time.time()
            hangs = state["fault"] == "hangs in boot"
            state["up_at"] = now + (10**6 if hangs else state["seconds"])
            self._write("down", now)
            if not hangs:
                self._write("up", state["up_at"])

    def repair(self) -> None:
        """Somebody made it boot the image that was staged."""
        with self.changing() as state:
            state.update(booted=state["staged"], staged=None, up_at=0.0, fault=None)
            self._write("up", time.time())

    def _write(self, event: str, when: float) -> None:
        with (self._directory / "journal").open("a", encoding="utf-8") as journal:
            journal.write(f"{when} {event} {self.name}\n")
