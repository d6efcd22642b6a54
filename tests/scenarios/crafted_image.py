# SPDX-License-Identifier: GPL-3.0-or-later
"""Images made member by member, without an engine: every owner, mode and oddity is the test's choice."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.registry import Registry

Member = tuple[tarfile.TarInfo, bytes]


def directory(name: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> Member:
    return _member(name, tarfile.DIRTYPE, mode, uid, gid), b""


def file(name: str, content: bytes = b"x\n", mode: int = 0o644, uid: int = 0, gid: int = 0) -> Member:
    info = _member(name, tarfile.REGTYPE, mode, uid, gid)
    info.size = len(content)
    return info, content


def link(name: str, target: str) -> Member:
    return _member(name, tarfile.SYMTYPE, 0o777, 0, 0, target), b""


def hard_link(name: str, origin: Member) -> Member:
    """Engines apply what a link's header says to the file itself, so archivers repeat what the file's says."""
    of = origin[0]
    return _member(name, tarfile.LNKTYPE, of.mode, of.uid, of.gid, of.name), b""


def pipe(name: str) -> Member:
    return _member(name, tarfile.FIFOTYPE, 0o644, 0, 0), b""


def _member(name: str, kind: bytes, mode: int, uid: int, gid: int, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.uid, info.gid, info.linkname = kind, mode, uid, gid, target
    return info


def push_image(
    registry: Registry,
    name: str,
    tag: str,
    *layers: Sequence[Member],
    labels: Mapping[str, str] | None = None,
    architecture: str = "amd64",
) -> str:
    """Push an image of these layers, the lowest first; its digest."""
    with tempfile.TemporaryDirectory(prefix="crafted-") as scratch:
        work = Path(scratch)
        blobs, diff_ids = [], []
        for layer in layers:
            archive = _archive(layer)
            diff_ids.append("sha256:" + hashlib.sha256(archive).hexdigest())
            blobs.append(_blob(work, "application/vnd.oci.image.layer.v1.tar+gzip", gzip.compress(archive, mtime=0)))
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Labels": dict(labels or {})},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [{"created_by": "a test"} for _layer in layers],  # engines count them against the layers
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _blob(work, "application/vnd.oci.image.config.v1+json", json.dumps(config).encode()),
            "layers": blobs,
        }
        (work / "manifest.json").write_text(json.dumps(manifest))
        (work / "version").write_text("Directory Transport Version: 1.1\n")
        target = f"docker://{registry.address}/{name}:{tag}"
        command = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"dir:{work}", target]
        subprocess.run(command, check=True, capture_output=True)
    digest = registry.digest(name, tag)
    assert digest is not None
    return digest


def _archive(members: Sequence[Member]) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return output.getvalue()


def _blob(work: Path, media_type: str, data: bytes) -> dict[str, str | int]:
    digest = hashlib.sha256(data).hexdigest()
    (work / digest).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}
