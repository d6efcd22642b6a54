# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry as skopeo sees it from a node: plain HTTP or TLS by configuration, Basic credentials, Go's error texts."""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import socket
import ssl
import tempfile
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

from lab.pull_error import ConnectionLost, PullError
from lab.registry_access import Access
from lab.simulators.image_reference import RegistryReference
from lab.trees import blob_path

MANIFEST_TYPES = ", ".join(
    (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
CHUNK = 1 << 16


class RegistryClient:
    """One connection to the registry of a reference. No time limits, since the real tools have none."""

    def __init__(self, reference: RegistryReference, access: Access) -> None:
        self.reference = reference
        self.access = access
        self.received = 0  # bytes of manifests and configs
        self.scheme = "http" if access.insecure else "https"
        self._connection = self._connect()

    def _connect(self) -> http.client.HTTPConnection:
        proxy = urllib.parse.urlsplit(self.access.proxy) if self.access.proxy else None
        through = (str(proxy.hostname), proxy.port or 80) if proxy else None
        connection: http.client.HTTPConnection
        if self.scheme == "http":
            connection = http.client.HTTPConnection(*(through or (self.reference.host,)))
        else:
            context = self._tls()
            connection = http.client.HTTPSConnection(*(through or (self.reference.host,)), context=context)
            if through:
                name, _separator, port = self.reference.host.partition(":")
                connection.set_tunnel(name, int(port or 443))
        setattr(connection, "_create_connection", self._dial)  # noqa: B010 (the one place where names are resolved)
        return connection

    def _dial(
        self, address: tuple[str, int], timeout: Any = None, source: tuple[str, int] | None = None
    ) -> socket.socket:
        """Connect, with the names of the node's /etc/hosts and no time limit."""
        name, port = address
        return socket.create_connection((self.access.addresses.get(name, name), port), None, source)

    def _tls(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.access.insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        for file in self.access.authorities:
            try:
                context.load_verify_locations(file)
            except ssl.SSLError:
                continue  # Go skips what is no certificate too
        if self.access.client is not None:
            context.load_cert_chain(*self.access.client)
        return context

    def manifest(self, wanted: str) -> tuple[bytes, str]:
        """A manifest or index, and its digest. Raises PullError."""
        name = self.reference.name
        response = self._get(f"/v2/{self.reference.path}/manifests/{wanted}", MANIFEST_TYPES)
        body = response.read()
        self.received += len(body)
        if response.status == 401:
            raise PullError(f"reading manifest {wanted} in {name}: authentication required")
        if response.status == 404:
            raise PullError(f"reading manifest {wanted} in {name}: manifest unknown")
        if response.status != 200:
            raise PullError(
                f"reading manifest {wanted} in {name}: received unexpected HTTP status: "
                f"{response.status} {http.client.responses.get(response.status, '')}"
            )
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if wanted.startswith("sha256:") and wanted != digest:
            raise PullError(f"Manifest does not match provided manifest digest {wanted}")
        return body, digest

    def blob(self, digest: str) -> bytes:
        """A small blob, such as an image's configuration."""
        response = self._get(f"/v2/{self.reference.path}/blobs/{digest}", "*/*")
        body = response.read()
        self.received += len(body)
        if response.status != 200:
            raise PullError(f"fetching blob: {http.client.responses.get(response.status, str(response.status))}")
        return body

    def layer(
        self, lab: str, digest: str, pace: float | None = None, on_bytes: Callable[[int], None] | None = None
    ) -> int:
        """Download a layer into the lab's blobs; returns the bytes that came over the wire. Raises ConnectionLost.

        ``pace``: at most so many bytes per second. ``on_bytes``: called with what has arrived, after each piece.
        """
        target = blob_path(lab, digest)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        path = f"/v2/{self.reference.path}/blobs/{digest}"
        total, size = hashlib.sha256(), 0
        handle, scratch = tempfile.mkstemp(prefix=".new-", dir=os.path.dirname(target))
        try:
            response = self._get(path, "*/*")
            expected = int(response.getheader("Content-Length") or -1)
            with os.fdopen(handle, "wb") as output:
                while chunk := response.read(CHUNK if pace is None else max(1, min(CHUNK, int(pace / 10)))):
                    total.update(chunk)
                    size += len(chunk)
                    output.write(chunk)
                    if pace is not None:
                        time.sleep(len(chunk) / pace)
                    if on_bytes is not None:
                        on_bytes(size)
            if response.status != 200 or (expected >= 0 and size != expected):
                raise ConnectionLost(f'unexpected EOF (Get "{self.scheme}://{self.reference.host}{path}")')
            if f"sha256:{total.hexdigest()}" != digest:
                raise PullError(f"Corrupted blob, expecting {digest}, got sha256:{total.hexdigest()}")
            os.replace(scratch, target)
        except (OSError, http.client.HTTPException) as error:
            raise ConnectionLost(
                f'unexpected EOF (while reconnecting: Get "{self.scheme}://{self.reference.host}{path}": {error})'
            ) from error
        finally:
            if os.path.exists(scratch):
                os.unlink(scratch)
        return size

    def _get(self, path: str, accept: str) -> http.client.HTTPResponse:
        response = self._send(path, accept)
        if self.scheme == "http" and response.status == 400 and b"HTTPS server" in response.read():
            # an insecure registry that speaks TLS is asked in TLS, without a look at its certificate
            self.scheme = "https"
            self._connection = self._connect()
            response = self._send(path, accept)
        return response

    def _send(self, path: str, accept: str) -> http.client.HTTPResponse:
        headers = {"Accept": accept, "User-Agent": "skopeo/1.22.0", "Host": self.reference.host}
        if self.access.authorization:
            headers["Authorization"] = self.access.authorization
        if self.access.proxy and self.scheme == "http":
            path = f"http://{self.reference.host}{path}"
        try:
            self._connection.request("GET", path, headers=headers)
            return self._connection.getresponse()
        except ssl.SSLCertVerificationError as error:
            raise PullError(f"{self._ping()}: tls: failed to verify certificate: x509: {_doubt(error)}") from error
        except ssl.SSLError as error:
            raise PullError(f"{self._ping()}: http: server gave HTTP response to HTTPS client") from error
        except OSError as error:
            raise PullError(f"{self._ping()}: {self._failed_dial(error)}") from error

    def _ping(self) -> str:
        host = self.reference.host
        return f'pinging container registry {host}: Get "{self.scheme}://{host}/v2/"'

    def _failed_dial(self, error: OSError) -> str:
        host, before = self.reference.host, ""
        if self.access.proxy:
            host, before = urllib.parse.urlsplit(self.access.proxy).netloc.rpartition("@")[2], "proxyconnect tcp: "
        if isinstance(error, socket.gaierror):
            return f"{before}dial tcp: lookup {host.split(':')[0]}: no such host"
        if str(error).startswith("Tunnel connection failed"):
            return str(error).partition(": ")[2].partition(" ")[2]
        texts = {
            errno.ECONNREFUSED: "connect: connection refused",
            errno.EHOSTUNREACH: "connect: no route to host",
            errno.ENETUNREACH: "connect: network is unreachable",
            errno.ECONNRESET: "read: connection reset by peer",
        }
        port = "" if ":" in host else (":80" if self.scheme == "http" else ":443")
        return f"{before}dial tcp {host}{port}: {texts.get(error.errno or 0, str(error))}"


def _doubt(error: ssl.SSLCertVerificationError) -> str:
    """What Go says about a certificate that OpenSSL does not accept."""
    if error.verify_code in (62, 64):
        return "certificate is not valid for the name that was asked for"
    if error.verify_code in (9, 10):
        return "certificate has expired or is not yet valid"
    return "certificate signed by unknown authority"


def choose_platform(index: dict[str, Any], arch: str) -> str:
    """Digest of the manifest for an architecture in a manifest list. Raises PullError."""
    for entry in index["manifests"]:
        platform = entry.get("platform", {})
        if platform.get("architecture") == arch and platform.get("os", "linux") == "linux":
            return str(entry["digest"])
    raise PullError(
        "choosing an image from manifest list: no image found in image index for architecture "
        f'"{arch}", variant "", OS "linux"'
    )
