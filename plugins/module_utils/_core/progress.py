# SPDX-License-Identifier: GPL-3.0-or-later
"""What bootc tells about its progress (`--progress-fd`, JSON lines, protocol 0.1.0), as a short sentence for a person.

Progress is read while it is written: the last line may be cut off, and nothing about it is worth a failure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

PROGRESS_FD = "3"
"""bootc takes a pipe only, and no descriptor below 3 (recorded, bootc 1.16.9)."""

_WITH_PROGRESS = frozenset({"switch", "upgrade", "update"})
_TASKS = {"importing": "imports the image", "staging": "deploys the image"}
_SUBTASKS = {
    "merging": "merges the image",
    "deploying": "deploys the image",
    "bound_images": "pulls the bound images",
    "cleanup": "cleans up",
}
_STEP = 1000
_UNITS = ("B", "kB", "MB", "GB", "TB")


def tells_progress(argv: Sequence[str]) -> bool:
    """Whether bootc has a progress for this command, given a version that has it at all (since 1.1.4)."""
    return len(argv) > 1 and argv[0] == "bootc" and argv[1] in _WITH_PROGRESS


def progress_sentence(text: str) -> str | None:
    """The state that the last usable line of `text` tells, such as "pulled 120 of 412 MB (29 %)"; None if none does."""
    for line in reversed(text.splitlines()):
        event = _event(line)
        sentence = None if event is None else _sentence(event)
        if sentence:
            return sentence
    return None


def _event(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _sentence(event: dict[str, Any]) -> str | None:
    kind = event.get("type")
    if kind == "ProgressBytes":
        return _pulled(event)
    if kind == "ProgressSteps":
        return _working(event)
    return None


def _pulled(event: dict[str, Any]) -> str | None:
    """Bytes of this pull; the totals leave out what the node has already, and `bytes` can exceed them (recorded)."""
    done, total = _number(event.get("bytes")), _number(event.get("bytesTotal"))
    if done is None:
        return None
    if not total:
        return f"pulled {_amount(done, _unit_of(done))} {_UNITS[_unit_of(done)]}"
    done = min(done, total)
    unit = _unit_of(total)
    return f"pulled {_amount(done, unit)} of {_amount(total, unit)} {_UNITS[unit]} ({100 * done // total} %)"


def _working(event: dict[str, Any]) -> str | None:
    subtasks = event.get("subtasks")
    for subtask in reversed(subtasks if isinstance(subtasks, list) else []):
        if isinstance(subtask, dict) and subtask.get("completed") is False:
            known = _SUBTASKS.get(str(subtask.get("subtask")))
            if known:
                return known
    return _TASKS.get(str(event.get("task")))


def _number(value: object) -> int | None:
    """A count of bytes, or None for anything else (JSON also has booleans, fractions, and numbers without end)."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _unit_of(size: int) -> int:
    unit = 0
    while size >= _STEP and unit < len(_UNITS) - 1:
        size //= _STEP
        unit += 1
    return unit


def _amount(size: int, unit: int) -> str:
    whole = size // _STEP**unit
    tenths = size * 10 // _STEP**unit % 10
    return str(whole) if unit == 0 or whole >= 10 or not tenths else f"{whole}.{tenths}"
