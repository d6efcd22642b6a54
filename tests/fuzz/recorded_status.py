# SPDX-License-Identifier: GPL-3.0-or-later
"""The recorded status documents of both tools: where all mutations begin."""

from __future__ import annotations

import functools
import json
from pathlib import Path

from fuzz.choices import Choices

RECORDINGS = Path(__file__).resolve().parent.parent / "recordings"
_NAMES = {"bootc": "bootc-status-json", "rpm-ostree": "rpm-ostree-status-json"}


@functools.cache
def texts(tool: str) -> tuple[str, ...]:
    """What `bootc` or `rpm-ostree` printed as status, in every recorded situation."""
    situations = json.loads((RECORDINGS / "status" / "status.json").read_text())
    found = {situation[tool] for situation in situations.values()}
    for path in sorted(RECORDINGS.glob("*.json")):
        for row in json.loads(path.read_text()):
            if row["name"].startswith(_NAMES[tool]) and row["rc"] == 0:
                found.add(row["stdout"])
    return tuple(sorted(text for text in found if text.strip().startswith("{")))


def any_text(tool: str, choices: Choices) -> str:
    """One of them."""
    return choices.of(texts(tool))
