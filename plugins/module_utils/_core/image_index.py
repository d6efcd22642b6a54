# SPDX-License-Identifier: GPL-3.0-or-later
"""An index over images of several platforms, to the byte: the same images make the same digest everywhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.input_key import KEY_LABEL, SHORT_LENGTH

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


class SamePlatform(ValueError):
    """Two of the images are for one platform. The message names both."""


@dataclass(frozen=True)
class PlatformImage:
    """One image: `size` of its manifest in bytes, `platform` as `os/arch[/variant]`, `key` its input key or None."""

    digest: str
    media_type: str
    size: int
    platform: str
    key: str | None = None

    def descriptor(self) -> dict[str, Any]:
        """The image as an index lists it."""
        names = ("os", "architecture", "variant")
        parts = dict(zip(names, self.platform.split("/")))
        found: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
            "platform": {"architecture": parts.pop("architecture", ""), **parts},
        }
        return {**found, "annotations": {KEY_LABEL: self.key}} if self.key else found


@dataclass(frozen=True)
class ImageIndex:
    """The images in order of platform. `annotations` are those of the index itself."""

    images: tuple[PlatformImage, ...]
    annotations: Mapping[str, str]

    @classmethod
    def over(cls, images: Sequence[PlatformImage], annotations: Mapping[str, str]) -> ImageIndex:
        """The index of these images, whatever their order. Raises SamePlatform."""
        by_platform: dict[str, PlatformImage] = {}
        for image in images:
            other = by_platform.setdefault(image.platform, image)
            if other is not image:
                raise SamePlatform(f"{other.digest} and {image.digest} are both for {image.platform}")
        ordered = tuple(by_platform[name] for name in sorted(by_platform))
        return cls(ordered, {**annotations, KEY_LABEL: _key(ordered, annotations)})

    @property
    def key(self) -> str:
        """64 hexadecimal digits over what is in the index, kept in its annotation."""
        return self.annotations[KEY_LABEL]

    @property
    def short_key(self) -> str:
        """The part of the key that is in the second tag."""
        return self.key[:SHORT_LENGTH]

    @property
    def content(self) -> bytes:
        """The index as it is pushed."""
        document = {
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "manifests": [image.descriptor() for image in self.images],
            "annotations": {name: self.annotations[name] for name in sorted(self.annotations)},
        }
        return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()

    @property
    def digest(self) -> str:
        """What the index is called once it is pushed."""
        return "sha256:" + hashlib.sha256(self.content).hexdigest()

    @property
    def platforms(self) -> dict[str, str]:
        """The digest of each platform's manifest."""
        return {image.platform: image.digest for image in self.images}


def _key(images: Sequence[PlatformImage], annotations: Mapping[str, str]) -> str:
    """The images and what is said about them: an index has no inputs of its own."""
    parts = [[[image.platform, image.digest] for image in images], sorted(annotations.items())]
    return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()
