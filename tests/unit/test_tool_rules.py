# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of what the tools really do names tests that exist: a rule whose test was renamed away is held by nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
FOLDERS = {"u": "unit", "c": "conformance", "s": "scenarios"}
NAMED = re.compile(r"\b([ucs])/((?:\w+/)*test_\w+\.py)(?:::(\w+)(?:::(\w+))?)?")
ROWS = [line for line in (TESTS / "tool-rules.md").read_text().splitlines() if line.startswith("| ")]
RULES = [row for row in ROWS if not row.startswith("| rule |")]


def test_the_list_is_there() -> None:
    assert len(RULES) > 250


@pytest.mark.parametrize("row", RULES, ids=lambda row: row[2:60])
def test_what_holds_a_rule_exists(row: str) -> None:
    named = NAMED.findall(row)
    assert named or "n/a" in row, "no test is named"
    for folder, path, *names in named:
        file = TESTS / FOLDERS[folder] / path
        assert file.exists(), path
        text = file.read_text()
        for name in filter(None, names):
            assert re.search(rf"^\s*(?:def|class) {name}\b", text, re.MULTILINE), f"{path} has no {name}"
