# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that has ansible-core imported already and forks one ansible-playbook after the other from it.

Half of the CPU time of a short playbook is the import of ansible-core. What is forked is ansible-core's own command, with
the arguments, environment, directory and streams of whoever asked; each run begins from the same untouched memory. Only
modules of ansible-core are imported beforehand, none of a collection: those are read from disk in every run.

ansible-core reads its configuration when it is imported. The first run decides what that is; a run with any other one
(variables ANSIBLE_*, the text of ansible.cfg) is a process of its own.

``AnsibleServer.start`` makes a directory with a program ``ansible-playbook`` in it, which is put first on a PATH.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import dataclasses
import json
import os
import selectors
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CLIENT = Path(__file__).resolve().with_name("ansible_client.py")
REAL = Path(sys.executable).with_name("ansible-playbook")
READY = b"+"
REQUEST_SECONDS = 60.0
REAP_SECONDS = 1.0
STANDARD_STREAMS = 3
KILLED = 137
RUN_IT_YOURSELF = 255  # as an answer; ansible-playbook itself never exits so

# What differs from run to run and is set anew for each of them.
OF_A_RUN = frozenset({"ANSIBLE_CONFIG", "ANSIBLE_CACHE_PLUGIN_CONNECTION"})
SETTINGS_OF_A_RUN = ("inventory", "local_tmp", "forks")

# What a playbook run imports, as far as it belongs to ansible-core.
PACKAGES = ("inventory", "connection", "shell", "become", "strategy", "vars")
MODULES = (
    "ansible.executor.task_queue_manager",
    "ansible.executor.module_common",
    "ansible.plugins.cache.jsonfile",
    "ansible.plugins.cache.memory",
    "ansible.plugins.callback.default",
    "ansible.plugins.filter.core",
    "ansible.plugins.filter.mathstuff",
    "ansible.plugins.filter.urls",
    "ansible.plugins.filter.urlsplit",
    "ansible.plugins.filter.encryption",
    "ansible.plugins.test.core",
    "ansible.plugins.test.files",
    "ansible.plugins.test.mathstuff",
    "ansible.plugins.test.uri",
    "ansible.plugins.lookup.file",
    "ansible.plugins.action.add_host",
    "ansible.plugins.action.assert",
    "ansible.plugins.action.debug",
    "ansible.plugins.action.fail",
    "ansible.plugins.action.include_vars",
    "ansible.plugins.action.normal",
    "ansible.plugins.action.set_fact",
    "ansible.plugins.action.validate_argument_spec",
)


@dataclasses.dataclass(frozen=True)
class AnsibleServer:
    """A running server. ``programs``: the directory to put first on PATH. It ends with the process that started it."""

    programs: Path
    _process: subprocess.Popen[bytes]

    @classmethod
    def start(cls) -> AnsibleServer:
        """Start one. Raises RuntimeError with what it said when it does not come up."""
        directory = Path(tempfile.mkdtemp(prefix="lab-ansible-"))  # a socket's path must be short
        command = shlex.join([sys.executable, "-I", "-S", str(CLIENT), str(directory / "socket"), str(REAL)])
        (directory / "ansible-playbook").write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (directory / "ansible-playbook").chmod(0o755)
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "lab.ansible_server", str(directory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(CLIENT.parents[1])},
                start_new_session=True,  # an interrupt from the keyboard ends our starter, and that ends us
            )
        server = cls(directory, process)
        atexit.register(server.stop)
        assert process.stdout is not None
        if process.stdout.read(1) != READY:
            raise RuntimeError(f"no ansible server: {(directory / 'log').read_text()}")
        return server

    def stop(self) -> None:
        """End the server; what it still runs is ended as well."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        shutil.rmtree(self.programs, ignore_errors=True)


class _Run:
    """A forked ansible-playbook, and the connection of the program that stands for it."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self.connection = connection

    def kill(self) -> None:
        """As whoever kills the process group of a real ansible-playbook."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


class _Server:
    def __init__(self, directory: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(directory / "socket"))
        self._listener.listen(8)
        self._runs: dict[int, _Run] = {}
        self._configuration: object = None
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        # A run that ended is noticed at once: the signal wakes the selector.
        self._awake, wake = socket.socketpair()
        for end in (self._awake, wake):
            end.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        self._wake = wake
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        self._selector.register(self._awake, selectors.EVENT_READ)

    def serve(self) -> None:
        """Until our starter goes away, which closes our standard input."""
        os.write(1, READY)
        while True:
            for key, _events in self._selector.select(REAP_SECONDS):
                if key.fileobj is sys.stdin:
                    for run in self._runs.values():
                        run.kill()
                    return
                if key.fileobj is self._listener:
                    self._fork(self._listener.accept()[0])
                elif key.fileobj is self._awake:
                    self._awake.recv(4096)
                else:  # nothing is sent to us after the request: the program that stands for this run is gone
                    self._selector.unregister(key.fileobj)
                    key.data.kill()
            self._reap()

    def _fork(self, connection: socket.socket) -> None:
        try:
            request, streams = _received(connection)
        except (OSError, ValueError):
            connection.close()
            return
        if not self._is_configured_for(request["environment"]):
            connection.sendall(bytes([RUN_IT_YOURSELF]))
            connection.close()
            for stream in streams:
                os.close(stream)
            return
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._selector.close()
            for other in (
                self._listener,
                self._awake,
                self._wake,
                connection,
                *(r.connection for r in self._runs.values()),
            ):
                other.close()
            _become_ansible(request, streams)
        for stream in streams:
            os.close(stream)
        run = _Run(pid, connection)
        self._runs[pid] = run
        self._selector.register(connection, selectors.EVENT_READ, run)

    def _is_configured_for(self, environment: Mapping[str, str]) -> bool:
        wanted = _configuration(environment)
        if self._configuration is None:
            self._configuration = wanted
            os.environ.clear()
            os.environ.update(environment)
            # As Python would have begun with this environment.
            given = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
            sys.path[:1] = [str(REAL.parent), *given]
            sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
            _import_ansible()
        return wanted == self._configuration

    def _reap(self) -> None:
        for pid, run in list(self._runs.items()):
            found, status = os.waitpid(pid, os.WNOHANG)
            if not found:
                continue
            del self._runs[pid]
            code = os.waitstatus_to_exitcode(status)
            with contextlib.suppress(OSError):
                run.connection.sendall(bytes([code if code >= 0 else KILLED]))
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(run.connection)
            run.connection.close()


def _received(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The request, one line of JSON, and the three standard streams of whoever sent it."""
    connection.settimeout(REQUEST_SECONDS)
    descriptors = array.array("i")
    data, ancillary, _flags, _address = connection.recvmsg(65536, socket.CMSG_SPACE(STANDARD_STREAMS * 4))
    for _level, _kind, content in ancillary:
        descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    while not data.endswith(b"\n"):
        more = connection.recv(65536)
        if not more:
            raise ValueError("half a request")
        data += more
    return json.loads(data), list(descriptors)


