# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node says about its boot: garbled answers count as unknown, and nobody who inhibits is overlooked."""

from __future__ import annotations

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.boot_facts import (
    NO_FACTS,
    BootFacts,
    Inhibitor,
    parse_boot_facts,
)
from hypothesis import given
from hypothesis import strategies as st

FACTS = {
    "": NO_FACTS,
    "soft_reboots=\n": NO_FACTS,
    "soft_reboots=0\n": BootFacts(soft_reboots=0),
    "soft_reboots=2\nprepared=yes\ncomposefs=yes\n": BootFacts(2, prepared=True, composefs=True),
    "soft_reboots=-1\nprepared=maybe\n": NO_FACTS,
    "soft_reboots=²\n": NO_FACTS,
    "Welcome!\nsoft_reboots=1\n": BootFacts(soft_reboots=1),
}

ROWS: dict[str, Inhibitor | None] = {
    "backup 0 root 812 backup shutdown Backup is running block": Inhibitor("backup", "Backup is running", 812),
    "Unattended Upgrades  0 root 9 python3 shutdown:sleep Upgrade  block": Inhibitor(
        "Unattended Upgrades", "Upgrade", 9
    ),
    "tool 0 root 7 tool sleep:shutdown  block": Inhibitor("tool", "", 7),
    "NetworkManager 0 root 700 NetworkManager sleep Needs time to shutdown networks delay": None,
    "desktop 1000 me 5 desktop shutdown Save your work block-weak": None,
    "lid 0 root 6 lid sleep Busy block": None,
    "shutdown in a form of the future block": Inhibitor("shutdown in a form of the future block", "", None),
    "No inhibitors.": None,
}


@pytest.mark.parametrize("text", FACTS)
def test_facts(text: str) -> None:
    assert parse_boot_facts(text) == FACTS[text]


@pytest.mark.parametrize("row", ROWS)
def test_inhibitors(row: str) -> None:
    expected = ROWS[row]
    assert parse_boot_facts(f"inhibitor={row}\n").inhibitors == (() if expected is None else (expected,))


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    facts = parse_boot_facts(text)
    assert facts.soft_reboots is None or facts.soft_reboots >= 0
    parse_boot_facts(f"inhibitor={text}")
