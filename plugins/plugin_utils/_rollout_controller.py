# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller process: its identity, and whether another one is still there."""

from __future__ import annotations

import multiprocessing
import os
import pwd
import re
import socket
from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_holder import Holder, Liveness

_PROC = Path("/proc")
_MACHINE_ID = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


class Controller:
    """The process that runs the play. Ansible runs every task in a worker forked from it, so a slot must be held in the
    name of the parent: the worker ends with its task."""

    def __init__(self, job: str = "") -> None:
        parent = multiprocessing.parent_process()
        self._is_worker = parent is not None
        pid = os.getpid() if parent is None or parent.pid is None else parent.pid
        self.holder = Holder(
            host=socket.gethostname(),
            pid=pid,
            boot=_boot(),
            pid_namespace=_pid_namespace(),
            start_time=_start_time(pid) or "",
            user=_user(),
            job=job,
            machine=_machine(),
        )

    @property
    def is_gone(self) -> bool:
        """Whether the play's process died and left this worker behind (kill -9 does that)."""
        return self._is_worker and os.getppid() != self.holder.pid

    def liveness(self, holder: Holder) -> Liveness:
        """Whether the process behind a slot still runs; UNKNOWN on other machines and in other containers.

        Another boot proves a process dead on its own machine alone, and many machines are called localhost.
        """
        if holder.host != self.holder.host:
            return Liveness.UNKNOWN
        if holder.boot != self.holder.boot:
            known = bool(holder.boot and self.holder.boot and self.holder.machine)
            return Liveness.DEAD if known and holder.machine == self.holder.machine else Liveness.UNKNOWN
        if holder.pid_namespace != self.holder.pid_namespace:
            return Liveness.UNKNOWN
        if holder.start_time:
            return Liveness.ALIVE if _start_time(holder.pid) == holder.start_time else Liveness.DEAD
        try:
            os.kill(holder.pid, 0)
        except ProcessLookupError:
            return Liveness.DEAD
        except PermissionError:
            return Liveness.ALIVE
        return Liveness.ALIVE


def _machine() -> str:
    """machine-id(5); empty where there is none, and in an image in which it is not yet set."""
    for file in _MACHINE_ID:
        try:
            found = file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if re.fullmatch("[0-9a-f]{32}", found):
            return found
    return ""


def _boot() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _pid_namespace() -> str:
    try:
        return os.readlink(_PROC / "self/ns/pid")
    except OSError:
        return ""


def _start_time(pid: int) -> str | None:
    """Clock ticks from boot to the start of the process (proc(5), field 22 of stat); None without such a process.

    A zombie counts as gone: it does nothing any more. The command's name may hold spaces and brackets, hence the split
    after the last bracket.
    """
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    if len(fields) < 20 or fields[0] in ("Z", "X"):
        return None
    return fields[19]


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
