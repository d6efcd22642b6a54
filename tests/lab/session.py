# SPDX-License-Identifier: GPL-3.0-or-later
"""One command on a node, as sshd would run it: with a terminal or with separate streams, and cut off by a reboot."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
import select
import selectors
import signal
import subprocess
import time
from typing import IO, TYPE_CHECKING, Any

from lab.simulators import power
from lab.simulators.host import Host

if TYPE_CHECKING:
    from lab.node import Node

POLL_SECONDS = 0.2
JOURNALED_COMMAND = 400  # characters


class ConnectionRefused(Exception):
    """Nobody answers at the node: it is switched off, or not up yet, or does not know the user."""


class ConnectionLost(Exception):
    """The node went away while a command ran. Whether the command did its work is not known."""


@dataclasses.dataclass(frozen=True)
class Result:
    """What a finished command left: its exit status and what it wrote. With a terminal, stderr is empty."""

    rc: int
    stdout: bytes
    stderr: bytes


def run(node: Node, command: str, *, user: str = "root", stdin: bytes | None = None, tty: bool = False) -> Result:
    """Run ``command`` with /bin/sh on the node: one round trip, one ``exec`` entry in its journal.

    With ``tty`` the command gets a terminal: one merged stream with CRLF line ends, and a hang-up when the caller goes
    away. Without, streams are apart and the command goes on when the caller dies, as it does behind a real sshd.
    Raises ConnectionRefused, ConnectionLost, and OSError for a command above the kernel's limit of 128 kB.
    """
    refuse_if_away(node, user)
    time.sleep(node.latency)
    started, cpu_before = time.monotonic(), _cpu_of_children()
    fields: dict[str, Any] = {"rc": None, "tty": tty, "user": user, "command": command[:JOURNALED_COMMAND]}
    if stdin is not None:
        fields["stdin_bytes"] = len(stdin)
    try:
        result = _run(node, command, user, stdin, tty)
        fields["rc"] = result.rc
        return result
    except ConnectionLost as lost:
        fields["lost"] = str(lost)
        raise
    finally:
        seconds, cpu = time.monotonic() - started, _cpu_of_children() - cpu_before
        node.journal.append("exec", seconds=round(seconds, 4), cpu=round(cpu, 4), **fields)


def refuse_if_away(node: Node, user: str = "root") -> None:
    """Raise ConnectionRefused unless the node is up and knows the user."""
    if not node.is_up():
        raise ConnectionRefused(f"connect to host {node.name} port 22: Connection refused")
    known = {line.split(":", 1)[0] for line in (node.mounts().etc / "passwd").read_text().splitlines()}
    if user not in known:
        raise ConnectionRefused(f"{user}@{node.name}: Permission denied (publickey).")


def _run(node: Node, command: str, user: str, stdin: bytes | None, tty: bool) -> Result:
    from lab import enter

    boot = _boot(node)
    argv = enter.command(node, ["/bin/sh", "-c", command], user=user)
    drop_after = _drop_after(node)
    if tty:
        return _with_terminal(node, argv, boot, drop_after)
    return _with_pipes(node, argv, boot, drop_after, stdin or b"")


def _with_pipes(node: Node, argv: list[str], boot: str, drop_after: float | None, stdin: bytes) -> Result:
    pipe = subprocess.PIPE
    # Not `with`: that would wait for a command that a dropped connection leaves running.
    process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, close_fds=True)
    deadline = None if drop_after is None else time.monotonic() + drop_after
    with contextlib.closing(_Pipes(process, stdin)) as pipes:
        while pipes.pump(_patience(deadline)):
            _raise_if_lost(node, boot, deadline, process)
        _wait(node, boot, deadline, process)
    _raise_if_ended_by_shutdown(node, boot, process)
    return Result(_exit_status(process.returncode), pipes.stdout, pipes.stderr)


class _Pipes:
    """The three streams of a command, moved bit by bit.

    Popen.communicate cannot be called in steps with data to send: after a time-out it forgets what it has not sent.
    """

    def __init__(self, process: subprocess.Popen[bytes], stdin: bytes) -> None:
        assert process.stdin and process.stdout and process.stderr  # noqa: PT018 (all three were asked for)
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._unsent = memoryview(stdin)
        self._received: dict[IO[bytes], list[bytes]] = {self._stdout: [], self._stderr: []}
        self._selector = selectors.DefaultSelector()
        os.set_blocking(self._stdin.fileno(), False)
        self._selector.register(self._stdin, selectors.EVENT_WRITE)
        for stream in self._received:
            self._selector.register(stream, selectors.EVENT_READ)

    def pump(self, seconds: float) -> bool:
        """Move data for that long at most; returns False once the command has closed both its outputs."""
        until = time.monotonic() + seconds
        while self._open_outputs():
            ready = self._selector.select(max(0.0, until - time.monotonic()))
            for key, _unused in ready:
                if key.fileobj is self._stdin:
                    self._send()
                else:
                    self._receive(key.fileobj)
            if not ready or time.monotonic() >= until:
                return True
        return False

    def close(self) -> None:
        """Close our ends, as sshd does when a connection is gone; the command may go on."""
        self._selector.close()
        for stream in (self._stdin, self._stdout, self._stderr):
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    @property
    def stdout(self) -> bytes:
        return b"".join(self._received[self._stdout])

    @property
    def stderr(self) -> bytes:
        return b"".join(self._received[self._stderr])

    def _open_outputs(self) -> bool:
        registered = self._selector.get_map()
        return any(stream in registered for stream in self._received)

    def _send(self) -> None:
        try:
            self._unsent = self._unsent[os.write(self._stdin.fileno(), self._unsent[:65536]) :]
        except BrokenPipeError:  # the command does not want the rest
            self._unsent = memoryview(b"")
        if not self._unsent:
            self._selector.unregister(self._stdin)
            self._stdin.close()

    def _receive(self, stream: Any) -> None:
        chunk = os.read(stream.fileno(), 65536)
        if chunk:
            self._received[stream].append(chunk)
        else:
            self._selector.unregister(stream)


def _wait(node: Node, boot: str, deadline: float | None, process: subprocess.Popen[bytes]) -> None:
    """Wait for a command that has closed its streams."""
    while True:
        try:
            process.wait(_patience(deadline))
            return
        except subprocess.TimeoutExpired:
            _raise_if_lost(node, boot, deadline, process)


def _with_terminal(node: Node, argv: list[str], boot: str, drop_after: float | None) -> Result:
    master, slave = os.openpty()
    try:
        # setsid makes the terminal the controlling one, so that closing our end hangs the command up.
        # As sshd does: under nohup a shell could not trap the hang-up at all.
        argv = ["env", "--default-signal=HUP", "setsid", "--ctty", *argv]
        process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, close_fds=True)
        os.close(slave)
        deadline = None if drop_after is None else time.monotonic() + drop_after
        chunks: list[bytes] = []
        while True:
            if select.select([master], [], [], _patience(deadline))[0]:
                try:
                    chunk = os.read(master, 65536)
                except OSError:  # EIO: nobody has the other end open any more
                    break
                chunks.append(chunk)
            elif process.poll() is not None:
                break  # the command has ended; what it left in the background does not keep a terminal session
            else:
                _raise_if_lost(node, boot, deadline, process)
        process.wait()
        _raise_if_ended_by_shutdown(node, boot, process)
        return Result(_exit_status(process.returncode), b"".join(chunks), b"")
    finally:
        os.close(master)


def _boot(node: Node) -> str:
    return node.mounts().boot_id.read_text().strip()


def _patience(deadline: float | None) -> float:
    return POLL_SECONDS if deadline is None else max(0.0, min(POLL_SECONDS, deadline - time.monotonic()))


def _raise_if_lost(node: Node, boot: str, deadline: float | None, process: subprocess.Popen[bytes]) -> None:
    if deadline is not None and time.monotonic() >= deadline:
        Host(str(node.directory)).fire("connection-drops")
        raise ConnectionLost(f"client_loop: send disconnect: Broken pipe (connection to {node.name} dropped)")
    if not node.is_up() or _boot(node) != boot:
        # The shutdown ends what runs on the node; this command may have begun just after it looked.
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        raise ConnectionLost(f"Connection to {node.name} closed by remote host.")


def _raise_if_ended_by_shutdown(node: Node, boot: str, process: subprocess.Popen[bytes]) -> None:
    if process.returncode < 0 or process.returncode > 128:
        # A shutdown kills first and notes last that the node is off: its lock tells when it has done so.
        power.advance(Host(str(node.directory)))
    _raise_if_lost(node, boot, None, process)


def _exit_status(returncode: int) -> int:
    """ssh says 255 for a command that a signal ended, because no exit status ever came."""
    return 255 if returncode < 0 else returncode


def _drop_after(node: Node) -> float | None:
    """Seconds after which the fault ``connection-drops`` cuts this command off; None when it does not."""
    fault = node.faults.get("connection-drops")
    return None if fault is None else float(fault["seconds"])


def _cpu_of_children() -> float:
    """CPU seconds of the children that have ended: the node's own work, which a benchmark takes off the controller's."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
