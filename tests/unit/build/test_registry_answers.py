# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests, indexes, and what an engine's output says about local storage."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.engine import (
    BuildCall,
    Engine,
    EngineName,
    install_command,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.layer_ledger import LayerLedger, StorageTrace
from ansible_collections.imagemode.nodes.plugins.module_utils._build.platform_base import _seconds
from ansible_collections.imagemode.nodes.plugins.module_utils._build.resolved_image import (
    ImageLayer,
    ResolvedImage,
    UnknownManifest,
)

ONE, TWO, THREE = ("sha256:" + digit * 64 for digit in "123")
MANIFEST: dict[str, Any] = {
    "schemaVersion": 2,
    "config": {"digest": ONE, "size": 7},
    "layers": [{"digest": TWO, "size": 5}],
}
INDEX: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.index.v1+json",
    "manifests": [
        {"digest": ONE, "platform": {"os": "linux", "architecture": "amd64"}},
        {"digest": TWO, "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
        {"digest": THREE, "platform": {"os": "unknown", "architecture": "unknown"}},
    ],
}


def test_a_manifest() -> None:
    raw = json.dumps(MANIFEST).encode()
    image = ResolvedImage.parse(raw)
    assert image.digest == "sha256:" + hashlib.sha256(raw).hexdigest()
    assert (image.is_index, image.platforms, image.config_size) == (False, {}, 7)
    assert image.layers == (ImageLayer(TWO, 5),)
    assert image.expected_digests == (image.digest,)


def test_an_index_leaves_out_attestations() -> None:
    image = ResolvedImage.parse(json.dumps(INDEX).encode())
    assert image.is_index
    assert image.platforms == {"linux/amd64": ONE, "linux/arm64/v8": TWO}
    assert image.expected_digests == (image.digest, ONE, TWO)


def test_two_manifests_of_one_platform_are_both_expected() -> None:
    twice = {**INDEX, "manifests": [INDEX["manifests"][0], {**INDEX["manifests"][0], "digest": THREE}]}
    image = ResolvedImage.parse(json.dumps(twice).encode())
    assert image.platforms == {"linux/amd64": ONE}
    assert image.expected_digests == (image.digest, ONE, THREE)


@pytest.mark.parametrize(
    "raw", [b"<html>", b"[]", b'{"schemaVersion": 1, "fsLayers": []}', b'{"schemaVersion": 2, "blobs": []}']
)
def test_what_is_no_image_is_refused(raw: bytes) -> None:
    with pytest.raises(UnknownManifest):
        ResolvedImage.parse(raw)


@pytest.mark.parametrize(
    ("created", "seconds"),
    [
        ("2023-11-14T22:13:20Z", 1_700_000_000),
        ("2023-11-14T22:13:20.123456789Z", 1_700_000_000),
        ("2023-11-14T23:13:20+01:00", 1_700_000_000),
        ("0001-01-01T00:00:00Z", 0),
        ("yesterday", 0),
        (None, 0),
    ],
)
def test_times_of_creation(created: str | None, seconds: int) -> None:
    assert _seconds(created) == seconds


@pytest.mark.parametrize(
    ("os_release", "command"),
    [
        ("ID=debian\n", "sudo apt-get install buildah skopeo"),
        ('ID=ubuntu\nID_LIKE="debian"\n', "sudo apt-get install buildah skopeo"),
        ('ID="rhel"\nID_LIKE="fedora"\n', "sudo dnf install buildah skopeo"),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"\n', "sudo zypper install buildah skopeo"),
        (None, "sudo dnf install buildah skopeo"),
    ],
)
def test_how_to_install_what_is_missing(tmp_path: Path, os_release: str | None, command: str) -> None:
    if os_release is not None:
        (tmp_path / "os-release").write_text(os_release)
    assert install_command(["buildah", "skopeo"], tmp_path / "os-release") == command


# Recorded with buildah 1.28.2: ids shortened by the engine itself.
FIRST_BUILD = """\
STEP 1/3: FROM r.example.com/os@sha256:36ae
Trying to pull r.example.com/os@sha256:36ae...
STEP 2/3: RUN a
--> c500e0affa6
STEP 3/3: RUN b
--> f7e0b51c9db
COMMIT localhost/x:1
--> 9e9879ae739
Successfully tagged localhost/x:1
9e9879ae7391de164885497b56a36c6ed3be25b95073c1da374d38f07d4218a0
"""
SECOND_BUILD = """\
STEP 1/3: FROM r.example.com/os@sha256:36ae
STEP 2/3: RUN a
--> Using cache c500e0affa6962bf129b51a7fe87ece1f7fe6cd9c51ccec54c11feac5bc0b84e
--> c500e0affa6
STEP 3/3: RUN c
--> b822a4440e7
COMMIT localhost/x:2
--> 980dc9e89bb
Successfully tagged localhost/x:2
"""


def _trace(output: str) -> StorageTrace:
    trace = StorageTrace()
    for line in output.splitlines():
        trace.read(line)
    return trace


def test_the_output_tells_what_a_build_left_in_storage() -> None:
    first = _trace(FIRST_BUILD)
    assert (first.created, first.reused, first.pulled) == (
        ["c500e0affa6", "f7e0b51c9db"],
        [],
        ["r.example.com/os@sha256:36ae"],
    )
    second = _trace(SECOND_BUILD)
    assert second.created == ["b822a4440e7"]
    assert second.reused == ["c500e0affa6962bf129b51a7fe87ece1f7fe6cd9c51ccec54c11feac5bc0b84e"]


def test_the_ledger_removes_newest_first_and_keeps_what_it_could_not_remove(tmp_path: Path) -> None:
    ledger = LayerLedger(tmp_path / "layers.json")
    ledger.remember(_trace(FIRST_BUILD), ["localhost/x:1"])
    ledger.remember(_trace(SECOND_BUILD), ["localhost/x:2"])
    asked: list[str] = []

    def remove(entry: str) -> bool:
        asked.append(entry)
        return entry != "f7e0b51c9db"

    ledger.prune(lambda entry: entry in ("c500e0affa6", "b822a4440e7", "localhost/x:2"), remove)
    assert asked == ["localhost/x:1", "f7e0b51c9db", "r.example.com/os@sha256:36ae", "f7e0b51c9db"]
    assert ledger.entries() == ["c500e0affa6", "f7e0b51c9db", "b822a4440e7", "localhost/x:2"]


def test_a_damaged_ledger_is_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "layers.json").write_text("{")
    assert LayerLedger(tmp_path / "layers.json").entries() == []


def test_the_command_that_builds() -> None:
    call = BuildCall(
        containerfile=Path("/w/Containerfile"),
        context=Path("/c"),
        ignore_file=Path("/w/no-ignore"),
        id_file=Path("/w/image-id"),
        build_args={"B": "2", "A": "1 $x; y"},
        tags=("t:1",),
        timestamp=5,
        isolation="chroot",
        use_cache=False,
        registry_options=("--authfile=/a", "--tls-verify=false"),
        annotations={"n": "v"},
    )
    assert Engine(EngineName.PODMAN, "/usr/bin/podman").build_argv(call) == [
        *("/usr/bin/podman", "build", "--layers", "--force-rm", "--timestamp=5", "--identity-label=false"),
        *("--no-cache", "--isolation=chroot", "--authfile=/a", "--tls-verify=false"),
        *("--build-arg=A=1 $x; y", "--build-arg=B=2", "--annotation=n=v", "--tag=t:1", "--iidfile=/w/image-id"),
        *("--ignorefile=/w/no-ignore", "--file=/w/Containerfile", "/c"),
    ]
