# SPDX-License-Identifier: GPL-3.0-or-later
"""bootc's `--progress-fd`: JSON lines on a pipe (recorded, bootc 1.16.9). A run that pulls nothing writes nothing."""

from __future__ import annotations

import json
import os
import stat
import sys

from lab.simulators import command_line

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from typing import Any

    from lab.pull import Import

OPTION = "--progress-fd"
STANDARD_STREAMS = 3


class Progress:
    """Writes the events of one pull to a descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.begun = False

    def pulling(self, found: Import, layer: int, share: float) -> None:
        """So many layers have arrived, and that share of the next one."""
        sizes = [int(one["size"]) for one in found.needed]
        kinds = ["ostree chunk" if one in found.needed_of(chunks=True) else "layer" for one in found.needed]
        subtasks: list[dict[str, Any]] = []
        for index, (size, kind) in enumerate(zip(sizes, kinds)):
            if index <= layer and (index < layer or share > 0):
                name = str(found.needed[index]["digest"]).partition(":")[2][:21]
                arrived = size if index < layer else int(size * share)
                subtasks.append(
                    {**_bytes(arrived, 0, size), "description": f"{kind}: {name}", "id": name, "subtask": kind}
                )
        total = sum(sizes[:layer]) + (int(sizes[layer] * share) if layer < len(sizes) else 0)
        self._write(
            {
                **_bytes(total, sum(int(one["size"]) for one in found.present), sum(sizes)),
                "description": f"Pulling Image: {found.digest}",
                "id": found.digest,
                **_steps(layer, len(found.present), len(sizes)),
                "subtasks": subtasks,
                "task": "pulling",
                "type": "ProgressBytes",
            }
        )

    def pulled(self, found: Import) -> None:
        """Everything arrived; importing and deploying come next."""
        for done in (0, 1):
            self._work(found, "importing", "Importing Image", [("importing", "importing", "Importing Image")], done, 1)
        merging = [("merging", "fetching", "Merging Image")]
        self._work(found, "staging", "Deploying Image", merging, 0, 3)
        deploying = [*merging, ("deploying", "deploying", "Deploying Image")]
        self._work(found, "staging", "Deploying Image", deploying, 1, 3)

    def _work(
        self, found: Import, task: str, description: str, subtasks: list[tuple[str, str, str]], done: int, total: int
    ) -> None:
        self._write(
            {
                "description": description,
                "id": found.digest,
                **_steps(done, 0, total),
                "subtasks": [
                    {"completed": index < done, "description": text, "id": identity, "subtask": name}
                    for index, (name, identity, text) in enumerate(subtasks)
                ],
                "task": task,
                "type": "ProgressSteps",
            }
        )

    def _write(self, event: dict[str, Any]) -> None:
        events = [event] if self.begun else [{"type": "Start", "version": "0.1.0"}, event]
        self.begun = True
        lines = "".join(json.dumps(one, sort_keys=True, separators=(",", ":")) + "\n" for one in events)
        try:
            os.write(self.descriptor, lines.encode())
        except BrokenPipeError:
            sys.stderr.write("Failed to write to jsonl: Broken pipe (os error 32)\n")


class NotAPipe(Exception):
    """The descriptor is something else, or is not open."""


def asked_for(argv: list[str]) -> Progress | None:
    """What `--progress-fd N` asks for, if it is there. Raises NotAPipe; exits 2 for a standard stream."""
    for index, word in enumerate(argv):
        name, separator, value = word.partition("=")
        if name == OPTION:
            text = value if separator else "".join(argv[index + 1 : index + 2])
            if not text.isdigit():
                return None  # the command line's own parser has words for that
            if int(text) < STANDARD_STREAMS:
                command_line.fail(
                    f"invalid value '{text}' for '{OPTION} <PROGRESS_FD>': Cannot use fd {text} for progress JSON", None
                )
            return _on(int(text))
    return None


def _on(descriptor: int) -> Progress:
    try:
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            raise NotAPipe
    except OSError as error:
        raise NotAPipe from error
    return Progress(descriptor)


def _bytes(done: int, cached: int, total: int) -> dict[str, int]:
    return {"bytes": done, "bytesCached": cached, "bytesTotal": total}


def _steps(done: int, cached: int, total: int) -> dict[str, int]:
    return {"steps": done, "stepsCached": cached, "stepsTotal": total}
