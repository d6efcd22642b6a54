# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Shows how far a build is while its module runs. Private to this collection.

The worker waits in its connection until the module ends, as for every module, so that a task that is ended takes its
build along. The watching is done by a child of the worker: it asks over connections of its own and shows what it hears.
It is no thread, because a thread that is ended with its worker while it shows a line keeps the lock of the queue to the
main process. It takes signals without a word and goes when its worker does.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_progress import ProgressNote
from ansible_collections.imagemode.nodes.plugins.plugin_utils._wall_clock import bounded

_ANSWER_SECONDS = 20
_LOOK_AROUND_SECONDS = 1.0
_UNCHANGED_SECONDS = 60.0
_GOODBYE_SECONDS = 2.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Look(t.NamedTuple):
    """What was found on the build host: its clock in seconds since 1970, and the note, if there is one."""

    now: float
    note: ProgressNote | None


@dataclass
class Told:
    """Decides what is worth a line: the log once, then what changed, and now and then that a step still runs."""

    say: t.Callable[[str], None]
    clock: t.Callable[[], float] = time.monotonic
    _log: str | None = field(default=None, init=False)
    _doing: str | None = field(default=None, init=False)
    _at: float = field(default=0.0, init=False)

    def tell(self, look: Look) -> None:
        """Say what is new."""
        note = look.note
        if note is None:
            return
        if note.log and note.log != self._log:
            self._log = note.log
            self.say(f"the whole output is on the build host, follow it with: tail -f {note.log}")
        sentence = note.sentence(look.now)
        quiet = self.clock() - self._at
        if sentence and (note.doing != self._doing or quiet >= _UNCHANGED_SECONDS):
            self._doing, self._at = note.doing, self.clock()
            self.say(sentence)


@contextlib.contextmanager
def watching(interval: float, look: t.Callable[[], Look], say: t.Callable[[str], None]) -> t.Iterator[None]:
    """Show progress every `interval` seconds while the body runs. Nothing of it fails the body, or delays its end much."""
    controller = os.getppid()
    try:
        over, handle = os.pipe()
    except OSError:  # a machine out of descriptors
        yield
        return

    def watch() -> None:
        os.close(handle)
        told = Told(say)
        while _waited(over, interval, controller):
            found = _answer(look)
            if found is not None and not _is_over(over, 0):
                told.tell(found)

    child = _forked(watch)
    os.close(over)
    try:
        yield
    finally:
        os.close(handle)
        _reap(child)


def _forked(body: t.Callable[[], None]) -> int | None:
    """The process number of a child that runs `body`; None if there cannot be one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        child = os.fork()
        if child != 0:
            return child
        try:
            for number in _SIGNALS:  # not SIG_IGN, which the ssh of a question would inherit
                signal.signal(number, lambda _number, _frame: None)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.setsid()
            body()
            os.killpg(0, signal.SIGTERM)  # a question that still hangs
        finally:
            os._exit(0)
    except OSError:
        return None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _waited(over: int, seconds: float, controller: int) -> bool:
    """Wait; false if the module ended. A worker whose controller was killed is ended, and its build with it."""
    end = time.monotonic() + seconds
    worker = os.getppid()
    while True:
        left = end - time.monotonic()
        if left <= 0:
            return True
        if _is_over(over, min(left, _LOOK_AROUND_SECONDS)):
            return False
        if _is_gone(controller):
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGTERM)
            return False


def _is_over(over: int, seconds: float) -> bool:
    return bool(select.select([over], [], [], seconds)[0])


def _is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _answer(look: t.Callable[[], Look]) -> Look | None:
    """What the build host says; None if it does not."""
    with contextlib.suppress(Exception), bounded(_ANSWER_SECONDS):
        return look()
    return None


def _reap(child: int | None) -> None:
    """Wait a moment for the child. One that hangs in a question goes when that ends; it says nothing any more."""
    end = time.monotonic() + _GOODBYE_SECONDS
    while child is not None and time.monotonic() < end:
        try:
            if os.waitpid(child, os.WNOHANG)[0]:
                return
        except ChildProcessError:
            return
        time.sleep(0.01)
