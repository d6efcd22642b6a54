# SPDX-License-Identifier: GPL-3.0-or-later
"""How much the programs that this process started have sent. An engine that pushes does not say, but the kernel does."""

from __future__ import annotations

import os
from pathlib import Path


def bytes_sent_by_children(proc: Path = Path("/proc"), parent: int | None = None) -> int:
    """What all living descendants of `parent` (this process) have written, but not to a disk. 0 where nothing tells.

    During a push that is what goes over the wire: an engine writes each layer to a temporary file first. Where that file
    lies in memory (tmpfs), it counts too.
    """
    first = os.getpid() if parent is None else parent
    above: dict[int, int] = {}
    for entry in proc.glob("[0-9]*"):
        # The name in brackets may hold spaces and brackets itself: see proc(5).
        fields = _text(entry / "stat").rpartition(")")[2].split()
        if len(fields) > 1:
            above[int(entry.name)] = int(fields[1])
    family = {first}
    while True:
        children = {process for process, its_parent in above.items() if its_parent in family} - family
        if not children:
            break
        family |= children
    return sum(_sent(_text(proc / str(process) / "io")) for process in family - {first})


def _sent(text: str) -> int:
    """From /proc/PID/io: all that was written, less what went towards a disk."""
    pairs = (line.partition(":") for line in text.splitlines())
    counts = {name: int(value) for name, _colon, value in pairs if value.strip().isdigit()}
    return max(0, counts.get("wchar", 0) - counts.get("write_bytes", 0))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
