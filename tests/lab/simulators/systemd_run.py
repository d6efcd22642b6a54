# SPDX-License-Identifier: GPL-3.0-or-later
"""`systemd-run`: a command as a transient service, which belongs to the manager and not to the session that asked for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid

from lab.simulators.host import Host
from lab.simulators.transient_unit import (
    EXITED,
    POLL_SECONDS,
    TransientUnit,
    exclusive,
    seconds_of,
    signal_of,
    take_over,
)

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from typing import Any

FLAGS = ("--no-block", "--wait", "--pipe", "--collect", "--quiet", "--no-ask-password")
SHORT = {"-P": "--pipe", "-G": "--collect", "-q": "--quiet", "-u": "--unit", "-p": "--property", "-E": "--setenv"}
VALUES = ("--unit", "--property", "--setenv", "--description", "--service-type")
PROPERTIES = frozenset(
    {
        *("Type", "RemainAfterExit", "KillSignal", "KillMode", "TimeoutStopSec", "RuntimeMaxSec", "Environment"),
        *("StandardOutput", "StandardError", "Description", "WorkingDirectory", "Nice", "SendSIGKILL"),
    }
)
SEARCH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin")
STATUS_NAMES = {0: "SUCCESS", 1: "FAILURE", 2: "INVALIDARGUMENT"}


class Refused(Exception):
    """systemd-run gives up. ``str()`` is what it says on standard error."""


class Request:
    """A command line of systemd-run. Raises Refused."""

    def __init__(self, argv: list[str]) -> None:
        self.flags: set[str] = set()
        self.properties: dict[str, str] = {}
        self.environment: list[str] = []
        self.unit = self.description = ""
        todo = list(argv)
        while todo and todo[0].startswith("-"):
            word = todo.pop(0)
            if word == "--":
                break
            name, separator, value = word.partition("=")
            name = SHORT.get(name, name)
            if name in FLAGS and not separator:
                self.flags.add(name)
            elif name in VALUES:
                if not separator and not todo:
                    raise Refused(f"systemd-run: option '{name}' requires an argument")
                self._take(name, value if separator else todo.pop(0))
            else:
                raise Refused(f"systemd-run: unrecognized option '{name}'")
        self.command = todo
        if not todo:
            raise Refused("Command line to execute required.")

    def _take(self, name: str, value: str) -> None:
        if name == "--unit":
            self.unit = value if value.endswith(".service") else f"{value}.service"
        elif name == "--description":
            self.description = value
        elif name == "--setenv":
            self.environment.append(value if "=" in value else f"{value}={os.environ.get(value, '')}")
        elif name == "--service-type":
            self.properties["Type"] = value
        else:
            self._take_property(value)

    def _take_property(self, assignment: str) -> None:
        key, separator, value = assignment.partition("=")
        if not separator:
            raise Refused(f"Not an assignment: {assignment}")
        if key not in PROPERTIES:
            raise Refused(f"Unknown assignment: {assignment}")
        if key == "KillSignal":
            try:
                signal_of(value)
            except ValueError:
                raise Refused(f"Failed to parse KillSignal= parameter: {value}") from None
        if key == "Environment":
            self.environment.append(value)
        elif key == "Description":
            self.description = value
        else:
            self.properties[key] = value


def run(host: Host, argv: list[str]) -> int:
    """The exit status of one systemd-run."""
    try:
        request = Request(argv)
        command = _resolved(host, request.command)
        unit = _load(host, request, command)
    except Refused as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 1
    _start(host, unit, request)
    quiet = "--quiet" in request.flags
    if not quiet:
        sys.stderr.write(f"Running as unit: {unit.name}; invocation ID: {unit.record['invocation']}\n")
        sys.stderr.flush()
    return _wait(host, unit.name, quiet) if "--wait" in request.flags else 0


def _resolved(host: Host, command: list[str]) -> list[str]:
    """The command with its program's full path: systemd-run itself looks for the program."""
    program = command[0]
    places = [program] if "/" in program else [f"{place}/{program}" for place in SEARCH]
    for place in places:
        tool = os.path.basename(place)
        shim = host.path("shims", tool)
        if host.resolve(place) is not None and (tool not in ("bootc", "rpm-ostree") or os.path.exists(shim)):
            return [place, *command[1:]]
    raise Refused(f"Failed to find executable {program}: No such file or directory")


def _load(host: Host, request: Request, command: list[str]) -> TransientUnit:
    from lab.simulators.units import Units

    name = request.unit or f"run-r{uuid.uuid4().hex}.service"
    with exclusive(host):
        if TransientUnit.load(host, name) is not None or Units(host).exists(name):
            raise Refused(
                f"Failed to start transient service unit: Unit {name} was already loaded or has a fragment file."
            )
        unit = TransientUnit(
            host,
            name,
            {
                "description": request.description or f"[systemd-run] {' '.join(command)}",
                "argv": command,
                "environment": request.environment,
                "properties": request.properties,
                "collect": "--collect" in request.flags,
                "awaited": "--wait" in request.flags,
                "invocation": uuid.uuid4().hex,
                "active": "inactive",
                "sub": "dead",
                "result": "success",
                "code": 0,
                "status": 0,
                "main_pid": 0,
                "exec_main_pid": 0,
            },
        )
        unit.save()
    return unit


