# SPDX-License-Identifier: GPL-3.0-or-later
"""One case of the campaign: what strikes, and when."""

from __future__ import annotations

import dataclasses
from enum import Enum


class Strike(str, Enum):
    """What happens at the moment."""

    GROUP = "group"  # the process group of ansible-playbook is killed; its workers have sessions of their own and go on
    EVERYTHING = "everything"  # all processes of the controller are killed at once, as when its container goes away
    POWER = "power"  # the node loses its power, and boots again; the controller goes on


@dataclasses.dataclass(frozen=True, order=True)
class Boundary:
    """A task begins or ends on a node; ``number``: for which time in a run."""

    play: str
    task: str
    node: str
    edge: str
    number: int = 1

    def __str__(self) -> str:
        again = f" ({self.number})" if self.number > 1 else ""
        return f"{self.node}: {self.edge} of {self.task.rpartition(' : ')[2]!r}{again}"


@dataclasses.dataclass(frozen=True, order=True)
class NodeStep:
    """A node has written so many entries into its journal: a command ran on it, a pull, a shutdown, a boot."""

    node: str
    entries: int

    def __str__(self) -> str:
        return f"{self.node}: after {self.entries} entries of its journal"


@dataclasses.dataclass(frozen=True)
class Case:
    """``course``: the name of the rollout that is struck."""

    course: str
    strike: Strike
    moment: Boundary | NodeStep

    def __str__(self) -> str:
        return f"{self.course}, {self.strike.value}, {self.moment}"
