# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order nodes go that are in service: zone by zone, and in a zone the oldest first or as in the inventory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum


class Order(str, Enum):
    """Who goes first within a zone."""

    INVENTORY = "inventory"
    OLDEST = "oldest"


def ordered(
    nodes: Sequence[str],
    order: Order,
    zones: Mapping[str, str],
    ages: Mapping[str, float],
    begun_zones: Iterable[str] = (),
) -> tuple[str, ...]:
    """`nodes` (in the order of the inventory) in the order in which they go.

    `ages`: since when a node is what it is, in seconds since 1970; nodes without one come last. A zone of `begun_zones`, which
    has nodes out of service, comes before others; those follow by their first node. Nodes without a zone are a zone, too.
    """
    place = {name: number for number, name in enumerate(nodes)}

    def rank(name: str) -> tuple[float, int]:
        return (ages.get(name, math.inf) if order is Order.OLDEST else 0.0, place[name])

    first: dict[str, tuple[float, int]] = {}
    for name in nodes:
        zone = zones.get(name, "")
        first[zone] = min(first.get(zone, (math.inf, len(nodes))), rank(name))
    begun = set(begun_zones)

    def key(name: str) -> tuple[bool, tuple[float, int], tuple[float, int]]:
        zone = zones.get(name, "")
        return (zone not in begun, first[zone], rank(name))

    return tuple(sorted(nodes, key=key))
