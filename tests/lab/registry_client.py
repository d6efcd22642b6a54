# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry as skopeo sees it from a node: plain HTTP or TLS by configuration, Basic credentials, Go's error texts."""

from __future__ import annotations

import base64
import errno
import hashlib
import http.client
import json
import os
import socket
import ssl
import tempfile
from typing import Any

from lab.simulators import toml
from lab.simulators.host import Host
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
AUTH_FILES = ("/run/ostree/auth.json", "/etc/ostree/auth.json", "/usr/lib/ostree/auth.json")
CHUNK = 1 << 16


class PullError(Exception):
    """The image cannot be had. ``str()`` is what containers/image says."""


class ConnectionLost(PullError):
    """The registry went away in the middle of a layer."""


class Access:
    """How one node reaches one registry: scheme and credentials, read from the node's own files."""

    def __init__(self, *, insecure: bool, authorization: str | None) -> None:
        self.insecure = insecure
        self.authorization = authorization

    @classmethod
    def of_node(cls, host: Host, reference: RegistryReference) -> Access:
        """Raises PullError for an auth file that is no JSON."""
        return cls(insecure=_is_insecure(host, reference), authorization=_authorization(host, reference))


def _authorization(host: Host, reference: RegistryReference) -> str | None:
    """The credentials in the first auth file that exists; nothing else is ever consulted (bootc 1.16.9, globals.rs)."""
    for path in AUTH_FILES:
        content = host.read(path)
        if content is None:
            continue
        try:
            auths = json.loads(content)["auths"]
        except ValueError as error:
            text = content.decode(errors="replace").lstrip()
            at = text[1:2] if text.startswith("{") else text[:1]
            raise PullError(
                'getting username and password: reading JSON file "/proc/self/fd/100": unmarshaling JSON at '
                f"\"/proc/self/fd/100\": invalid character '{at}' looking for beginning of "
                f"{'object key string' if text.startswith('{') else 'value'}"
            ) from error
        except (KeyError, TypeError):
            return None
        for key in _scopes(reference):
            if key in auths and auths[key].get("auth"):
                return f"Basic {auths[key]['auth']}"
        return None
    return None


def _scopes(reference: RegistryReference) -> list[str]:
    """Keys of an auth file that apply, most specific first: host/path/name, host/path, host."""
    parts = reference.name.split("/")
    return ["/".join(parts[:length]) for length in range(len(parts), 0, -1)]


def _is_insecure(host: Host, reference: RegistryReference) -> bool:
    """Whether registries.conf or a file in registries.conf.d allows plain HTTP; the longest matching prefix decides."""
    chosen, insecure = "", False
    for content in _registry_files(host):
        try:
            registries = toml.parse(content).get("registry", [])
        except toml.TomlError as error:
            raise PullError(f"loading registries configuration: toml: {error}") from error
        for entry in registries:
            prefix = str(entry.get("prefix") or entry.get("location", ""))
            if _matches(reference.name, prefix) and len(prefix) >= len(chosen):
                chosen, insecure = prefix, bool(entry.get("insecure", False))
    return insecure


def _registry_files(host: Host) -> list[bytes]:
    found = [host.read("/etc/containers/registries.conf")]
    directory = host.resolve("/etc/containers/registries.conf.d")
    if directory is not None and os.path.isdir(directory):
        for name in sorted(os.listdir(directory)):
            if name.endswith(".conf"):
                found.append(host.read(f"/etc/containers/registries.conf.d/{name}"))
    return [content for content in found if content is not None]


def _matches(name: str, prefix: str) -> bool:
    if prefix.startswith("*."):
        return name.split("/")[0].split(":")[0].endswith(prefix[1:])
    return bool(prefix) and (name == prefix or (name.startswith(prefix) and name[len(prefix)] in ":/@"))


class RegistryClient:
    """One connection to the registry of a reference. No time limits, since the real tools have none."""

    def __init__(self, reference: RegistryReference, access: Access) -> None:
        self.reference = reference
        self.access = access
        self.received = 0  # bytes of manifests and configs
        self.scheme = "http" if access.insecure else "https"
        self._connection = self._connect()

    def _connect(self) -> http.client.HTTPConnection:
        if self.access.insecure:
            return http.client.HTTPConnection(self.reference.host)
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(self.reference.host, context=context)

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

    def layer(self, lab: str, digest: str) -> int:
        """Download a layer into the lab's blobs; returns the bytes that came over the wire. Raises ConnectionLost."""
        target = blob_path(lab, digest)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        path = f"/v2/{self.reference.path}/blobs/{digest}"
        total, size = hashlib.sha256(), 0
        handle, scratch = tempfile.mkstemp(prefix=".new-", dir=os.path.dirname(target))
        try:
            response = self._get(path, "*/*")
            expected = int(response.getheader("Content-Length") or -1)
            with os.fdopen(handle, "wb") as output:
                while chunk := response.read(CHUNK):
                    total.update(chunk)
                    size += len(chunk)
                    output.write(chunk)
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
        headers = {"Accept": accept, "User-Agent": "skopeo/1.22.0"}
        if self.access.authorization:
            headers["Authorization"] = self.access.authorization
        try:
            self._connection.request("GET", path, headers=headers)
            return self._connection.getresponse()
        except ssl.SSLCertVerificationError as error:
            raise PullError(
                f"{self._ping()}: tls: failed to verify certificate: x509: certificate signed by unknown authority"
            ) from error
        except ssl.SSLError as error:
            raise PullError(f"{self._ping()}: http: server gave HTTP response to HTTPS client") from error
        except OSError as error:
            raise PullError(f"{self._ping()}: {self._dial(error)}") from error

    def _ping(self) -> str:
        host = self.reference.host
        return f'pinging container registry {host}: Get "{self.scheme}://{host}/v2/"'

    def _dial(self, error: OSError) -> str:
        host = self.reference.host
        if isinstance(error, socket.gaierror):
            return f"dial tcp: lookup {host.split(':')[0]}: no such host"
        texts = {
            errno.ECONNREFUSED: "connect: connection refused",
            errno.EHOSTUNREACH: "connect: no route to host",
            errno.ENETUNREACH: "connect: network is unreachable",
            errno.ECONNRESET: "read: connection reset by peer",
        }
        port = "" if ":" in host else (":80" if self.access.insecure else ":443")
        return f"dial tcp {host}{port}: {texts.get(error.errno or 0, str(error))}"


def basic(username: str, password: str) -> str:
    """The Authorization header for a user name and a password."""
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


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
