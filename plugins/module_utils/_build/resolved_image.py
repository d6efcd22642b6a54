# SPDX-License-Identifier: GPL-3.0-or-later
"""What a registry holds under a reference: a manifest or an index, its digest and those of its platforms."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass
from typing import Any

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


class UnknownManifest(ValueError):
    """The registry answered with something that is neither an image manifest nor an index."""


def native_platform() -> str:
    """The platform of this machine in the words of image indexes, such as `linux/amd64`."""
    machine = platform.machine()
    return f"linux/{_GO_ARCHITECTURES.get(machine, machine)}"


@dataclass(frozen=True)
class ImageLayer:
    """A compressed layer; `size` in bytes."""

    digest: str
    size: int


@dataclass(frozen=True)
class ResolvedImage:
    """`digest` is what the reference stands for; `platforms` maps `os/arch[/variant]` to manifest digests.

    A single manifest does not name its platform: `platforms` is empty then until its configuration has been read.
    `manifests` has every manifest digest of an index, also of two with the same platform.
    """

    digest: str
    media_type: str
    platforms: dict[str, str]
    manifests: tuple[str, ...] = ()
    layers: tuple[ImageLayer, ...] = ()
    config_size: int = 0

    @classmethod
    def parse(cls, raw: bytes) -> ResolvedImage:
        """Parse the bytes of a manifest as the registry sent them. Raises UnknownManifest."""
        try:
            document = json.loads(raw)
        except ValueError as error:
            raise UnknownManifest(f"its manifest is not JSON: {error}") from error
        if not isinstance(document, dict):
            raise UnknownManifest("its manifest is not a JSON object")
        digest = "sha256:" + hashlib.sha256(raw).hexdigest()
        if isinstance(document.get("manifests"), list):
            return cls._index(digest, document)
        if document.get("schemaVersion") == 1:
            raise UnknownManifest(
                "its manifest is of Docker schema 1, which has no usable digest. Push the image again"
            )
        if not isinstance(document.get("layers"), list) or not isinstance(document.get("config"), dict):
            raise UnknownManifest("its manifest has neither layers nor manifests")
        layers = tuple(ImageLayer(str(layer["digest"]), int(layer["size"])) for layer in document["layers"])
        media_type = str(document.get("mediaType") or "application/vnd.oci.image.manifest.v1+json")
        return cls(digest, media_type, {}, (), layers, int(document["config"].get("size", 0)))

    @classmethod
    def _index(cls, digest: str, document: dict[str, Any]) -> ResolvedImage:
        platforms: dict[str, str] = {}
        manifests = []
        for entry in document["manifests"]:
            where = entry.get("platform") or {}
            parts = [where.get("os"), where.get("architecture"), where.get("variant")]
            if where.get("os") in (None, "unknown") or where.get("architecture") in (None, "unknown"):
                continue  # attestations and signatures are listed as manifests of no platform
            platforms.setdefault("/".join(str(part) for part in parts if part), str(entry["digest"]))
            manifests.append(str(entry["digest"]))
        return cls(digest, str(document.get("mediaType") or INDEX_TYPES[0]), platforms, tuple(manifests))

    @property
    def is_index(self) -> bool:
        """Whether it stands for several manifests."""
        return self.media_type in INDEX_TYPES

    @property
    def expected_digests(self) -> tuple[str, ...]:
        """Every digest that a host which runs this image may report: the reference's own, and each platform's."""
        return tuple(dict.fromkeys((self.digest, *self.manifests, *self.platforms.values())))
