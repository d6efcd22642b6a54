# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An end for calls that have none. Private to this collection."""

from __future__ import annotations

import contextlib
import signal
import typing as t

from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import NodeUnreachable


@contextlib.contextmanager
def bounded(seconds: float) -> t.Iterator[None]:
    """Raise NodeUnreachable if the body takes longer than `seconds`.

    A node that vanishes in the middle of a command leaves ssh reading from a connection that nobody will ever close.
    An alarm that was set before, such as that of the task keyword C(timeout), keeps its own deadline.
    """
    previous_handler = signal.getsignal(signal.SIGALRM)
    previous_left, _interval = signal.getitimer(signal.ITIMER_REAL)
    if previous_left and previous_left <= seconds:
        yield
        return

    def give_up(_signal: int, _frame: t.Any) -> None:
        raise NodeUnreachable(f"The node took longer than {seconds:.0f} s to answer.")

    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        spent = seconds - signal.getitimer(signal.ITIMER_REAL)[0]
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous_handler)
        if previous_left:
            signal.setitimer(signal.ITIMER_REAL, max(0.01, previous_left - spent))
