# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells whoever watches how far a build is, in a small file beside it. Nothing that goes wrong here reaches the build."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._build.sent_bytes import bytes_sent_by_children
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_progress import (
    BuildProgress,
    Phase,
    PushProgress,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile import Containerfile

WRITES_APART_SECONDS = 0.5
LEFTOVER_SECONDS = 86400.0
PATTERN = "progress-*.json"


class ProgressFile:
    """Rewrites `path` at most twice a second, each time as a whole, readable for its owner only. Without a path: nothing.

    The file is there from the first thing that is told until `end`.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._progress = BuildProgress()
        self._changed = threading.Event()
        self._ended = threading.Event()
        self._writer: threading.Thread | None = None
        if path is not None:
            with contextlib.suppress(OSError):
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                _remove_leftovers(path)
            writer = threading.Thread(target=self._write_on_change, daemon=True)
            with contextlib.suppress(RuntimeError):  # a host that has no thread left
                writer.start()
                self._writer = writer

    def phase(
        self,
        name: str,
        number: int = 1,
        of: int = 1,
        containerfile: Containerfile | None = None,
        titles: Sequence[str] = (),
    ) -> None:
        """An engine build begins, the first of `of` if `number` is 1.

        `containerfile` is the user's, which lines are counted in; `titles` are the words for the steps after `FROM`, for
        a Containerfile that the collection wrote.
        """
        phase = Phase(name, number, of, containerfile, tuple(titles))
        self._tell(BuildProgress(phase, log=self._progress.log, since=time.time()))

    def read(self, line: str) -> None:
        """A line of the output of the build."""
        self._tell(self._progress.after(line, time.time()))

    def push_began(self, total_bytes: int | None = None) -> None:
        """A push begins, or begins again. `total_bytes` is what will be sent, where that is known."""
        push = PushProgress(total_bytes=total_bytes)
        self._tell(BuildProgress(push=push, log=self._progress.log, since=time.time()))

    def push_read(self, line: str) -> None:
        """A line of the debug output of the push."""
        if self._progress.push is not None:
            self._tell(replace(self._progress, push=self._progress.push.after(line)))

    def log(self, path: str | Path) -> None:
        """Where the whole output goes."""
        self._tell(replace(self._progress, log=str(path)))

    def end(self) -> None:
        """The build is over, however it went: the file goes."""
        self._ended.set()
        self._changed.set()
        if self._writer is not None:
            self._writer.join(5)
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _tell(self, progress: BuildProgress) -> None:
        if self._writer is not None and progress != self._progress:
            self._progress = progress
            self._changed.set()

    def _write_on_change(self) -> None:
        while not self._ended.is_set():
            pushing = self._progress.push is not None
            # Nothing is printed while a layer is sent, so bytes are looked up without being told.
            if not self._changed.wait(2 * WRITES_APART_SECONDS if pushing else None) and not pushing:
                continue
            if self._ended.is_set():
                return
            self._changed.clear()
            with contextlib.suppress(OSError):
                self._write()
            self._ended.wait(WRITES_APART_SECONDS)

    def _write(self) -> None:
        if self._path is None:
            return
        progress = self._progress
        if progress.push is not None:
            progress = replace(progress, push=replace(progress.push, sent_bytes=bytes_sent_by_children()))
        new = self._path.with_name(f".{self._path.name}.new")
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(progress.as_json())
        new.replace(self._path)


def _remove_leftovers(path: Path) -> None:
    """The files of builds that were killed: nobody reads them any more."""
    for old in path.parent.glob(PATTERN):
        if old.stat().st_mtime < time.time() - LEFTOVER_SECONDS:
            old.unlink()