def _start(host: Host, unit: TransientUnit, request: Request) -> None:
    """Let the manager start the main process, and return once it runs."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork() == 0:
        os.close(reader)
        try:
            if os.fork() == 0:
                _supervise(host, unit, writer, keep_streams="--pipe" in request.flags)
        finally:
            os._exit(0)
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)


def _supervise(host: Host, unit: TransientUnit, ready: int, *, keep_streams: bool) -> None:
    """The manager's side, in a process of its own that shares nothing with the session; never returns."""
    try:
        os.setsid()
        os.chdir("/")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        streams: tuple[int, int, int] = (0, 1, 2) if keep_streams else (null, null, null)
        streams = (streams[0], _target(host, unit, "Output", streams[1]), _target(host, unit, "Error", streams[2]))
        process = _main_process(host, unit, streams)
        if not keep_streams:
            for descriptor in range(3):
                os.dup2(null, descriptor)
        pid = _inner(process)
        with exclusive(host):
            unit.record.update(active="active", sub="running", main_pid=pid, exec_main_pid=pid)
            unit.save()
        os.write(ready, b"r")
        os.close(ready)
        _see_it_through(unit, process)
    finally:
        os._exit(0)


def _target(host: Host, unit: TransientUnit, which: str, default: int) -> int:
    kind, separator, path = unit.setting(f"Standard{which}").partition(":")
    if not separator or kind not in ("file", "append", "truncate"):
        return default
    directory = host.resolve(os.path.dirname(path))
    if directory is None:
        return default
    mode = {"append": os.O_APPEND, "truncate": os.O_TRUNC}.get(kind, 0)
    return os.open(os.path.join(directory, os.path.basename(path)), os.O_WRONLY | os.O_CREAT | mode, 0o644)


def _main_process(host: Host, unit: TransientUnit, streams: tuple[int, int, int]) -> subprocess.Popen[bytes]:
    """The command in the node, with the manager's environment: nothing of the caller's reaches it."""
    from pathlib import Path

    from lab import enter
    from lab.node import Node

    given = dict(entry.partition("=")[::2] for entry in unit.record["environment"])
    environment = {
        "LANG": "C.UTF-8",
        "PATH": enter.SEARCH_PATH,
        "USER": "root",
        "INVOCATION_ID": unit.record["invocation"],
        **given,
        "LAB_UNIT": unit.name,
    }
    argv = enter.command(Node(Path(host.directory)), unit.record["argv"], environment=environment)
    return subprocess.Popen(
        argv, stdin=streams[0], stdout=streams[1], stderr=streams[2], start_new_session=True, close_fds=True
    )


def _inner(process: subprocess.Popen[bytes]) -> int:
    """The process that bubblewrap watches: the unit's main process."""
    for _number in range(1000):
        try:
            with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as children:
                found = children.read().split()
            with open(f"/proc/{process.pid}/comm", encoding="ascii") as comm:
                if found and comm.read().strip() == "bwrap":
                    return int(found[0])
        except FileNotFoundError:
            break
        if process.poll() is not None:
            break
        time.sleep(0.005)
    return process.pid


def _see_it_through(unit: TransientUnit, process: subprocess.Popen[bytes]) -> None:
    limit = seconds_of(unit.setting("RuntimeMaxSec"), 10.0**9)
    out_of_time = False
    try:
        status = process.wait(limit)
    except subprocess.TimeoutExpired:
        out_of_time = True
        unit.signal(signal_of(unit.setting("KillSignal", "SIGTERM")))
        try:
            status = process.wait(unit.stop_seconds)
        except subprocess.TimeoutExpired:
            unit.end_all(signal.SIGKILL)
            status = process.wait()
    unit.finish(128 - status if status < 0 else status, out_of_time=out_of_time)


def _wait(host: Host, name: str, quiet: bool) -> int:
    """Until the unit has ended; its exit status, and what systemd-run says about it."""
    while (record := take_over(host, name)) is None:
        time.sleep(POLL_SECONDS)
    if not quiet:
        sys.stderr.write(_summary(record))
    return int(record["status"]) if record["code"] == EXITED else 1


def _summary(record: dict[str, Any]) -> str:
    status = int(record["status"])
    if record["code"] == EXITED:
        word = f"code=exited, status={status}/{STATUS_NAMES.get(status, 'n/a')}"
    else:
        word = f"code=killed, status={status}/{signal.Signals(status).name[3:]}"
    return (
        f"          Finished with result: {record['result']}\n"
        f"Main processes terminated with: {word}\n"
        "               Service runtime: 1ms\n"
        "             CPU time consumed: 1ms\n"
    )
