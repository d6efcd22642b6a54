# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Trying again while an API server is away or overloaded, and saying so. Private to this collection."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_answer import pause
from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster import (
    ClusterConflict,
    ClusterError,
    ClusterRefused,
    ClusterUnreachable,
)

_Result = TypeVar("_Result")
SPEAK_EVERY = 30.0
_AFTER_CONFLICT = 0.02
# An API server that just started forbids what it allows once it has read its rules.
FORBIDDEN_AT_MOST = 10.0


class Voice:
    """Says a line when what it is about changed, and every half a minute. `say` shows a line at once."""

    def __init__(self, say: Callable[[str], None], prefix: str) -> None:
        self._say = say
        self._prefix = prefix
        self._key: object = None
        self._at = float("-inf")

    def tell(self, key: object, line: Callable[[], str]) -> None:
        """Say it unless a line of the same `key` was said a short while ago."""
        now = time.monotonic()
        if key == self._key and now - self._at < SPEAK_EVERY:
            return
        self._key, self._at = key, now
        self._say(self._prefix + line())


class Patience:
    """Until when one goes on trying (`end`, by the monotonic clock), how one says so, and what to ask before each pause:
    `interrupt` ends a worker that nobody waits for any more."""

    def __init__(self, end: float, voice: Voice, interrupt: Callable[[], None] = lambda: None) -> None:
        self.end = end
        self.voice = voice
        self.interrupt = interrupt

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self.end

    def until(self, seconds: float) -> Patience:
        """The same with less time: so many seconds from now, at most."""
        return Patience(min(self.end, time.monotonic() + seconds), self.voice, self.interrupt)

    def sleep(self, seconds: float) -> None:
        """Wait, but not beyond the end."""
        self.interrupt()
        time.sleep(max(0.0, min(seconds, self.end - time.monotonic())))

    def calling(self, call: Callable[[], _Result], renewed: bool = False) -> _Result:
        """What `call` returns, tried again while the server is away, and after somebody changed the object in between.

        `renewed`: also while it does not accept the credentials, because they were good before and may be renewed, and for
        a moment while it forbids what it allowed before. Raises the last ClusterError when the time is up, and any other at
        once.
        """
        tries = 0
        began = time.monotonic()
        while True:
            try:
                return call()
            except ClusterError as error:
                passing = isinstance(error, (ClusterUnreachable, ClusterConflict))
                if isinstance(error, ClusterRefused) and renewed:
                    passing = error.status == 401 or time.monotonic() - began < FORBIDDEN_AT_MOST
                if not passing or self.is_over:
                    raise
                if isinstance(error, ClusterConflict):
                    # Kubelet and controllers write to a node every few seconds: the next moment is as good as any later one.
                    self.sleep(_AFTER_CONFLICT)
                    continue
                told = str(error)
                tries += 1
                self.voice.tell(told, lambda told=told: f"{told} Trying again.")  # type: ignore[misc]
                self.sleep(pause(tries, None, random.random()))  # noqa: S311 # spreads load, hides nothing
