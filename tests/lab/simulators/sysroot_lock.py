# SPDX-License-Identifier: GPL-3.0-or-later
"""The sysroot lock and the running rpm-ostree transaction: who may change deployments now, and how others wait."""

from __future__ import annotations

import fcntl
import os
import sys
import time

from lab.simulators.host import Host, read_json, write_json

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from typing import Any

POLL_SECONDS = 0.02


def held_by_fault(host: Host, *, at_shutdown: bool = False) -> bool:
    """Whether a fault stands for a process that holds the lock.

    ``at_shutdown``: a stuck transaction does not count, since systemd stops rpm-ostreed before it finalizes.
    """
    held = host.fault("lock-held", fresh=True)
    if held is not None and time.time() < held["since"] + held["seconds"]:
        return True
    return not at_shutdown and host.fault("transaction-stuck") is not None


def try_acquire(host: Host) -> int | None:
    """The lock as an open file (closing it, or ending, releases it); None when somebody else has it."""
    return None if held_by_fault(host) else try_flock(host)


def try_flock(host: Host) -> int | None:
    """Like ``try_acquire``, without regard to faults."""
    os.makedirs(host.path("sysroot", "ostree"), exist_ok=True)
    handle = os.open(host.path("sysroot", "ostree", "lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def acquire(host: Host, *, announce: bool) -> int:
    """Wait for the lock, without a limit, as bootc does.

    ``announce``: up to bootc 1.6.0 the wait is told on standard output, in front of any JSON (recorded, bootc 1.1.6);
    bootc 1.16.9 waits silently when it has no terminal.
    """
    handle = try_acquire(host)
    if handle is None and announce:
        sys.stdout.write("Waiting for sysroot lock...\n")
        sys.stdout.flush()
    while handle is None:
        time.sleep(POLL_SECONDS)
        handle = try_acquire(host)
    host.reload()
    return handle


def begin_transaction(host: Host, method: str, title: str) -> int:
    """Make an rpm-ostree transaction visible to the others. It is over when the returned file is closed."""
    path = host.path("transient", "transaction.lock")
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(handle, fcntl.LOCK_EX)
    record = {"method": method, "title": title, "sender": f":1.{os.getpid() % 1000}", "pid": os.getpid()}
    write_json(host.path("transient", "transaction.json"), record)
    return handle


def running_transaction(host: Host) -> dict[str, Any] | None:
    """Method, title, sender (and pid, unless a fault stands for it) of the running rpm-ostree transaction."""
    stuck = host.fault("transaction-stuck")
    if stuck is not None:
        return {"method": stuck["method"], "title": stuck["title"], "sender": ":1.4", "pid": None}
    try:
        handle = os.open(host.path("transient", "transaction.lock"), os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        found: dict[str, Any] | None = read_json(host.path("transient", "transaction.json"))
        return found
    finally:
        os.close(handle)
    return None
