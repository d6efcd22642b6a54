# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tools themselves say of a host: one harmless command, and the answers without what changes by itself."""

from __future__ import annotations

import json
from typing import Any

QUESTIONS = (
    "cat /proc/sys/kernel/random/boot_id",
    "cat /proc/cmdline",
    "bootc status --json",
    "rpm-ostree status --json",
)
_BORDER = "---imagemode-test-hosts---"
COMMAND = f"; echo {_BORDER}; ".join(QUESTIONS) + "; true"

# What a tool learns or does by itself, between two looks at the same host.
_PASSING = {"cachedUpdate", "cached-update", "transaction", "update-driver"}


def answers(output: str) -> list[Any]:
    """One answer for each of QUESTIONS: JSON where it is JSON, else text."""
    parts = [_stable(part) for part in output.replace("\r\n", "\n").split(_BORDER)]
    return [*parts, *[""] * (len(QUESTIONS) - len(parts))][: len(QUESTIONS)]


def _stable(text: str) -> Any:
    start = text.find("{")
    try:
        return _without_passing(json.JSONDecoder().raw_decode(text, start)[0]) if start >= 0 else text.strip()
    except ValueError:
        return text.strip()


def _without_passing(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_passing(item) for key, item in value.items() if key not in _PASSING}
    return [_without_passing(item) for item in value] if isinstance(value, list) else value
