# SPDX-License-Identifier: GPL-3.0-or-later
"""A relay before a server on loopback that counts what passes: the bytes of a push as the network sees them."""

from __future__ import annotations

import contextlib
import dataclasses
import select
import socket
import socketserver
import threading
from collections.abc import Iterator

CHUNK = 65536


@dataclasses.dataclass
class Relay:
    """A running relay. ``address`` takes the place of the server's; ``received`` is what clients sent, headers included."""

    address: str
    received: int = 0
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def count(self, received: int) -> None:
        """Add to what clients sent."""
        with self.lock:
            self.received += received


@contextlib.contextmanager
def relaying(target: str) -> Iterator[Relay]:
    """A relay to ``HOST:PORT`` for as long as the block runs."""
    host, _colon, port = target.rpartition(":")

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port))) as server:
                _pass_on(self.request, server, relay)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 64

    with Server(("127.0.0.1", 0), Handler) as server:
        relay = Relay(f"127.0.0.1:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield relay
        finally:
            server.shutdown()


def _pass_on(client: socket.socket, server: socket.socket, relay: Relay) -> None:
    other = {client: server, server: client}
    while True:
        ready, _write, _error = select.select([client, server], [], [])
        for source in ready:
            data = source.recv(CHUNK)
            if not data:
                return
            if source is client:
                relay.count(len(data))
            other[source].sendall(data)
