# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the container tools: with a deadline, in a process group of their own, and ended with whoever waits for them."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
GRACE_SECONDS = 10.0
CHUNK = 65536
NOBODY_LISTENS_CHECK_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None)

_ENDING = threading.Event()  # a signal came


class Interrupted(Exception):
    """A signal, or nobody is left to read the result."""


class DeadlinePassed(Exception):
    """The tool ran longer than it may; it has been ended."""


@dataclass(frozen=True)
class Completed:
    """A finished command. `raw` is its standard output to the byte; `errors` is text."""

    argv: tuple[str, ...]
    exit_code: int
    raw: bytes
    errors: str

    @property
    def output(self) -> str:
        """Its standard output as text."""
        return _text(self.raw)


def tool_environment() -> dict[str, str]:
    """The environment of the tools: messages in English, and no clock setting that contradicts `--timestamp`."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    environment.pop("SOURCE_DATE_EPOCH", None)
    return environment


def capture(argv: Sequence[str], timeout: float, cleaning_up: bool = False) -> Completed:
    """Run a command and keep its output. Raises DeadlinePassed after `timeout` seconds, and Interrupted.

    What is `cleaning_up` runs to its end, also when nobody is left to read the result.
    """
    end = time.monotonic() + timeout
    with _started(argv, subprocess.PIPE) as process:
        while True:
            left = max(0.0, end - time.monotonic())
            try:
                output, errors = process.communicate(timeout=min(left, NOBODY_LISTENS_CHECK_SECONDS))
                break
            except subprocess.TimeoutExpired:
                if left == 0:
                    raise DeadlinePassed(f"{argv[0]} did not answer within {timeout:.0f} s") from None
            if not cleaning_up:
                check_that_somebody_listens()
    return Completed(tuple(argv), process.returncode, output, _text(errors))


def stream(argv: Sequence[str], log: Path, timeout: float, on_line: Callable[[str], bool | str] | None = None) -> int:
    """Run a long command, both its streams appended to `log`, and return its exit code.

    `on_line` sees every line and says whether it belongs into the log, or what does in its place. Raises DeadlinePassed and
    Interrupted; the command and all its children have ended then.
    """
    end = time.monotonic() + timeout
    with log.open("ab", buffering=0) as file, _started(argv, subprocess.STDOUT) as process:
        if process.stdout is None:
            raise ValueError("the command has no output pipe")
        for line in _lines(process.stdout.fileno(), end, timeout, argv[0]):
            wanted = on_line(_text(line).rstrip("\r\n")) if on_line is not None else True
            if isinstance(wanted, str):
                file.write(f"{wanted}\n".encode())
            elif wanted:
                file.write(line)
        try:
            return process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise DeadlinePassed(f"{argv[0]} did not end within {timeout:.0f} s") from None


@contextlib.contextmanager
def ending_on_signals() -> Iterator[None]:
    """Turn SIGTERM, SIGINT and SIGHUP into Interrupted, so that everything is cleaned up on the way out."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        _ENDING.set()
        raise Interrupted(f"ended by {signal.Signals(number).name}")

    _ENDING.clear()
    before = {number: signal.signal(number, interrupt) for number in ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check_that_somebody_listens() -> None:
    """Raise Interrupted when the reader of our standard output is gone, and in threads also when the module is ended.

    A controller that is killed leaves its modules running: a closed pipe is how they can tell. Signals reach the main thread
    only, which then waits for the others.
    """
    if _ENDING.is_set() and threading.current_thread() is not threading.main_thread():
        raise Interrupted("the module is being ended")
    poll = select.poll()
    poll.register(1, 0)
    if any(event & (select.POLLERR | select.POLLHUP) for _fd, event in poll.poll(0)):
        raise Interrupted("the controller that started this is gone")


@contextlib.contextmanager
def _started(argv: Sequence[str], errors: int) -> Iterator[subprocess.Popen[bytes]]:
    # A signal within Popen would leave a tool behind that nobody knows of.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    process = None
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=tool_environment(),
            start_new_session=True,
            preexec_fn=functools.partial(_end_with_parent, os.getpid(), before),
        )
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield process
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if process is not None:
            _end(process)


def _end_with_parent(parent: int, unblocked: set[signal.Signals | int]) -> None:
    """Let the kernel end the tool, politely, when we are killed and cannot: it would go on to push, and lose its lock.

    Runs in the child, after fork: so it only calls what was loaded before.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # killed in between
        os._exit(1)
    signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what still runs of the process group: politely first, so that the engine removes its working container."""
    if process.poll() is None:
        for number, seconds in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, GRACE_SECONDS)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
                break
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _lines(descriptor: int, end: float, timeout: float, name: str) -> Iterator[bytes]:
    pending = b""
    while True:
        left = end - time.monotonic()
        if left <= 0:
            raise DeadlinePassed(f"{name} did not end within {timeout:.0f} s")
        ready, _write, _error = select.select([descriptor], [], [], min(left, NOBODY_LISTENS_CHECK_SECONDS))
        check_that_somebody_listens()
        if not ready:
            continue
        chunk = os.read(descriptor, CHUNK)
        if not chunk:
            break
        *complete, pending = (pending + chunk).split(b"\n")
        for line in complete:
            yield line + b"\n"
    if pending:
        yield pending + b"\n"


def _text(data: bytes) -> str:
    """Text that a result can carry: ansible-core 2.19 loses a whole result over one surrogate escape in it."""
    return data.decode("utf-8", "replace")
