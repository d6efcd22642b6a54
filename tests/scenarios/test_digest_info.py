# SPDX-License-Identifier: GPL-3.0-or-later
"""image_digest_info against a real registry: single images, indexes, and what a wrong question is answered with."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build import retry
from ansible_collections.imagemode.nodes.plugins.module_utils._build.module_run import digest_info
from ansible_collections.imagemode.nodes.plugins.module_utils._build.options import DIGEST_INFO_SPEC
from lab.images import build_base
from lab.registry import Registry

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "RETRY_DELAYS", (0.0, 0.0))


@pytest.fixture(scope="module")
def locked_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry.start(tmp_path_factory.mktemp("locked"), username="ci", password="correct-horse") as running:
        yield running


def ask(image: str, **options: Any) -> dict[str, Any]:
    defaults = {name: spec.get("default") for name, spec in DIGEST_INFO_SPEC.items()}
    outcome = digest_info({**defaults, "image": image, "validate_certs": False, **options})
    return {**outcome.result, "failed": outcome.failed}


def test_an_image_of_one_platform(registry: Registry) -> None:
    pushed = build_base(registry.address, "digest/one", "1", labels={"a": "b"}, architecture="s390x")
    digest = pushed.rpartition("@")[2]
    result = ask(f"{registry.address}/digest/one:1")
    assert (result["failed"], result["changed"], result["exists"]) == (False, False, True)
    assert result["image"] == pushed
    assert result["digest"] == digest == registry.digest("digest/one", "1")
    assert result["platforms"] == {"linux/s390x": digest}
    assert result["expected_digests"] == [digest]
    assert result["media_type"] == "application/vnd.oci.image.manifest.v1+json"
    assert result["labels"]["a"] == "b"
    assert result["created"].startswith("2023-11-14T")
    assert ask(pushed)["image"] == pushed


def _index(registry: Registry, name: str) -> tuple[str, dict[str, str]]:
    """Push an index of two platforms, the way a multi-architecture build does; its digest and those of its platforms."""
    platforms = {}
    manifests = []
    for architecture in ("amd64", "arm64"):
        digest = build_base(registry.address, name, architecture, architecture=architecture).rpartition("@")[2]
        request = urllib.request.Request(
            f"http://{registry.address}/v2/{name}/manifests/{digest}",
            headers={"Accept": MANIFEST_TYPE},
        )
        with urllib.request.urlopen(request) as answer:
            size = len(answer.read())
        platforms[f"linux/{architecture}"] = digest
        manifests.append(
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest,
                "size": size,
                "platform": {"os": "linux", "architecture": architecture},
            }
        )
    body = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests}).encode()
    request = urllib.request.Request(
        f"http://{registry.address}/v2/{name}/manifests/multi",
        data=body,
        headers={"Content-Type": INDEX_TYPE},
        method="PUT",
    )
    urllib.request.urlopen(request).close()
    return "sha256:" + hashlib.sha256(body).hexdigest(), platforms


def test_an_index_gives_every_digest_that_a_node_may_report(registry: Registry) -> None:
    digest, platforms = _index(registry, "digest/multi")
    image = f"{registry.address}/digest/multi:multi"
    result = ask(image)
    assert (result["digest"], result["media_type"], result["platforms"]) == (digest, INDEX_TYPE, platforms)
    assert result["expected_digests"] == [digest, *platforms.values()]
    assert result["image"] == f"{registry.address}/digest/multi@{digest}"

    only = ask(image, platforms=["linux/arm64"])
    assert only["platforms"] == {"linux/arm64": platforms["linux/arm64"]}
    assert only["expected_digests"] == [digest, platforms["linux/arm64"]]

    assert result["layers"] == {}
    layers = ask(image, with_layers=True)["layers"]
    assert list(layers) == list(platforms)
    for name, pushed in platforms.items():
        url = f"http://{registry.address}/v2/digest/multi/manifests/{pushed}"
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": MANIFEST_TYPE})) as answer:
            manifest = json.load(answer)
        assert layers[name] == [{"digest": one["digest"], "size": one["size"]} for one in manifest["layers"]]

    missing = ask(image, platforms=["linux/arm64", "linux/riscv64"])
    assert missing["failed"]
    assert "has no image for linux/riscv64, only for linux/amd64, linux/arm64" in missing["msg"]


def test_a_tag_that_is_not_there_can_be_an_answer(registry: Registry, base_image: str) -> None:
    assert base_image
    result = ask(f"{registry.address}/os:nosuchtag", must_exist=False)
    assert (result["failed"], result["exists"], result["digest"], result["expected_digests"]) == (
        False,
        False,
        None,
        [],
    )


@pytest.mark.parametrize(
    ("image", "options", "category", "retryable", "says"),
    [
        ("{registry}/os:nosuchtag", {}, "registry", False, "check the spelling of the repository and the tag"),
        ("{registry}/nosuchname:base", {}, "registry", False, "check the spelling"),
        ("{locked}/os:base", {}, "registry", False, "skopeo login --authfile"),
        ("127.0.0.1:1/os:base", {}, "registry", True, "127.0.0.1:1 cannot be reached"),
        ("127.0.0.1:1/os:base", {"must_exist": False}, "registry", True, "cannot be reached"),
        ("{locked}/os:base", {"must_exist": False}, "registry", False, "wants a login"),
        ("{registry}/os:base", {"validate_certs": True}, "registry", False, "Set validate_certs to false"),
        ("{registry}/os:base", {"authfile": "/nowhere/auth.json"}, "input", False, "/nowhere/auth.json does not exist"),
        ("os:base", {}, "input", False, "does not name its registry"),
        ("{registry}/OS:base", {}, "input", False, "only lower-case"),
    ],
)
def test_a_wrong_question_gets_a_clear_answer(
    registry: Registry,
    locked_registry: Registry,
    base_image: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    image: str,
    options: dict[str, Any],
    category: str,
    retryable: bool,
    says: str,
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert base_image
    result = ask(image.format(registry=registry.address, locked=locked_registry.address), **options)
    assert result["failed"]
    assert (result["failure"]["category"], result["failure"]["retryable"]) == (category, retryable)
    assert says in result["msg"]
