# SPDX-License-Identifier: GPL-3.0-or-later
"""The line in which the waiting workers of one play stand, in the play's order. Its head may go first, and speaks."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Callable

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_holder import Holder

_SPEAK_EVERY = 30.0
# Who waits for a time that lies hours ahead has nothing new to say every half a minute.
_SPEAK_RARELY = 600.0
_SPEAK_APART = 1.0
# Bytes of the lock file that belong to one controller: more than a play has hosts.
_PLACES = 1 << 20
# How many controllers have bytes of their own. Both together must stay below the largest offset, 2^63.
_CONTROLLERS = 1 << 40


class WaitingLine:
    """`descriptor` is that of a file for this alone; it is closed with the line.

    Each waiting worker locks one byte of the file, which stays empty: a hash of its controller's identity times `_PLACES`,
    plus its position in the play. Nobody before it has locked a byte: it is the head. The kernel frees the byte of a
    worker that ends, however it ends.

    The line is about order alone, never about the window: two controllers that ever had one hash would only wait for each
    other's turn."""

    def __init__(self, descriptor: int, controller: Holder, position: int) -> None:
        # The process number alone is the same in many containers, and they may share the file.
        digest = hashlib.sha256(controller.identity.encode()).digest()
        self._start = int.from_bytes(digest, "big") % _CONTROLLERS * _PLACES
        self._position = position
        self._descriptor = descriptor
        self.join()

    def join(self) -> None:
        """Stand in the line; nothing happens if this worker stands there already, or another one in its place."""
        with contextlib.suppress(BlockingIOError, PermissionError):
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._start + self._position)

    def step_aside(self) -> None:
        """Let those behind go first: this worker waits for something that they do not need."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, self._start + self._position)

    @property
    def is_head(self) -> bool:
        """Whether no worker of this play waits before this one."""
        if self._position == 0:
            return True
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, self._position, self._start)
        except OSError:
            return False
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, self._position, self._start)
        return True

    def close(self) -> None:
        """Leave the line for good."""
        os.close(self._descriptor)


class Announcer:
    """Says a line when something changed, and every half a minute, or every ten minutes of a long wait for a time."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._last_key: object = None
        self._last_time = 0.0

    def tell(self, key: object, line: Callable[[], str], until: float | None = None) -> None:
        """Say `line` if `key` is not that of the last one said, or that is long ago. `until`: seconds since 1970."""
        passed = time.monotonic() - self._last_time
        every = _SPEAK_RARELY if until is not None and until - time.time() > 2 * _SPEAK_RARELY else _SPEAK_EVERY
        if passed < _SPEAK_APART or (key == self._last_key and passed < every):
            return
        self._last_key = key
        self._last_time = time.monotonic()
        self._say(line())
