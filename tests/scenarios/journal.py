# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to a lab node's journal that more than one scenario asks."""

from __future__ import annotations

from lab.node import Node


def tools(node: Node) -> list[str]:
    """Every simulated tool that ran on the node, as one line each, in order."""
    return [" ".join([entry["tool"], *entry["argv"]]) for entry in node.journal.read() if entry["event"] == "tool"]


def count(node: Node, event: str) -> int:
    """How many entries of a kind the journal has: `exec` is one round trip, `boot` one boot, `pull` one download."""
    return sum(entry["event"] == event for entry in node.journal.read())
