# SPDX-License-Identifier: GPL-3.0-or-later
"""Where on a rollout's time axis things lie. Positions are percent of the axis. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_record import NodeRecord, RolloutRecord

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_APART = (
    *(1, 2, 5, 10, 15, 30),
    *(count * _MINUTE for count in (1, 2, 5, 10, 15, 30)),
    *(count * _HOUR for count in (1, 2, 3, 6, 12)),
    *(count * _DAY for count in (1, 2, 7, 14, 28, 91, 364)),
)
_MOST_TICKS = 8


@dataclass(frozen=True)
class Axis:
    """From `start` to `end`, in seconds since 1970."""

    start: float
    end: float

    @classmethod
    def of(cls, record: RolloutRecord) -> Axis:
        """The whole run; never of no length."""
        return cls(record.started_at, max(record.ended_at, record.started_at + 1.0))

    def position(self, at: float) -> float:
        """Percent, never outside of the axis."""
        return min(100.0, max(0.0, 100.0 * (at - self.start) / (self.end - self.start)))

    def span(self, since: float, until: float) -> tuple[float, float]:
        """Position and width of what lies between two moments."""
        left, right = self.position(since), self.position(until)
        return left, max(0.0, right - left)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """At round times of the day (UTC), as few as can be read beside each other."""
        apart = next((one for one in _APART if (self.end - self.start) / one <= _MOST_TICKS), _APART[-1])
        first = math.ceil(self.start / apart) * apart
        count = math.floor((self.end - first) / apart) + 1
        form = "%d %b" if apart >= _DAY else "%H:%M" if apart >= _MINUTE else "%H:%M:%S"
        times = (first + number * apart for number in range(count))
        return tuple((self.position(at), moment(at, form)) for at in times)


def moment(at: float, form: str) -> str:
    """A time in UTC."""
    return datetime.fromtimestamp(at, timezone.utc).strftime(form)


def absences(nodes: Sequence[NodeRecord], until: float) -> list[tuple[float, float]]:
    """From when to when nodes were out of service; who is not back is out until `until`."""
    return [
        (node.out_since, until if node.back_at is None else node.back_at)
        for node in nodes
        if node.out_since is not None
    ]


def absence_curve(nodes: Sequence[NodeRecord], axis: Axis) -> tuple[tuple[float, int], ...]:
    """How many nodes were out of service from each position on, until the next."""
    steps: dict[float, int] = {}
    for since, until in absences(nodes, axis.end):
        left, right = axis.position(since), axis.position(until)
        steps[left] = steps.get(left, 0) + 1
        if until < axis.end:
            steps[right] = steps.get(right, 0) - 1
    curve, away = [(0.0, 0)], 0
    for position in sorted(steps):
        away += steps[position]
        curve.append((position, away))
    return tuple(curve)
