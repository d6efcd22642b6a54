# SPDX-License-Identifier: GPL-3.0-or-later
"""Small images in a registry, made without an engine: single ones, and indexes of several platforms."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.registry import Registry
from lab.signing import Upload

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


def image(
    registry: Registry,
    name: str,
    tag: str,
    content: bytes = b"hello",
    *,
    architecture: str = "amd64",
    labels: Mapping[str, str] | None = None,
    created: str = "2026-11-01T08:00:00Z",
    docker: bool = False,
) -> str:
    """Push an image with one layer; its digest. ``docker``: in Docker's own manifest format."""
    upload = Upload(registry, name)
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        member = tarfile.TarInfo("content")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    config = {
        "architecture": architecture,
        "os": "linux",
        "created": created,
        "config": {"Labels": dict(labels or {})},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(plain.getvalue()).hexdigest()}"]},
    }
    kinds = ("vnd.oci.image.manifest.v1+json", "vnd.oci.image.config.v1+json", "vnd.oci.image.layer.v1.tar+gzip")
    if docker:
        kinds = (
            "vnd.docker.distribution.manifest.v2+json",
            "vnd.docker.container.image.v1+json",
            "vnd.docker.image.rootfs.diff.tar.gzip",
        )
    upload.manifest(
        tag,
        {
            "schemaVersion": 2,
            "mediaType": f"application/{kinds[0]}",
            "config": {"mediaType": f"application/{kinds[1]}", **upload.blob(json.dumps(config).encode())},
            "layers": [
                {"mediaType": f"application/{kinds[2]}", **upload.blob(gzip.compress(plain.getvalue(), mtime=0))}
            ],
        },
    )
    return digest_of(registry, name, tag)


def index(registry: Registry, name: str, tag: str, digests: Sequence[str], **annotations: str) -> str:
    """Push an index over images of the repository, with their own platforms; its digest."""
    upload = Upload(registry, name)
    entries = []
    for digest in digests:
        body = upload.read(digest)
        manifest = json.loads(body)
        with registry.request("GET", f"/v2/{name}/blobs/{manifest['config']['digest']}") as answer:
            config = json.load(answer)
        entries.append(
            {
                "mediaType": manifest["mediaType"],
                "digest": digest,
                "size": len(body),
                "platform": {"os": config["os"], "architecture": config["architecture"]},
            }
        )
    document: dict[str, Any] = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}
    upload.manifest(tag, {**document, "annotations": annotations} if annotations else document)
    return digest_of(registry, name, tag)


def digest_of(registry: Registry, name: str, tag: str) -> str:
    """The digest under a tag that is there."""
    digest = registry.digest(name, tag)
    assert digest is not None, f"{name}:{tag} is not in {registry.address}"
    return digest


def requests_since(registry: Registry, offset: int) -> list[str]:
    """What was asked of the registry since its log was so long: `METHOD PATH`."""
    text = log_of(registry).read_text(errors="replace")[offset:]
    asked = [line.split('"')[1].rpartition(" ")[0] for line in text.splitlines() if line.startswith("127.0.0.1 ")]
    return [request for request in asked if request]


def log_of(registry: Registry) -> Path:
    """The log of the registry."""
    return registry.directory / "registry.log"
