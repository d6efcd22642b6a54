# SPDX-License-Identifier: GPL-3.0-or-later
"""image_index with a real skopeo and a real registry."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.image_index import INDEX_SPEC, assemble
from lab.registry import Registry
from lab.signing import GpgKey
from registry_images import digest_of, image, index, log_of, requests_since

KEY = "io.imagemode.input-key"


def run(registry: Registry, name: str, digests: list[str], check_mode: bool = False, **options: Any) -> dict[str, Any]:
    """The module's result for `name:1` over images of the same repository, unless the options say otherwise."""
    defaults = {option: spec.get("default") for option, spec in INDEX_SPEC.items()}
    repository = f"{registry.address}/{name}"
    chosen = {
        "image": f"{repository}:1",
        "images": [f"{repository}@{digest}" for digest in digests],
        "validate_certs": False,
    }
    outcome = assemble({**defaults, **chosen, **options}, check_mode)
    return {**outcome.result, "failed": outcome.failed}


def pair(registry: Registry, name: str) -> list[str]:
    return [image(registry, name, arch, architecture=arch, labels={KEY: arch * 12}) for arch in ("amd64", "arm64")]


def test_an_index_is_made_once_without_a_layer_moving(registry: Registry) -> None:
    digests = pair(registry, "index/one")
    offset = len(log_of(registry).read_text())
    first = run(registry, "index/one", digests, annotations={"org.opencontainers.image.version": "1"})
    asked = requests_since(registry, offset)
    assert (first["failed"], first["changed"]) == (False, True), first
    configurations = {registry.manifest("index/one", digest)["config"]["digest"] for digest in digests}
    blobs = {request.rpartition("/")[2] for request in asked if "/blobs/" in request}
    assert blobs == configurations  # they say which platform an image is for; no layer is touched
    assert not [request for request in asked if request.startswith(("POST", "PATCH"))]
    assert first["digest"] == digest_of(registry, "index/one", "1")
    assert first["platforms"] == dict(zip(("linux/amd64", "linux/arm64"), digests, strict=True))
    document = registry.manifest("index/one", "1")
    assert document["annotations"] == {"org.opencontainers.image.version": "1", KEY: first["input_key"]}
    assert [entry["annotations"][KEY] for entry in document["manifests"]] == ["amd64" * 12, "arm64" * 12]
    assert digest_of(registry, "index/one", f"1-{first['input_key'][:12]}") == first["digest"]

    offset = len(log_of(registry).read_text())
    again = run(registry, "index/one", digests[::-1], annotations={"org.opencontainers.image.version": "1"})
    assert (again["changed"], again["digest"], again["commands"]) == (False, first["digest"], [])
    assert {request.partition(" ")[0] for request in requests_since(registry, offset)} <= {"GET", "HEAD"}


def test_another_image_moves_the_tag_and_the_old_index_keeps_its_second_tag(registry: Registry) -> None:
    digests = pair(registry, "index/moved")
    first = run(registry, "index/moved", digests[:1])
    planned = run(registry, "index/moved", digests, check_mode=True)
    assert digest_of(registry, "index/moved", "1") == first["digest"]
    second = run(registry, "index/moved", digests)
    assert (planned["changed"], planned["digest"]) == (True, second["digest"])
    assert [command[0] for command in planned["commands"]] == [command[0] for command in second["commands"]]
    assert len(planned["commands"]) == len(second["commands"]) == 2
    assert second["diff"]["before"] == f"linux/amd64: {digests[0]}\n"
    assert second["diff"]["after"] == f"linux/amd64: {digests[0]}\nlinux/arm64: {digests[1]}\n"
    assert digest_of(registry, "index/moved", f"1-{first['input_key'][:12]}") == first["digest"]


def test_images_of_another_repository_are_brought_over_with_their_digest(registry: Registry) -> None:
    (here,) = pair(registry, "index/here")[:1]
    there = image(registry, "index/there", "x", b"elsewhere", architecture="s390x")
    images = [f"{registry.address}/index/here@{here}", f"{registry.address}/index/there@{there}"]
    result = run(registry, "index/here", [], images=images)
    assert result["platforms"] == {"linux/amd64": here, "linux/s390x": there}
    assert registry.digest("index/here", there) == there


def test_it_is_signed_before_the_tag_is_there(registry: Registry, tmp_path: Path) -> None:
    key = GpgKey.create(tmp_path)
    sign = {"gpg": key.fingerprint, "gnupghome": str(key.home), "lookaside_staging": str(tmp_path / "staging")}
    try:
        digests = pair(registry, "index/signed")
        run(registry, "index/signed", digests)
        result = run(registry, "index/signed", digests, sign=sign)
        assert (result["failed"], result["changed"]) == (False, True), result
        assert len(list((tmp_path / "staging").rglob("signature-1"))) == 3
        assert run(registry, "index/signed", digests, sign=sign)["changed"] is False
        (lonely,) = digests[:1]
        failed = run(registry, "index/signed", [lonely], sign={**sign, "gpg": "A" * 40})
        assert failed["failure"]["category"] == "sign"
        assert digest_of(registry, "index/signed", "1") == result["digest"]
    finally:
        key.end()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (["{r}/index/bad:amd64"], "has no digest"),
        (["{r}/index/bad@sha256:" + "0" * 64], "is not in its registry"),
        (["{r}/index/bad@{multi}"], "is an index itself"),
        (["{r}/index/bad@{amd}", "{r}/index/bad@{twin}"], "are both for linux/amd64"),
        ([], "is empty"),
        (["index/bad@{amd}"], "does not name its registry"),
    ],
)
def test_what_cannot_be_put_together(registry: Registry, images: list[str], message: str) -> None:
    amd, arm = pair(registry, "index/bad")
    twin = image(registry, "index/bad", "twin", b"another", architecture="amd64")
    values = {"r": registry.address, "amd": amd, "twin": twin, "multi": index(registry, "index/bad", "m", [amd, arm])}
    result = run(registry, "index/bad", [], images=[text.format(**values) for text in images])
    assert (result["failed"], result["failure"]["category"]) == (True, "input")
    assert re.search(message, result["msg"]), result["msg"]
    assert registry.digest("index/bad", "1") is None
