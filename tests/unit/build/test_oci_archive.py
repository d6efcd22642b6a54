# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives from elsewhere: what is in them is believed only as far as it fits together."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.oci_archive import (
    NAME_ANNOTATION,
    OciArchive,
    UnusableArchive,
)

LAYER = b"a layer"


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def document(value: Any) -> bytes:
    return json.dumps(value).encode()


CONFIG = document({"os": "linux"})
MANIFEST = document(
    {
        "schemaVersion": 2,
        "config": {"digest": digest(CONFIG), "size": len(CONFIG)},
        "layers": [{"digest": digest(LAYER), "size": len(LAYER)}],
    }
)
OWN_TAG = digest(MANIFEST).replace(":", "-") + ".sig"


def blob(content: bytes) -> tuple[str, bytes]:
    return f"blobs/{digest(content).replace(':', '/')}", content


def index(*digests: str) -> bytes:
    return document({"manifests": [{"digest": each} for each in digests]})


def whole(**more: bytes) -> dict[str, bytes]:
    return {"index.json": index(digest(MANIFEST)), **dict(map(blob, (CONFIG, LAYER, MANIFEST))), **more}


def archive(directory: Path, members: dict[str, bytes]) -> Path:
    path = directory / "archive"
    with tarfile.open(path, "w") as file:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return path


def signatures(tag: str, of: bytes = MANIFEST) -> dict[str, bytes]:
    entry = {"digest": digest(of), "annotations": {NAME_ANNOTATION: tag}}
    return {"imagemode-signatures.json": document({"manifests": [entry]})}


def test_a_whole_one_also_with_dots_before_its_names(tmp_path: Path) -> None:
    assert OciArchive.read(archive(tmp_path, whole())).image.digest == digest(MANIFEST)
    dotted = {f"./{name}": content for name, content in whole().items()}
    assert OciArchive.read(archive(tmp_path, dotted)).signatures == {}
    assert OciArchive.read(archive(tmp_path, whole(**signatures(OWN_TAG)))).signatures == {OWN_TAG: digest(MANIFEST)}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({**whole(), "index.json": b"{"}, "is not JSON"),
        ({**whole(), "index.json": b"[]"}, "is not a JSON object"),
        ({**whole(), "index.json": b"{}"}, "has 0 images"),
        ({**whole(), "index.json": document({"manifests": [{}]})}, "lacks what belongs there"),
        ({**whole(), "index.json": document({"manifests": ["x"]})}, "lacks what belongs there"),
        ({**whole(), "index.json": document({"manifests": 7})}, "lacks what belongs there"),
        ({**whole(), "index.json": index("sha256:../../index.json")}, "lacks blobs/sha256/../../index.json"),
        ({**whole(), "index.json": index(digest(b"absent"))}, "not copied as a whole"),
        ({**whole(), blob(MANIFEST)[0]: MANIFEST + b" "}, "has another digest"),
        ({**whole(), blob(LAYER)[0]: LAYER + b" "}, "a part of it"),
        ({name: content for name, content in whole().items() if content != CONFIG}, "a part of it"),
        ({**whole(), **dict([blob(b"[]")]), "index.json": index(digest(b"[]"))}, "not a JSON object"),
        (
            {
                **whole(),
                **dict([blob(MANIFEST.replace(b'"size": 7', b'"size": "x"'))]),
                "index.json": index(digest(MANIFEST.replace(b'"size": 7', b'"size": "x"'))),
            },
            "lacks what belongs there",
        ),
        (whole(**signatures("latest")), "'latest' among its signatures"),
        (whole(**signatures("sha256-" + "0" * 64 + ".sig")), "among its signatures"),
        (whole(**signatures(OWN_TAG, b"absent")), "not copied as a whole"),
        (
            whole(**{"imagemode-signatures.json": document({"manifests": [{"digest": "x"}]})}),
            "lacks what belongs there",
        ),
    ],
)
def test_what_does_not_fit_together(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    with pytest.raises(UnusableArchive, match=message):
        OciArchive.read(archive(tmp_path, members))
