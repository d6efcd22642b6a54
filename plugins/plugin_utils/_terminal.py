# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lines on the operator's terminal from within a worker, while its task still runs. Private to this collection."""

from __future__ import annotations

import signal

from ansible.utils.display import Display


def say(line: str) -> None:
    """Show a line at once.

    It travels to the main process through a queue that all workers share, under a lock. A worker that is ended in the
    middle keeps the lock for ever, and the main process hangs in its clean-up (seen with ansible-core 2.19 on Ctrl-C):
    so signals wait for these microseconds.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        Display().display(line)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
