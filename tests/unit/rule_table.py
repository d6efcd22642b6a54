# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of rules in Markdown, each row with the tests that hold it: a rule whose test was renamed away is held by nothing."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
FOLDERS = {"u": "unit", "c": "conformance", "s": "scenarios", "f": "fuzz"}
NAMED = re.compile(r"\b([ucsf])/((?:\w+/)*test_\w+\.py)(?:::(\w+)(?:::(\w+))?)?")
COLUMNS = 3


def rules(file: str, heading: str = "| rule |") -> list[str]:
    """The rows of the tables of a file below ``tests/``, without those that begin with ``heading``."""
    rows = [line for line in (TESTS / file).read_text().splitlines() if line.startswith("| ")]
    return [row for row in rows if not row.startswith(heading)]


def objections(row: str) -> list[str]:
    """What is wrong with a row: no test and no reason why there is none, a test that does not exist, another width."""
    cells = [cell.strip() for cell in row.strip().strip("|").split(" | ")]
    found = [] if len(cells) == COLUMNS and all(cells) else [f"{len(cells)} columns, wanted {COLUMNS}"]
    named = NAMED.findall(row)
    if not named and "n/a" not in row:
        found.append("no test is named")
    return found + [problem for folder, path, *names in named for problem in _missing(FOLDERS[folder], path, names)]


def _missing(folder: str, path: str, names: list[str]) -> list[str]:
    file = TESTS / folder / path
    if not file.exists():
        return [f"there is no {folder}/{path}"]
    text = file.read_text()
    wanted = filter(None, names)
    return [
        f"{path} has no {name}" for name in wanted if not re.search(rf"^\s*(?:def|class) {name}\b", text, re.MULTILINE)
    ]
