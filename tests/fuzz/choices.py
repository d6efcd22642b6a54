# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions out of bytes: what lets one target serve atheris, which mutates bytes, and Hypothesis, which shrinks them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

# What breaks parsers, shells, terminals and comparisons.
HOSTILE = (
    *("", " ", "\n", "\r\n", "\t", "\x00", "\x1b[2J", "\x7f", "\ud800", "\u202e", "é", "日本", "\U0001f4a9", "\ufeff"),
    *(
        "'",
        '"',
        "\\",
        "`id`",
        "$(id)",
        "${PATH}",
        "$IFS",
        ";",
        "|",
        "&",
        ">",
        "<<EOF",
        "#",
        "!",
        "*",
        "?",
        "~",
        "=",
        "%s",
    ),
    *("-", "--", "-rf", "--apply", "--help", "../..", "/", "//", ":", "@", "@sha256:", "{", "}", "[", "]", ",", "null"),
    *("NaN", "1e999", "9" * 30, "\\u0000", "\\ud800", "x" * 300),
)


class Choices:
    """Reads one choice after the other. When the bytes are used up every further choice is 0, or empty."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, limit: int) -> int:
        """From 0 to limit - 1."""
        width = 1 if limit <= 256 else 2
        chunk = self._data[self._at : self._at + width]
        self._at += width
        return int.from_bytes(chunk, "little") % max(limit, 1)

    def of(self, values: Sequence[T]) -> T:
        """One of the values."""
        return values[self.number(len(values))]

    def chance(self, one_in: int) -> bool:
        """True once in so many."""
        return self.number(one_in) == 1

    def rest(self) -> bytes:
        """Whatever is left."""
        chunk, self._at = self._data[self._at :], len(self._data)
        return chunk

    def text(self) -> str:
        """A short text: hostile pieces, and letters as they come."""
        pieces = []
        for _turn in range(self.number(5)):
            if self.number(2):
                pieces.append(self.of(HOSTILE))
            else:
                length = self.number(12)
                pieces.append(self._data[self._at : self._at + length].decode("latin-1"))
                self._at += length
        return "".join(pieces)
