# SPDX-License-Identifier: GPL-3.0-or-later
"""Serves a directory over https, to clients with a certificate only where that is wanted."""

from __future__ import annotations

import contextlib
import functools
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

from lab.authority import Authority


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_arguments: object) -> None:
        """A client that is turned away is no event."""


@contextlib.contextmanager
def served(directory: Path, authority: Authority, work: Path, clients: Authority | None = None) -> Iterator[str]:
    """The address, ``https://127.0.0.1:PORT``. ``clients`` must have issued what a client shows."""
    work.mkdir(exist_ok=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(work))
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients.certificate)
    with _Server(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(directory))) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"https://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
