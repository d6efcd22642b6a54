# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An end for calls that have none. Private to this collection."""

from __future__ import annotations

import contextlib
import signal
import time
import typing as t

from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import NodeUnreachable

# The alarm rings again at this interval (seconds), for clean-up that hangs on the same dead connection.
_AGAIN = 10


class _TimeIsUp(BaseException):
    """Not an Exception, because connection plugins catch those and try again, without an alarm."""


@contextlib.contextmanager
def bounded(seconds: int | None) -> t.Iterator[None]:
    """Raise NodeUnreachable if the body takes longer than `seconds`; None sets no limit.

    A node that vanishes in the middle of a command leaves ssh reading from a connection that nobody will ever close.
    An alarm that was set before and comes first, such as that of the task keyword C(timeout), is left alone.
    """
    before_handler = signal.getsignal(signal.SIGALRM)
    before_left, _interval = signal.getitimer(signal.ITIMER_REAL)
    if seconds is None or 0 < before_left <= seconds:
        yield
        return

    def give_up(_signal: int, _frame: t.Any) -> t.NoReturn:
        raise _TimeIsUp

    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    started = time.monotonic()
    try:
        yield
    except _TimeIsUp:
        raise NodeUnreachable(f"The node did not answer within {seconds} s, and its connection hangs.") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before_handler)
        if before_left:
            signal.setitimer(signal.ITIMER_REAL, max(0.01, before_left - (time.monotonic() - started)))
