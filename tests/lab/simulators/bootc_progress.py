# SPDX-License-Identifier: GPL-3.0-or-later
"""`--progress-fd`: what bootc tells a watching program about a pull and a staging, as lines of JSON."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import time

from lab.simulators import command_line
from lab.simulators.bootc_session import BootcError

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from typing import Any

    from lab.pull import Import

SECONDS_BETWEEN = 0.2  # at most five events in a second, except where a step ends
STAGING = (
    ("merging", "fetching", "Merging Image"),
    ("deploying", "deploying", "Deploying Image"),
    ("bound_images", "bound_images", "Pulling Bound Images"),
    ("cleanup", "cleanup", "Removing old images"),
)
STEPS_OF_STAGING = (0, 1, 1, 2)  # as it counts, which is not quite what it does (recorded, bootc 1.16.9)


class Progress:
    """Writes events; without a descriptor, nowhere. Nothing is written before the first event of a real pull."""

    def __init__(self, descriptor: int | None) -> None:
        self.descriptor = descriptor
        self.started = False
        self.last = 0.0

    @classmethod
    def of_option(cls, value: str | None, prefix: str) -> Progress:
        """The value of --progress-fd. Exits 2 for a standard stream; raises BootcError for what is no pipe."""
        if value is None:
            return cls(None)
        what = f"invalid value '{value}' for '--progress-fd <PROGRESS_FD>': "
        if not value.isdigit():
            command_line.fail(f"{what}invalid digit found in string", None)
        descriptor = int(value)
        if descriptor < 3:
            command_line.fail(f"{what}Cannot use fd {descriptor} for progress JSON", None)
        try:
            is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
        except OSError:
            is_pipe = False
        if not is_pipe:
            raise BootcError(f"{prefix}not a pipe")
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a reader that goes away is no reason to stop
        return cls(descriptor)

    def _send(self, event: dict[str, Any]) -> None:
        if self.descriptor is None:
            return
        lines = [] if self.started else [{"type": "Start", "version": "0.1.0"}]
        self.started = True
        text = "".join(json.dumps(line, separators=(",", ":"), sort_keys=True) + "\n" for line in [*lines, event])
        try:
            os.write(self.descriptor, text.encode())
        except OSError as error:
            sys.stderr.write(f"Failed to write to jsonl: {os.strerror(error.errno or 0)} (os error {error.errno})\n")
            self.descriptor = None

    def pulling(self, found: Import, done: list[dict[str, Any]], layer: dict[str, Any], received: int) -> None:
        """Bytes of one layer have arrived; ``done`` are the layers before it."""
        complete = received >= int(layer["size"])
        now = time.monotonic()
        if self.descriptor is None or (not complete and now - self.last < SECONDS_BETWEEN):
            return
        self.last = now
        before = sum(int(one["size"]) for one in done)
        chunks = found.chunk_digests
        self._send(
            {
                "type": "ProgressBytes",
                "task": "pulling",
                "description": f"Pulling Image: {found.digest}",
                "id": found.digest,
                "bytesCached": sum(int(one["size"]) for one in found.present),
                "bytes": before + received,
                "bytesTotal": found.needed_bytes,
                "stepsCached": len(found.present),
                "steps": len(done) + complete,
                "stepsTotal": len(found.needed),
                "subtasks": [
                    *(_layer(one, int(one["size"]), chunks) for one in done),
                    _layer(layer, received, chunks),
                ],
            }
        )

    def importing(self, digest: str) -> None:
        for completed in (False, True):
            self._steps(
                *("importing", "Importing Image", digest, int(completed), 1),
                [_step("importing", "importing", "Importing Image", completed)],
            )

    def staging(self, digest: str, phase: str) -> None:
        """The staging enters a phase: one of ``STAGING``, or ``done``."""
        names = [name for name, _identifier, _description in STAGING]
        if phase == "done":
            last = _step(*STAGING[-1], completed=True)
            self._steps(
                "staging", "Deploying Image", digest, 3, 3, [*(_step(*one, completed=True) for one in STAGING), last]
            )
            return
        index = names.index(phase)
        subtasks = [_step(*one, completed=position < index) for position, one in enumerate(STAGING[: index + 1])]
        self._steps("staging", "Deploying Image", digest, STEPS_OF_STAGING[index], 3, subtasks)

    def _steps(
        self, task: str, description: str, digest: str, steps: int, total: int, subtasks: list[dict[str, Any]]
    ) -> None:
        self._send(
            {
                "type": "ProgressSteps",
                "task": task,
                "description": description,
                "id": digest,
                "stepsCached": 0,
                "steps": steps,
                "stepsTotal": total,
                "subtasks": subtasks,
            }
        )


def _layer(layer: dict[str, Any], received: int, chunks: set[str]) -> dict[str, Any]:
    kind = "ostree chunk" if layer["digest"] in chunks else "layer"
    identifier = str(layer["digest"]).removeprefix("sha256:")[:21]
    return {
        "subtask": kind,
        "description": f"{kind}: {identifier}",
        "id": identifier,
        "bytesCached": 0,
        "bytes": received,
        "bytesTotal": layer["size"],
    }


def _step(subtask: str, identifier: str, description: str, completed: bool) -> dict[str, Any]:
    return {"subtask": subtask, "description": description, "id": identifier, "completed": completed}
