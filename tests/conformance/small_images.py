# SPDX-License-Identifier: GPL-3.0-or-later
"""Images pushed without a build tool, so that a test decides every byte: layers, labels, manifests, re-pushes, lists."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import io
import json
import ssl
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

OCI = "application/vnd.oci.image"
KERNEL = "usr/lib/modules/6.12.0/vmlinuz"
BOOTABLE = {"containers.bootc": "1", "ostree.bootable": "true"}
CREATED = "2026-11-21T06:04:53Z"


def layer(files: Mapping[str, str | bytes]) -> bytes:
    """A compressed layer. A value that begins with ``-> `` makes a symlink; a name ending in / a directory."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name.rstrip("/"))
            member.mode = 0o755 if name.startswith(("usr/bin/", "usr/sbin/")) or name.endswith("/") else 0o644
            if name.endswith("/"):
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
                continue
            data = content.encode() if isinstance(content, str) else content
            if data.startswith(b"-> "):
                member.type, member.linkname = tarfile.SYMTYPE, data[3:].decode()
                archive.addfile(member)
                continue
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return gzip.compress(output.getvalue(), compresslevel=1, mtime=0)


def userland(version: str, *, kernel: bool = True, files: Mapping[str, str | bytes] | None = None) -> bytes:
    """The layer that makes a host: busybox, a kernel, an /etc."""
    content: dict[str, str | bytes] = {
        "usr/bin/busybox": Path("/bin/busybox").read_bytes(),
        "bin": "-> usr/bin",
        "root": "-> var/roothome",
        "var/": "",
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
        "etc/containers/policy.json": '{"default": [{"type": "insecureAcceptAnything"}]}\n',
        "usr/share/lab/version": f"{version}\n",
    }
    for applet in (
        "sh",
        "cat",
        "echo",
        "sleep",
        "timeout",
        "mv",
        "rm",
        "ln",
        "mkdir",
        "head",
        "ls",
        "kill",
        "test",
        "cp",
        "base64",
        "mkfifo",
    ):
        content[f"usr/bin/{applet}"] = "-> busybox"
    if kernel:
        content[KERNEL] = "lab kernel\n"
    return layer({**content, **(files or {})})


class Pusher:
    """Pushes to one repository of a registry. ``address`` is ``127.0.0.1:PORT``; with an ``authority``, over TLS."""

    def __init__(
        self,
        address: str,
        name: str = "os",
        credentials: tuple[str, str] | None = None,
        authority: Path | None = None,
    ) -> None:
        self.address = address
        self.name = name
        self.headers = {}
        if credentials:
            self.headers["Authorization"] = "Basic " + base64.b64encode(":".join(credentials).encode()).decode()
        self.connection = http.client.HTTPConnection(address, timeout=30)
        if authority is not None:
            context = ssl.create_default_context(cafile=str(authority))
            self.connection = http.client.HTTPSConnection(address, timeout=30, context=context)

    def image(
        self,
        tag: str,
        layers: Sequence[bytes],
        *,
        version: str = "1.0",
        labels: Mapping[str, str] | None = None,
        arch: str = "amd64",
        created: str = CREATED,
        annotations: Mapping[str, str] | None = None,
    ) -> str:
        """Push and tag an image whose first layer is its ostree part; returns the manifest's digest."""
        diff_ids = [f"sha256:{hashlib.sha256(gzip.decompress(blob)).hexdigest()}" for blob in layers]
        wanted = BOOTABLE if labels is None else labels
        all_labels = {
            "org.opencontainers.image.version": version,
            "ostree.final-diffid": diff_ids[0],
            **wanted,
        }
        config = json.dumps(
            {
                "architecture": arch,
                "os": "linux",
                "created": created,
                "config": {"Labels": all_labels},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
            }
        ).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": self._blob(config, "config.v1+json"),
            "layers": [self._blob(blob, "layer.v1.tar+gzip") for blob in layers],
            "annotations": dict(annotations or {}),
        }
        return self.manifest(tag, manifest)

    def index(self, tag: str, digests: Mapping[str, str]) -> str:
        """Push a manifest list: architecture -> digest of an image pushed before."""
        manifests = [
            {
                "mediaType": f"{OCI}.manifest.v1+json",
                "digest": digest,
                "size": 1,
                "platform": {"architecture": arch, "os": "linux"},
            }
            for arch, digest in digests.items()
        ]
        for entry in manifests:
            entry["size"] = len(self._request("GET", f"manifests/{entry['digest']}")[1])
        return self.manifest(tag, {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": manifests})

    def manifest(self, tag: str, manifest: Mapping[str, Any]) -> str:
        body = json.dumps(manifest).encode()
        self._request("PUT", f"manifests/{tag}", body, str(manifest["mediaType"]))
        return f"sha256:{hashlib.sha256(body).hexdigest()}"

    def retag(self, source: str, tag: str) -> None:
        """Let ``tag`` point to what ``source`` points to."""
        _unused, body = self._request("GET", f"manifests/{source}")
        self._request("PUT", f"manifests/{tag}", body, json.loads(body)["mediaType"])

    def _blob(self, content: bytes, kind: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        headers, _unused = self._request("POST", "blobs/uploads/")
        location = headers["Location"].split(self.address, 1)[-1]
        joiner = "&" if "?" in location else "?"
        self._request("PUT", f"{location}{joiner}digest={digest}", content, "application/octet-stream")
        return {"mediaType": f"{OCI}.{kind}", "digest": digest, "size": len(content)}

    def _request(
        self, method: str, path: str, body: bytes | None = None, content_type: str | None = None
    ) -> tuple[Mapping[str, str], bytes]:
        url = path if path.startswith("/") else f"/v2/{self.name}/{path}"
        headers = {**self.headers, "Accept": f"{OCI}.manifest.v1+json, {OCI}.index.v1+json"}
        if content_type:
            headers["Content-Type"] = content_type
        self.connection.request(method, url, body=body, headers=headers)
        response = self.connection.getresponse()
        content = response.read()
        if response.status >= 300:
            raise RuntimeError(f"{method} {url}: {response.status} {content!r}")
        return dict(response.getheaders()), content
