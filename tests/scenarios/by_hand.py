# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody does to a lab node without this collection."""

from __future__ import annotations

import contextlib
import time

from lab import session
from lab.node import Node


def on(node: Node, command: str) -> str:
    """Run a command that must succeed; its standard output."""
    done = session.run(node, command, stdin=b"")
    assert done.rc == 0, done.stderr
    return done.stdout.decode()


def restart(node: Node, seconds: float = 60.0) -> None:
    """Reboot in order, so that what is staged boots, and wait for the node."""
    before, end = node.boot_id, time.monotonic() + seconds
    with contextlib.suppress(session.ConnectionLost):
        session.run(node, "systemctl reboot", stdin=b"")
    while not node.is_up() or node.boot_id == before:
        assert time.monotonic() < end, f"the node did not come back within {seconds} s"
        time.sleep(0.05)
