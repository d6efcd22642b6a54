# SPDX-License-Identifier: GPL-3.0-or-later
"""Indexes to the byte: the same images, the same digest."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.resolved_image import ResolvedImage
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_index import (
    ImageIndex,
    PlatformImage,
    SamePlatform,
)

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
AMD = PlatformImage("sha256:" + "a" * 64, MANIFEST, 501, "linux/amd64", "1" * 64)
ARM = PlatformImage("sha256:" + "b" * 64, MANIFEST, 502, "linux/arm64/v8")
S390 = PlatformImage("sha256:" + "c" * 64, MANIFEST, 503, "linux/s390x")


def test_order_does_not_matter_and_everything_else_does() -> None:
    notes = {"b": "2", "a": "1"}
    same = {ImageIndex.over(images, notes).content for images in itertools.permutations((AMD, ARM, S390))}
    assert len(same) == 1
    assert ImageIndex.over((AMD, ARM, S390), dict(reversed(notes.items()))).content in same
    variants = [
        ImageIndex.over((AMD, ARM), notes),
        ImageIndex.over((AMD, ARM, S390), {"a": "1"}),
        ImageIndex.over((AMD, ARM, dataclasses.replace(S390, digest="sha256:" + "d" * 64)), notes),
    ]
    assert len({index.digest for index in variants} | {"sha256:" + hashlib.sha256(same.pop()).hexdigest()}) == 4
    assert len({index.key for index in variants}) == 3


def test_it_says_what_it_has() -> None:
    index = ImageIndex.over((ARM, AMD), {"note": "ümlaut"})
    document = json.loads(index.content)
    assert document["manifests"] == [
        {
            "mediaType": MANIFEST,
            "digest": AMD.digest,
            "size": 501,
            "platform": {"architecture": "amd64", "os": "linux"},
            "annotations": {"io.imagemode.input-key": "1" * 64},
        },
        {
            "mediaType": MANIFEST,
            "digest": ARM.digest,
            "size": 502,
            "platform": {"architecture": "arm64", "os": "linux", "variant": "v8"},
        },
    ]
    assert document["annotations"] == {"note": "ümlaut", "io.imagemode.input-key": index.key}
    parsed = ResolvedImage.parse(index.content)
    assert (parsed.digest, parsed.platforms) == (index.digest, index.platforms)


def test_one_image_for_each_platform() -> None:
    twin = dataclasses.replace(AMD, digest="sha256:" + "e" * 64)
    with pytest.raises(SamePlatform, match=f"{AMD.digest} and {twin.digest} are both for linux/amd64"):
        ImageIndex.over((AMD, ARM, twin), {})
