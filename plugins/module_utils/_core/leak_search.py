# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds secrets in a stream of bytes, as they are and in the ways in which programs write them down."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from ansible_collections.imagemode.nodes.plugins.module_utils._core.secret_forms import forms, tell_tale_parts

SHORTEST = 6  # bytes; what is shorter occurs by chance
FEWEST_DIFFERENT = 4  # different bytes, for the same reason
HIDDEN = "***"


class LeakPlace(str, Enum):
    """Where in a layer or in the image's configuration a secret is."""

    CONTENT = "content"
    COMPRESSED = "compressed content"
    ENTRY = "name, link target or attributes"
    CONFIGURATION = "configuration"


@dataclass(frozen=True)
class Leak:
    """A secret that was found; never holds the secret itself, also where it stands in a path or an instruction.

    `secret` is its id; `layer` counts the image's layers from 0, None for the configuration; `path` is that in the layer,
    or the field of the configuration; `instruction` is what the history says of the layer, None where it says nothing.
    `form` is how it was written, such as `plain` or `base64`.
    """

    secret: str
    layer: int | None
    path: str
    place: LeakPlace
    form: str
    instruction: str | None = None

    def __str__(self) -> str:
        made = f", made by `{self.instruction}`" if self.instruction else ""
        if self.layer is None:
            return f"{self.secret} ({self.form}) in the image's configuration, field {self.path}{made}"
        return f"{self.secret} ({self.form}) in the {self.place.value} of {self.path} in layer {self.layer}{made}"


@dataclass(frozen=True)
class Unsearchable:
    """A secret that was not searched for, and why."""

    secret: str
    reason: str


@dataclass(frozen=True)
class LeakReport:
    """All that a search found. `searched` is in bytes, compressed content counted as what it decompresses to."""

    leaks: tuple[Leak, ...] = ()
    unsearchable: tuple[Unsearchable, ...] = ()
    searched: int = 0


@dataclass(frozen=True)
class Pattern:
    """Bytes to look for, of which secret they are, and in which form."""

    data: bytes
    secret: str
    form: str


@dataclass(frozen=True)
class Hit:
    """A pattern that was found; `offset` counts bytes from the beginning of the stream."""

    offset: int
    pattern: Pattern


@dataclass(frozen=True)
class _Sieve:
    """Says of a window whether one of many patterns may be in it, in one pass for all of them.

    Every `stride`-th word of eight bytes is looked at. A pattern of at least `8 * stride + 7` bytes has such a word in it
    wherever it lies, and that is one of its first `8 * stride` windows.
    """

    patterns: tuple[Pattern, ...]
    stride: int

    @cached_property
    def _words(self) -> frozenset[int]:
        return frozenset(
            memoryview(pattern.data[start : start + 8]).cast("Q")[0]
            for pattern in self.patterns
            for start in range(8 * self.stride)
        )

    def may_hold(self, window: bytes) -> bool:
        """Whether it pays to look for each of the patterns."""
        words = memoryview(window)[: len(window) // 8 * 8].cast("Q")
        return not self._words.isdisjoint(words[:: self.stride])


# Stride, and the number of patterns from which on the pass costs less than a `find` for each (measured with Python 3.11).
_SIEVES = ((6, 6), (2, 20))


def _sieves(patterns: tuple[Pattern, ...]) -> tuple[tuple[Pattern, ...], tuple[_Sieve, ...]]:
    """The patterns for which a `find` each is best, and the sieves for the others."""
    sieves = []
    for stride, fewest in _SIEVES:
        fitting = tuple(pattern for pattern in patterns if len(pattern.data) >= 8 * stride + 7)
        if len(fitting) >= fewest:
            sieves.append(_Sieve(fitting, stride))
            patterns = tuple(pattern for pattern in patterns if len(pattern.data) < 8 * stride + 7)
    return patterns, tuple(sieves)


@dataclass(frozen=True)
class SecretPatterns:
    """What to look for, and which secrets cannot be looked for."""

    patterns: tuple[Pattern, ...]
    unsearchable: tuple[Unsearchable, ...]

    @classmethod
    def of(cls, secrets: Mapping[str, bytes]) -> SecretPatterns:
        """The patterns for secrets by id."""
        found: dict[bytes, Pattern] = {}
        unsearchable = []
        for name, value in sorted(secrets.items()):
            bare = value.strip(b"\r\n")
            if len(bare) < SHORTEST:
                unsearchable.append(Unsearchable(name, f"it is shorter than {SHORTEST} bytes, which occur by chance"))
            elif len(set(bare)) < FEWEST_DIFFERENT:
                unsearchable.append(Unsearchable(name, "it repeats so few characters that it would occur by chance"))
            else:
                for part in tell_tale_parts(bare):
                    for form, data in forms(part):
                        found.setdefault(data, Pattern(data, name, form))
        return cls(tuple(found.values()), tuple(unsearchable))

    @cached_property
    def longest(self) -> int:
        """The length of the longest pattern in bytes."""
        return max((len(pattern.data) for pattern in self.patterns), default=1)

    @cached_property
    def plan(self) -> tuple[tuple[Pattern, ...], tuple[_Sieve, ...]]:
        """How to look: for which patterns one by one, and for which many at once."""
        return _sieves(self.patterns)

    def hits(self, data: bytes) -> Iterator[Hit]:
        """All hits in bytes that are there as a whole."""
        yield from LeakScanner(self).feed(data)

    def hide(self, text: str) -> str:
        """The text without any secret in it, and without bytes that cannot be printed."""
        data = text.encode("utf-8", "surrogateescape")
        if self.patterns:
            longest_first = sorted((pattern.data for pattern in self.patterns), key=len, reverse=True)
            data = re.sub(b"|".join(re.escape(item) for item in longest_first), HIDDEN.encode(), data)
        return data.decode("utf-8", "backslashreplace")


@dataclass
class LeakScanner:
    """Looks through a stream that comes in chunks; a secret across the border of two is found once.

    One `find` for each pattern is many times as fast as one regular expression of alternatives: each skips ahead by about
    the length of its pattern.
    """

    patterns: SecretPatterns
    _tail: bytes = b""
    _offset: int = 0  # of the tail

    def feed(self, chunk: bytes) -> list[Hit]:
        """The hits that end in this chunk."""
        window = self._tail + chunk
        each, sieves = self.patterns.plan
        wanted = [*each, *(pattern for sieve in sieves if sieve.may_hold(window) for pattern in sieve.patterns)]
        found = []
        for pattern in wanted:
            size = len(pattern.data)
            at = window.find(pattern.data, max(0, len(self._tail) - size + 1))
            while at >= 0:
                found.append(Hit(self._offset + at, pattern))
                at = window.find(pattern.data, at + size)
        kept = min(len(window), self.patterns.longest - 1)
        self._offset += len(window) - kept
        self._tail = window[len(window) - kept :]
        return found
