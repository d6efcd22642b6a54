# SPDX-License-Identifier: GPL-3.0-or-later
"""How many nodes of a pool: those that may be out of service at once, and those that may fail."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBER = re.compile(r"([0-9]{1,9})(\s*%)?")


class WindowError(ValueError):
    """A limit that means nothing. The message says what was given and what is accepted."""


@dataclass(frozen=True)
class NodeLimit:
    """A number of nodes, or a percentage of the whole pool."""

    amount: int
    percent: bool = False

    @classmethod
    def parse(cls, given: object, option: str = "max_unavailable") -> NodeLimit:
        """`2`, `"2"` or `"10%"`. Zero, negatives, fractions, booleans and more than 100% are refused."""
        wanted = "a whole number of nodes from 1 up, or a percentage of the pool from 1% to 100%, for example 2 or 10%"
        match = None if isinstance(given, bool) else _NUMBER.fullmatch(str(given).strip())
        if match is None:
            raise WindowError(f"{option} is {given!r}. Give {wanted}.")
        amount, percent = int(match.group(1)), match.group(2) is not None
        if amount < 1:
            raise WindowError(f"{option} is {given!r}, so no node could ever be updated. Give {wanted}.")
        if percent and amount > 100:
            raise WindowError(f"{option} is {given!r}, which is more than the whole pool. Give {wanted}.")
        return cls(amount, percent)

    def of(self, pool_size: int) -> int:
        """The limit as a number of nodes: a percentage is rounded down, but never below one node."""
        if not self.percent:
            return self.amount
        return max(1, pool_size * self.amount // 100)

    def __str__(self) -> str:
        return f"{self.amount}%" if self.percent else str(self.amount)
