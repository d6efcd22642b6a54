# SPDX-License-Identifier: GPL-3.0-or-later
"""A relay before a server on loopback: it counts what passes, and breaks connections on request."""

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
    """A running relay. ``address`` takes the place of the server's.

    ``received`` and ``sent`` are bytes from clients to the server and back, headers included. As long as ``breaks`` is
    not 0, a connection on which a client has sent more than ``break_after`` bytes is reset, and ``breaks`` goes down.
    """

    address: str
    received: int = 0
    sent: int = 0
    breaks: int = 0
    break_after: int = 0
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def count(self, received: int, sent: int) -> None:
        """Add to what has passed."""
        with self.lock:
            self.received += received
            self.sent += sent

    def shall_break(self, sent_by_client: int) -> bool:
        """Whether a connection ends here; counts as one of ``breaks``."""
        with self.lock:
            if self.breaks == 0 or sent_by_client <= self.break_after:
                return False
            self.breaks -= 1
            return True


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
    sent_by_client = 0
    while True:
        ready, _write, _error = select.select([client, server], [], [])
        for source in ready:
            data = source.recv(CHUNK)
            if not data:
                return
            if source is server:
                client.sendall(data)
                relay.count(0, len(data))
                continue
            sent_by_client += len(data)
            if relay.shall_break(sent_by_client):
                # closing with nothing lingering is a reset, as of a server that dies
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                return
            server.sendall(data)
            relay.count(len(data), 0)
