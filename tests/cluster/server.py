# SPDX-License-Identifier: GPL-3.0-or-later
"""The process with the API, etcd and the controllers: start, stop, crash and freeze it."""

from __future__ import annotations

import contextlib
import secrets
import signal
import socket
import subprocess
import time
from pathlib import Path

from cluster import audit, build
from cluster.api import Api, ApiError

HOST = "127.0.0.1"
START_SECONDS = 120.0  # 3 s on an idle machine
PORT_ATTEMPTS = 5


class ServerError(Exception):
    """The server did not start. The text has the end of its log."""


class Server:
    """One server. What it keeps is in ``directory`` and survives ``crash`` and ``start``; so does its port."""

    def __init__(self, directory: Path) -> None:
        """A server that is not running yet. Raises what cluster.build.ensure raises."""
        self._program = build.ensure()
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.admin_token = secrets.token_urlsafe(24)
        self.ca_file = directory / "certificates/apiserver.crt"
        self.audit_log = directory / "audit.log"
        self.port = 0
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "audit-policy.yaml").write_text(audit.POLICY)
        (directory / "tokens.csv").write_text(f'{self.admin_token},admin,admin,"system:masters"\n')
        (directory / "tokens.csv").chmod(0o600)

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start it and wait until it answers. Raises ServerError."""
        if self.pid is not None:
            return
        for _attempt in range(1 if self.port else PORT_ATTEMPTS):
            port = self.port or _free_port()
            if self._is_up_on(port):
                self.port = port
                return
        log = (self._directory / "server.log").read_text(errors="replace")[-3000:]
        raise ServerError(f"the Kubernetes API did not answer within {START_SECONDS:.0f} s; its log ends:\n{log}")

    def crash(self) -> None:
        """End it at once. A server that is asked to stop waits a minute for those who watch something."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """It accepts connections and requests from now on, and answers nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on, with what it was asked in between."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is not None and self.pid is not None:
            self._process.send_signal(number)

    def _is_up_on(self, port: int) -> bool:
        with (self._directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                # It ends with us, however we end.
                ["setpriv", "--pdeathsig", "KILL", str(self._program), str(self._directory), str(port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            if self.ca_file.exists():
                with contextlib.suppress(OSError, ApiError):
                    Api(HOST, port, self.ca_file, self.admin_token, timeout=5.0).get("/readyz")
                    return True
            time.sleep(0.05)
        self.crash()
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
