# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened on one node, in order: one JSON object per line, appended by whoever saw it."""

from __future__ import annotations

import json
import os
import time

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from typing import Any


class Journal:
    """``journal.jsonl`` of a node. Every entry has ``t`` (seconds since 1970) and ``event``.

    Events: ``connect`` and ``exec`` (the lab's connection), ``session`` (a command through a real sshd), ``tool``
    (``tool``, ``argv``, ``rc``, ``seconds``), ``pull`` (``image``, ``digest``, ``bytes`` and ``layers`` downloaded,
    ``metadata_bytes``), ``shutdown`` (``kind``, ``finalized``: checksum or null, ``lost``: why a staged deployment was
    lost), ``boot`` (``boot_id``, ``deployment``, ``digest``), ``soft-boot`` (``deployment``, null for the old root
    again), ``fault`` (``fault``, ``action``: inject, clear or fire).
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def append(self, event: str, **fields: Any) -> None:
        """Add one entry. Safe against concurrent writers: the line is one write to a file opened for appending."""
        entry = {"t": round(fields.pop("t", time.time()), 4), "event": event, **fields}
        line = json.dumps(entry, ensure_ascii=False) + "\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)

    def read(self, event: str | None = None) -> list[dict[str, Any]]:
        """All entries, oldest first; only those of one kind if ``event`` is given."""
        try:
            with open(self.path, encoding="utf-8") as lines:
                entries = [json.loads(line) for line in lines if line.endswith("\n")]
        except FileNotFoundError:
            return []
        return [entry for entry in entries if event is None or entry["event"] == event]
