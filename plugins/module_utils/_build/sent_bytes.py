# SPDX-License-Identifier: GPL-3.0-or-later
"""How much the programs that this process started have written, to sockets too. An engine that pushes does not say."""

from __future__ import annotations

import os
from pathlib import Path


def bytes_written_by_children(proc: Path = Path("/proc"), parent: int | None = None) -> int:
    """What all living descendants of `parent` (this process) have written. 0 where the system does not tell.

    During a push that is the layers as they go over the wire, and a few kilobytes of debug output.
    """
    parents: dict[int, int] = {}
    for entry in proc.glob("[0-9]*"):
        # The name in brackets may hold spaces and brackets itself: see proc(5).
        fields = _text(entry / "stat").rpartition(")")[2].split()
        if len(fields) > 1:
            parents[int(entry.name)] = int(fields[1])
    family = {os.getpid() if parent is None else parent}
    while True:
        children = {process for process, above in parents.items() if above in family} - family
        if not children:
            break
        family |= children
    family.discard(os.getpid() if parent is None else parent)
    return sum(_written(_text(proc / str(process) / "io")) for process in family)


def _written(text: str) -> int:
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if name == "wchar" and colon and value.strip().isdigit():
            return int(value)
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
