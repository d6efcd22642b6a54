# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations and lists of nodes as a person says them."""

from __future__ import annotations


def spoken(seconds: float) -> str:
    """`94 s` up to two minutes, then `9 min`, then `2 h 5 min`."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def precise(seconds: float) -> str:
    """As `spoken`, with the seconds up to two hours: `94 s`, `16 min 3 s`."""
    whole = max(0, round(seconds))
    if not 120 <= whole < 7200:
        return spoken(whole)
    return f"{whole // 60} min {whole % 60} s"


def names(nodes: tuple[str, ...], limit: int = 6) -> str:
    """Node names for a sentence; a long list is cut, saying how many more there are."""
    if len(nodes) <= limit:
        return ", ".join(nodes)
    return f"{', '.join(nodes[:limit])} and {len(nodes) - limit} more"
