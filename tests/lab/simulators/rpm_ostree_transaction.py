# SPDX-License-Identifier: GPL-3.0-or-later
"""rpm-ostree's transactions: work done by the daemon, watched by clients that may die or be interrupted.

The daemon is a child process of the first client, in a session of its own. SIGINT of a client cancels; SIGTERM and
SIGKILL leave the transaction running without anybody watching: it goes on, and stages what it was asked to
(recorded, rpm-ostree 2026.2). What it says is also kept in ``transient/transaction.log``, for clients that attach.
"""

from __future__ import annotations

import json
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
INTERRUPTED = b"Caught SIGINT, cancelling transaction\n"
GONE = "error: Bus owner changed, aborting. This likely means the daemon crashed; check logs with `journalctl -xe`.\n"
LOG = ("transient", "transaction.log")


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


class _Speaker:
    """Standard output or error of the daemon: to the client while it lives, and into the log."""

    encoding = "utf-8"

    def __init__(self, number: int, log: int) -> None:
        self.number = number
        self.log = log

    def write(self, text: str) -> int:
        os.write(self.log, (json.dumps([self.number, text]) + "\n").encode())
        data = text.encode("utf-8", "surrogateescape")
        while data:
            try:
                data = data[os.write(self.number, data) :]
            except BrokenPipeError:
                break
        return len(text)

    def flush(self) -> None:
        pass


def _serve(host: Host, method: str, title: str, work: Callable[[], int], out_writer: int, err_writer: int) -> None:
    """The daemon's side; never returns. Nobody may be listening any more, which does not disturb it."""
    status = 1
    try:
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (out_writer, 1), (err_writer, 2)):
            os.dup2(source, target)
            os.close(source)
        for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        log = os.open(host.path(*LOG), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        sys.stdout = _Speaker(1, log)
        sys.stderr = _Speaker(2, log)
        sysroot_lock.begin_transaction(host, method, title)
        host.reload()
        try:
            status = work()
        except RpmOstreeError as error:
            sys.stderr.write(f"error: {error}\n")
        os.write(log, (json.dumps(["end", status]) + "\n").encode())
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 1
    finally:
        os._exit(status)


def _watch(daemon: int, out_reader: int, err_reader: int) -> int:
    import select

    cancelled = False

    def interrupt(_number: int, _frame: object) -> None:
        nonlocal cancelled
        cancelled = True
        os.write(2, INTERRUPTED)
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
        sys.stderr.write(CANCELLED if cancelled or os.WTERMSIG(status) == signal.SIGTERM else GONE)
        return 1
    return os.WEXITSTATUS(status)


def attach(host: Host, method: str, title: str) -> int | None:
    """Watch a running transaction of the same call to its end; None when no such one runs.

    The client sees what is said from now on (rpm-ostree 2026.2, rpmostree-clientlib.cxx).
    """
    running = sysroot_lock.running_transaction(host)
    if running is None or running["pid"] is None or (running["method"], running["title"]) != (method, title):
        return None

    def interrupt(_number: int, _frame: object) -> None:
        os.write(2, INTERRUPTED)
        cancel(host)

    signal.signal(signal.SIGINT, interrupt)
    print(f"Attaching to existing transaction: {title}", flush=True)
    with open(host.path(*LOG), encoding="utf-8") as log:
        log.seek(0, os.SEEK_END)
        while True:
            line = log.readline()
            if line.endswith("\n"):
                kind, value = json.loads(line)
                if kind == "end":
                    return int(value)
                os.write(int(kind), value.encode())
            elif sysroot_lock.running_transaction(host) is None and not log.readline():
                sys.stderr.write(CANCELLED)
                return 1
            else:
                time.sleep(sysroot_lock.POLL_SECONDS)


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
