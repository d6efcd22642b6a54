# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build that did not come to its end left in container storage: working containers, and layers nobody recorded.

An engine removes its working containers itself, but not when it is ended between two steps (buildah 1.28), or with the machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._build.engine import ANSWER_SECONDS, Engine, EngineName
from ansible_collections.imagemode.nodes.plugins.module_utils._build.layer_ledger import StorageTrace
from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import DeadlinePassed, capture

LEAVING_SECONDS = 3.0
_NAME = re.compile(r"working-container(-\d+)?\Z")
_FROM = re.compile(r"STEP \d+(?:/\d+)?: FROM (\S+)")
_ENGINES = ("buildah", "podman", "memfd:buildah")  # the last is the helper of isolation chroot


@dataclass(frozen=True)
class UnfinishedBuild:
    """The note of a build that runs, or did when it was killed. `path` exists as long as there is something to clear."""

    engine: Engine
    path: Path

    def begin(self, log: Path) -> None:
        """Take note of a build that begins, and of the containers that are not its own."""
        noted = self._noted()
        before, logs = noted if noted is not None else ([found["id"] for found in self._containers()], [])
        with contextlib.suppress(OSError):  # a full disk must not hide what comes next
            self.path.write_text(json.dumps({"before": before, "logs": [*logs, str(log)]}) + "\n")

    def end(self) -> None:
        """The build came to its end, and its engine has cleared up."""
        with contextlib.suppress(OSError):
            self.path.unlink()

    def clear(self) -> StorageTrace:
        """Remove the containers that it left, and return what it did to storage, as far as its log says.

        Where another engine works in the same storage, a container may be of its build: then it is left for the next time.
        """
        trace = StorageTrace()
        noted = self._noted()
        if noted is None:
            return trace
        before, logs = noted
        lines = [line for log in logs for line in _lines(log)]
        for line in lines:
            trace.read(line)
        # What rests on a layer of the build itself has no image with a name.
        images = {"", *(match.group(1) for match in map(_FROM.search, lines) if match)}
        left = [
            found["id"]
            for found in self._containers()
            if found["id"] not in before and _NAME.search(found["name"]) and found["image"] in images
        ]
        if left and not _is_alone():
            return trace
        for container in left:
            with contextlib.suppress(DeadlinePassed):
                capture([self.engine.path, "rm", container], ANSWER_SECONDS, cleaning_up=True)
        self.end()
        return trace

    def _noted(self) -> tuple[list[str], list[str]] | None:
        try:
            found = json.loads(self.path.read_text())
            return [str(one) for one in found["before"]], [str(one) for one in found["logs"]]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _containers(self) -> list[dict[str, str]]:
        """The working containers in storage. podman shows its own in another way, and is left to itself."""
        if self.engine.name is not EngineName.BUILDAH:
            return []
        try:
            done = capture([self.engine.path, "containers", "--json"], ANSWER_SECONDS, cleaning_up=True)
            found = json.loads(done.output or "null") or []
        except (DeadlinePassed, ValueError):
            return []
        names = {"id": "id", "image": "imagename", "name": "containername"}
        return [{ours: str(one.get(theirs) or "") for ours, theirs in names.items()} for one in found]


def _lines(log: str) -> list[str]:
    try:
        return Path(log).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _is_alone() -> bool:
    """Whether no other engine runs that may use the same storage: of this user, and told of no other.

    What was just ended gets a moment to go.
    """
    end = time.monotonic() + LEAVING_SECONDS
    while any(_storage(process) == os.environ.get("CONTAINERS_STORAGE_CONF") for process in _engines()):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _engines() -> Iterator[Path]:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            is_ours = process.stat().st_uid == os.getuid()
            if is_ours and state != "Z" and (process / "comm").read_text().startswith(_ENGINES):
                yield process


def _storage(process: Path) -> str | None:
    with contextlib.suppress(OSError):
        for variable in (process / "environ").read_bytes().split(b"\0"):
            name, _equals, value = variable.partition(b"=")
            if name == b"CONTAINERS_STORAGE_CONF":
                return os.fsdecode(value)
    return None
