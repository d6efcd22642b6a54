# SPDX-License-Identifier: GPL-3.0-or-later
"""What updates a host on its own, and so may replace what was staged from outside, or reboot at any time."""

from __future__ import annotations

UNITS = ("zincati.service", "bootc-fetch-apply-updates.timer", "rpm-ostreed-automatic.timer")
"""Fedora CoreOS' update driver, bootc's timer and rpm-ostree's. What of them a host does not have counts as inactive."""

QUESTION = ("systemctl", "is-active", *UNITS)
"""Prints one word for each of UNITS."""


def active_updaters(answer: str) -> tuple[str, ...]:
    """The units that are active, from what QUESTION printed."""
    return tuple(unit for unit, word in zip(UNITS, answer.split()) if word == "active")


def warning(unit: str) -> str:
    """What an active unit means for whoever stages something."""
    return (
        f"{unit} is active on this node: it updates on its own, may replace what was staged here, and may reboot at any time. "
        f"Stop it for good (`systemctl disable --now {unit}`) on nodes that are updated from outside."
    )
