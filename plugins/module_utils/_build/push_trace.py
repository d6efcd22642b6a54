# SPDX-License-Identifier: GPL-3.0-or-later
"""What a push says about itself, read from its debug output."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field

TAIL_LINES = 100
_SKIPPED_BLOB = re.compile(r"Skipping blob (sha256:[0-9a-f]{64})")
_DEBUG_LINE = re.compile(r'(?:time="[^"]*" )?level=(?:info|debug|trace)')


@dataclass
class PushTrace:
    """`skipped` are the layers (diff ids) that the registry had already, `tail` the last lines meant for people."""

    skipped: set[str] = field(default_factory=set)
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))

    def read(self, line: str) -> bool:
        """Take note of one line, and say whether it belongs into the log."""
        found = _SKIPPED_BLOB.search(line)
        if found:
            self.skipped.add(found.group(1))
        if _DEBUG_LINE.match(line):
            return False
        self.tail.append(line)
        return True

    @property
    def errors(self) -> str:
        """The lines that tell why it failed: those of the engine if it gave any, else the last ones."""
        told = [line for line in self.tail if line.startswith("Error")]
        return "\n".join(told or self.tail)
