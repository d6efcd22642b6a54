# SPDX-License-Identifier: GPL-3.0-or-later
"""A real registry behind a way that fails: requests that are refused, cut off in the middle of a blob, or held up."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import re
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHUNK = 1 << 14


class Fault:
    """What happens to requests whose method and path match, `times` of them (None: all), the others pass."""

    def __init__(self, pattern: str, times: int | None = None) -> None:
        self.pattern = re.compile(pattern)
        self.times = times
        self.hits = 0

    def takes(self, request: str) -> bool:
        """Whether this request is one that fails; counted."""
        if not self.pattern.match(request) or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True


class Refused(Fault):
    """Answered with an error, as by a registry that knows its users."""

    def __init__(self, pattern: str, status: int, code: str, message: str, times: int | None = None) -> None:
        super().__init__(pattern, times)
        self.status = status
        self.body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()


class CutOff(Fault):
    """The connection is reset after so many bytes of the body, whichever way it goes."""

    def __init__(self, pattern: str, after: int, times: int | None = None) -> None:
        super().__init__(pattern, times)
        self.after = after


class Held(Fault):
    """The request waits until it is released, and goes on then even if whoever sent it is gone.

    `reached` tells that it is there; `inside` counts those that are not answered yet.
    """

    def __init__(self, pattern: str) -> None:
        super().__init__(pattern)
        self.reached = threading.Event()
        self.released = threading.Event()
        self.inside = 0
        self._lock = threading.Lock()

    def is_empty(self) -> bool:
        return self.inside == 0

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        with self._lock:
            self.inside += 1
        self.reached.set()
        self.released.wait(60)
        try:
            yield
        finally:
            with self._lock:
                self.inside -= 1


class _Way(http.server.BaseHTTPRequestHandler):
    """Passes one client's requests on. What it passes it has read whole, so lengths are known."""

    protocol_version = "HTTP/1.1"
    server: FaultyRegistry

    def _pass(self) -> None:
        request = f"{self.command} {self.path}"
        fault = next((fault for fault in self.server.faults if fault.takes(request)), None)
        with fault.holding() if isinstance(fault, Held) else contextlib.nullcontext():
            self._pass_with(fault)

    def _pass_with(self, fault: Fault | None) -> None:
        is_download = self.command == "GET"
        body = self._body(fault.after if isinstance(fault, CutOff) and not is_download else None)
        if body is None:
            return
        if isinstance(fault, Refused):
            self._answer(fault.status, {"Content-Type": "application/json"}, fault.body)
            return
        way = http.client.HTTPConnection(self.server.behind, timeout=60)
        with contextlib.closing(way):
            way.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():  # Accept is there several times
                if name.lower() not in ("transfer-encoding", "content-length"):
                    way.putheader(name, value)
            way.putheader("Content-Length", str(len(body)))
            way.putheader("X-Forwarded-Proto", "https" if self.server.is_encrypted else "http")  # for its Location
            way.endheaders(body)
            answer = way.getresponse()
            content = answer.read()
            after = fault.after if isinstance(fault, CutOff) else None
            self._answer(answer.status, dict(answer.getheaders()), content, after)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _pass

    def _body(self, most: int | None) -> bytes | None:
        """The body of the request; None where the connection was cut in the middle of it."""
        content = b""
        for piece in self._pieces():
            content += piece
            if most is not None and len(content) > most:
                self._reset()
                return None
        return content

    def _pieces(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().partition(b";")[0], 16):  # no number where the client is gone
                yield self._exactly(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            piece = self._exactly(min(CHUNK, left))
            left -= len(piece)
            yield piece

    def _exactly(self, size: int) -> bytes:
        """So many bytes. Raises ConnectionError where the client is gone: half a body must not be passed on as a whole."""
        found = self.rfile.read(size)
        if len(found) < size:
            raise ConnectionError
        return found

    def _answer(self, status: int, headers: dict[str, str], content: bytes, cut_after: int | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length)
        self.end_headers()
        if cut_after is not None and len(content) > cut_after:
            self.wfile.write(content[:cut_after])
            self.wfile.flush()
            self._reset()
        elif self.command != "HEAD":
            self.wfile.write(content)

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def handle(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # a client that was killed, or that we cut off
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class FaultyRegistry(http.server.ThreadingHTTPServer):
    """`address` is what clients are told; `faults` may be changed at any time, the first that matches counts."""

    daemon_threads = True

    def __init__(self, behind: str, certificate: tuple[Path, Path] | None) -> None:
        super().__init__(("127.0.0.1", 0), _Way)
        self.behind = behind
        self.is_encrypted = certificate is not None
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.faults: list[Fault] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextlib.contextmanager
def faulty_registry(behind: str, certificate: tuple[Path, Path] | None = None) -> Iterator[FaultyRegistry]:
    """A way to the registry at `behind` (`host:port`, plain HTTP) that fails on demand.

    With a `certificate` and its key it speaks TLS.
    """
    with FaultyRegistry(behind, certificate) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield server
        finally:
            for fault in server.faults:
                if isinstance(fault, Held):
                    fault.released.set()
            server.shutdown()