def _become_ansible(request: Mapping[str, Any], streams: list[int]) -> None:
    """In the forked process: be the ansible-playbook that was asked for. Does not return."""
    status = 1
    try:
        os.setsid()
        for target, stream in enumerate(streams):
            os.dup2(stream, target)
            os.close(stream)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["directory"])
        atexit._clear()  # what the server registered is not this run's to remove
        _configure(request["environment"])
        from ansible.cli import display, playbook

        display._set_column_width()
        sys.argv = [str(Path(sys.executable).parent / "ansible-playbook"), *request["arguments"]]
        playbook.main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _configuration(environment: Mapping[str, str]) -> object:
    """All that ansible-core makes of its configuration when it is imported, as something to compare."""
    variables = {
        name: value
        for name, value in environment.items()
        if name.startswith(("ANSIBLE_", "PYTHON", "LC_", "LANG", "HOME", "TERM")) and name not in OF_A_RUN
    }
    file = environment.get("ANSIBLE_CONFIG")
    lines = Path(file).read_text().splitlines() if file else []
    return variables, [line for line in lines if line.partition("=")[0].strip() not in SETTINGS_OF_A_RUN]


def _configure(environment: Mapping[str, str]) -> None:
    """Set what each run has of its own, as ansible-core does when it is imported."""
    from ansible import constants

    constants.config._config_file = constants.CONFIG_FILE = environment.get("ANSIBLE_CONFIG")
    constants.config._parsers.clear()
    if constants.CONFIG_FILE:
        constants.config._parse_config_file()
    for name in (
        "DEFAULT_FORKS",
        "DEFAULT_HOST_LIST",
        "DEFAULT_LOCAL_TMP",
    ):  # the last one is made, and removed at the end
        setattr(constants, name, constants.config.get_config_value(name))


def _import_ansible() -> None:
    import importlib
    import pkgutil

    importlib.import_module("ansible.cli.playbook")
    for package in PACKAGES:
        found = importlib.import_module(f"ansible.plugins.{package}")
        for module in pkgutil.iter_modules(found.__path__, f"{found.__name__}."):
            # One that lacks a library on this machine fails in a run as well, when somebody asks for it.
            with contextlib.suppress(ImportError):
                importlib.import_module(module.name)
    for name in MODULES:
        importlib.import_module(name)
    from ansible import constants

    shutil.rmtree(constants.DEFAULT_LOCAL_TMP)  # each run makes its own


def main() -> None:
    _Server(Path(sys.argv[1])).serve()


if __name__ == "__main__":
    main()
