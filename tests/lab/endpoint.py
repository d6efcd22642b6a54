# SPDX-License-Identifier: GPL-3.0-or-later
"""An HTTP service that a node seems to run: it shares the machine's loopback with all nodes, and answers only while its node is up.

with Endpoint.start(node) as endpoint:
    endpoint.answer("/healthz", "ok")
    endpoint.answer("/status", {"state": "starting"}, status=503)
    endpoint.answer_by("/version", lambda: (200, json.dumps(...).encode()))
"""

from __future__ import annotations

import json
import ssl
import tempfile
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.authority import Authority
    from lab.node import Node

Answer = tuple[int, bytes]


class Endpoint:
    """A running service. `asked` has the path of every request, in order."""

    def __init__(self, server: ThreadingHTTPServer, node: Node | None, scheme: str) -> None:
        self._server = server
        self._node = node
        self._answers: dict[str, Callable[[], Answer]] = {}
        self._scheme = scheme
        self.asked: list[str] = []

    @classmethod
    def start(cls, node: Node | None = None, authority: Authority | None = None) -> Endpoint:
        """Serve on a free port of 127.0.0.1, with TLS if there is an authority to vouch for it."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        server.daemon_threads = True
        if authority is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            with tempfile.TemporaryDirectory(prefix="lab-endpoint-") as directory:
                context.load_cert_chain(*authority.issue(Path(directory)))
            server.socket = context.wrap_socket(server.socket, server_side=True)
        endpoint = cls(server, node, "http" if authority is None else "https")
        server.endpoint = endpoint  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return endpoint

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(self, *_unused: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def url(self, path: str = "/") -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}{path}"

    def answer(self, path: str, body: Any = "", status: int = 200) -> None:
        """From now on this, as JSON unless it is text."""
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self._answers[path] = lambda: (status, data)

    def answer_by(self, path: str, answer: Callable[[], Answer]) -> None:
        """From now on whatever this says at the time of the request."""
        self._answers[path] = answer

    def answered(self, path: str) -> Answer | None:
        """What to answer now; None while the node is not there to do so."""
        self.asked.append(path)
        if self._node is not None and not self._node.is_up():
            return None
        answer = self._answers.get(path.partition("?")[0])
        return (404, b"not found\n") if answer is None else answer()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answer = self.server.endpoint.answered(self.path)  # type: ignore[attr-defined]
        if answer is None:
            self.close_connection = True
            return
        status, body = answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if 300 <= status < 400:
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_unused: object) -> None:
        """Say nothing: the tests ask `asked`."""
