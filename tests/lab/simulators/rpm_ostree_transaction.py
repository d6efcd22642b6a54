# SPDX-License-Identifier: GPL-3.0-or-later
"""rpm-ostree's transactions: work done by the daemon, watched by a client that may die or be interrupted.

The daemon is a child process. SIGINT of the client cancels; SIGTERM and SIGKILL leave the transaction running without
anybody watching (recorded, rpm-ostree 2026.2).
"""

from __future__ import annotations

import os
import signal
import sys
import time

from lab.simulators import sysroot_lock
from lab.simulators.host import Host

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from collections.abc import Callable

CANCEL_HINT = " You can cancel the current transaction with `rpm-ostree cancel`"
CANCELLED = "error: Operation was cancelled\n"


class RpmOstreeError(Exception):
    """rpm-ostree gives up. ``str()`` is the text behind ``error: ``."""


def refuse_if_busy(host: Host) -> int:
    """The sysroot lock, for a write. Raises RpmOstreeError when a transaction runs or somebody else has the lock."""
    running = sysroot_lock.running_transaction(host)
    if running is not None:
        raise RpmOstreeError(f"Transaction in progress: {running['title']} \n{CANCEL_HINT}")
    handle = sysroot_lock.try_acquire(host)
    if handle is None:
        raise RpmOstreeError("System transaction in progress")
    return handle


def run(host: Host, method: str, title: str, work: Callable[[], int]) -> int:
    """Do ``work`` as a transaction and return its exit status. Its output and its errors are the client's."""
    sys.stdout.flush()
    out_reader, out_writer = os.pipe()
    err_reader, err_writer = os.pipe()
    lock = refuse_if_busy(host)
    daemon = os.fork()
    if daemon == 0:
        os.setsid()
        os.close(out_reader)
        os.close(err_reader)
        _serve(host, method, title, work, out_writer, err_writer)
    for handle in (out_writer, err_writer, lock):
        os.close(handle)
    return _watch(daemon, out_reader, err_reader)


def _serve(host: Host, method: str, title: str, work: Callable[[], int], out_writer: int, err_writer: int) -> None:
    """The daemon's side; never returns. Nobody may be listening any more, which does not disturb it."""
    status = 1
    try:
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (out_writer, 1), (err_writer, 2)):
            os.dup2(source, target)
        os.closerange(max(out_writer, err_writer), max(out_writer, err_writer) + 1)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sysroot_lock.begin_transaction(host, method, title)
        try:
            status = work()
        except RpmOstreeError as error:
            sys.stdout.flush()
            sys.stderr.write(f"error: {error}\n")
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        status = 0
    finally:
        os._exit(status)


def _watch(daemon: int, out_reader: int, err_reader: int) -> int:
    import select

    cancelled = False

    def interrupt(_number: int, _frame: object) -> None:
        nonlocal cancelled
        cancelled = True
        os.write(2, b"Caught SIGINT, cancelling transaction\n")
        os.kill(daemon, signal.SIGTERM)

    signal.signal(signal.SIGINT, interrupt)
    pipes = {out_reader: 1, err_reader: 2}
    while pipes:
        for reader in select.select(list(pipes), [], [])[0]:
            chunk = os.read(reader, 65536)
            if chunk:
                os.write(pipes[reader], chunk)
            else:
                del pipes[reader]
    _unused, status = os.waitpid(daemon, 0)
    if os.WIFSIGNALED(status):
        if cancelled or os.WTERMSIG(status) == signal.SIGTERM:
            sys.stderr.write(CANCELLED)
        else:
            sys.stderr.write("error: Bus owner changed, aborting. This likely means the daemon crashed; ")
            sys.stderr.write("check logs with `journalctl -xe`.\n")
        return 1
    return os.WEXITSTATUS(status)


def cancel(host: Host) -> str | None:
    """End the running transaction; returns its title, None when there is none."""
    running = sysroot_lock.running_transaction(host)
    if running is None:
        return None
    if running["pid"] is None:
        host.update_faults("transaction-stuck", None)
    else:
        os.kill(running["pid"], signal.SIGTERM)
    for _number in range(500):
        if sysroot_lock.running_transaction(host) is None:
            break
        time.sleep(sysroot_lock.POLL_SECONDS)
    return str(running["title"])
