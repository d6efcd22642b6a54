# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of what the tools really do names tests that exist."""

from __future__ import annotations

import pytest
from rule_table import objections, rules

RULES = rules("tool-rules.md")


def test_the_list_is_there() -> None:
    assert len(RULES) > 250


@pytest.mark.parametrize("row", RULES, ids=lambda row: row[2:60])
def test_what_holds_a_rule_exists(row: str) -> None:
    assert objections(row) == []
