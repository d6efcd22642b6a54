# SPDX-License-Identifier: GPL-3.0-or-later
"""What one task cost on one node: the controller's clock beside the node's journal."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from lab.node import Node
from lab.playbook_run import PlaybookRun

IMAGE_TOOLS = ("bootc", "rpm-ostree", "ostree")
_TRIPS = ("exec", "session")


class BenchFailure(Exception):
    """A run that should have worked did not. The text carries its output."""


@dataclasses.dataclass(frozen=True)
class TaskCost:
    """One task on one node. ``runs`` are the runs of the image tools as command lines; ``other_runs`` those of systemd's."""

    seconds: float
    round_trips: int
    runs: tuple[str, ...]
    other_runs: int
    changed: bool

    def described(self) -> str:
        """The image tools' runs, such as ``2 bootc status, rpm-ostree kargs``."""
        counted = collections.Counter(" ".join(run.split()[:2]) for run in self.runs)
        return ", ".join(f"{number} {run}" if number > 1 else run for run, number in counted.items()) or "none"


def checked(run: PlaybookRun) -> PlaybookRun:
    """The run, if all of it went well. Raises BenchFailure."""
    if run.rc != 0:
        raise BenchFailure(f"a run ended with status {run.rc}:\n{run.stdout}")
    return run


def task_costs(run: PlaybookRun, node: Node) -> dict[str, list[TaskCost]]:
    """By the name of the task, in order: what the journal of ``node`` has from the beginning of the task to its end."""
    entries = [entry for entry in node.journal.read() if entry["event"] in (*_TRIPS, "tool")]
    found: dict[str, list[TaskCost]] = {}
    for event in run.events:
        data = event.get("event_data", {})
        if event["event"] != "runner_on_ok" or data.get("host") != node.name:
            continue
        start, end = _moment(data["start"]), _moment(data["end"])
        inside = [entry for entry in entries if start <= entry["t"] <= end]
        found.setdefault(data["task"], []).append(_cost(data, inside))
    return found


def median(costs: Sequence[TaskCost]) -> float:
    """Seconds."""
    return statistics.median(cost.seconds for cost in costs)


def typical(costs: Sequence[TaskCost]) -> TaskCost:
    """The cost that stands for all: the one whose duration is in the middle."""
    return sorted(costs, key=lambda cost: cost.seconds)[len(costs) // 2]


def _cost(data: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> TaskCost:
    tools = [entry for entry in entries if entry["event"] == "tool"]
    return TaskCost(
        seconds=data["duration"],
        round_trips=sum(entry["event"] in _TRIPS for entry in entries),
        runs=tuple(" ".join([entry["tool"], *entry["argv"]]) for entry in tools if entry["tool"] in IMAGE_TOOLS),
        other_runs=sum(entry["tool"] not in IMAGE_TOOLS for entry in tools),
        changed=bool(data["res"].get("changed")),
    )


def _moment(text: str) -> float:
    """Seconds since 1970 of a time in ansible-runner's events, which are in UTC."""
    moment = datetime.datetime.fromisoformat(text)
    return moment.replace(tzinfo=moment.tzinfo or datetime.timezone.utc).timestamp()
