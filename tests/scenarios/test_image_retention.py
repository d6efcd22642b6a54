# SPDX-License-Identifier: GPL-3.0-or-later
"""image_retention against a real registry: what is gone, what is still whole, and a registry that does not delete."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build import image_retention
from ansible_collections.imagemode.nodes.plugins.module_utils._build.image_retention import RETENTION_SPEC, retain
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry_documents import RegistryDocuments
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference
from lab.registry import Registry
from lab.signing import SigstoreKey, Upload
from registry_images import digest_of, image, index, log_of, requests_since

KEY = "io.imagemode.input-key"


def _day(number: int) -> str:
    return f"2026-11-{number:02}T08:00:00Z"


class Repository:
    """The builds of one image, as layered_image_build leaves them."""

    def __init__(self, registry: Registry, name: str) -> None:
        self.registry = registry
        self.name = name

    def build(self, number: int, tag: str = "1") -> str:
        """A build of a day of November under its second tag, and under the tag; its digest."""
        key = hashlib.sha256(f"{tag} {number}".encode()).hexdigest()
        digest = image(
            self.registry,
            self.name,
            self.second(number, tag),
            f"{tag} {number}".encode(),
            labels={KEY: key},
            created=_day(number),
        )
        self.point(tag, digest)
        return digest

    @staticmethod
    def second(number: int, tag: str = "1") -> str:
        return f"{tag}-{hashlib.sha256(f'{tag} {number}'.encode()).hexdigest()[:12]}"

    def point(self, tag: str, digest: str) -> None:
        upload = Upload(self.registry, self.name)
        upload.manifest(tag, json.loads(upload.read(digest)))
        assert digest_of(self.registry, self.name, tag) == digest

    def tags(self) -> list[str]:
        return self.registry.tags(self.name)

    def retain(self, check_mode: bool = False, address: str | None = None, **options: Any) -> dict[str, Any]:
        defaults = {option: spec.get("default") for option, spec in RETENTION_SPEC.items()}
        chosen = {
            "image": f"{address or self.registry.address}/{self.name}:1",
            "protected_digests": [],
            "validate_certs": False,
        }
        outcome = retain({**defaults, **chosen, **options}, check_mode)
        return {**outcome.result, "failed": outcome.failed}


def digests(result: dict[str, Any]) -> list[str]:
    assert not result["failed"], result
    return [entry["digest"] for entry in result["removed"]]


def test_old_builds_go_and_the_rest_is_whole(registry: Registry) -> None:
    repository = Repository(registry, "retention/plain")
    built = [repository.build(number) for number in range(1, 7)]
    repository.point("prod", built[1])
    other = repository.build(1, tag="2")
    before = repository.tags()
    planned = repository.retain(check_mode=True, keep=1, protected_digests=[built[2]])
    assert repository.tags() == before
    result = repository.retain(keep=1, protected_digests=[built[2]])
    assert digests(planned) == digests(result) == [built[0], built[3]]
    second = repository.second
    assert sorted(set(before) - set(repository.tags())) == sorted((second(1), second(4)))
    assert set(result["kept"]) == {second(2), second(3), second(5), second(6)}
    assert "also tagged prod" in result["kept"][second(2)]
    assert "is protected" in result["kept"][second(3)]
    assert "newest 1" in result["kept"][second(5)]
    assert "1 points to it" in result["kept"][second(6)]
    for digest in (built[1], built[2], built[4], built[5], other):
        assert registry.digest("retention/plain", digest) == digest
    again = repository.retain(keep=1, protected_digests=[built[2]])
    assert (again["changed"], again["removed"], again["commands"]) == (False, [], [])


def test_an_image_of_somebody_else_under_such_a_tag_stays(registry: Registry) -> None:
    repository = Repository(registry, "retention/foreign")
    repository.build(2)
    foreign = image(registry, "retention/foreign", "1-0123456789ab", b"foreign")
    result = repository.retain(keep=0)
    assert digests(result) == []
    assert "not built for the tag" in result["kept"]["1-0123456789ab"]
    assert registry.digest("retention/foreign", foreign) == foreign


def _index(repository: Repository, number: int, children: list[str]) -> str:
    key = f"{number:02}" * 32
    tag = f"1-{key[:12]}"
    return index(repository.registry, repository.name, tag, children, **{KEY: key})


def test_indexes_go_with_what_nothing_else_needs(registry: Registry) -> None:
    name = "retention/index"
    repository = Repository(registry, name)
    children = {
        number: [
            image(
                registry,
                name,
                f"t{number}{arch}",
                f"{number}{arch}".encode(),
                architecture=arch,
                created=f"2026-11-{number:02}T08:00:00Z",
            )
            for arch in ("amd64", "arm64")
        ]
        for number in (1, 2, 3, 4)
    }
    shared = children[1][1]
    indexes = {number: _index(repository, number, children[number]) for number in (1, 3)}
    indexes[2] = _index(repository, 2, children[2])
    indexes[4] = _index(repository, 4, [children[4][0], shared])
    repository.point("1", indexes[4])
    for digest in [digest for both in children.values() for digest in both]:
        _untag(registry, name, digest)
    result = repository.retain(keep=0, protected_digests=[children[2][0]])
    assert digests(result) == [indexes[1], indexes[3]]
    assert set(result["removed_manifests"]) == {children[1][0], *children[3]}
    there = {digest for both in children.values() for digest in both if registry.digest(name, digest)}
    assert there == {*children[2], children[4][0], children[4][1], shared}


def _untag(registry: Registry, name: str, digest: str) -> None:
    """Leave a manifest in the registry without a tag, as the images of an index often are."""
    body = Upload(registry, name).read(digest)
    registry.delete(name, digest)
    content_type = json.loads(body)["mediaType"]
    registry.request("PUT", f"/v2/{name}/manifests/{digest}", body, content_type).close()


def test_signatures_of_removed_images_go_too(registry: Registry, tmp_path: Path) -> None:
    repository = Repository(registry, "retention/signed")
    key = SigstoreKey.create(tmp_path)
    old, new = repository.build(1), repository.build(2)
    for digest in (old, new):
        key.sign(registry, "retention/signed", digest)
    attachment = [digest.replace(":", "-") + ".sig" for digest in (old, new)]
    result = repository.retain(keep=0)
    assert (digests(result), result["removed_signatures"]) == ([old], [attachment[0]])
    assert [tag for tag in repository.tags() if tag.endswith(".sig")] == [attachment[1]]


def test_what_is_gone_already_is_fine(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository(registry, "retention/gone")
    built = [repository.build(number) for number in (1, 2, 3)]
    plain = RegistryDocuments.delete

    def somebody_was_faster(documents: RegistryDocuments, pinned: ImageReference) -> bool:
        registry.delete("retention/gone", pinned.digest or "")
        return plain(documents, pinned)

    monkeypatch.setattr(RegistryDocuments, "delete", somebody_was_faster)
    assert digests(repository.retain(keep=0)) == built[:2]
    assert repository.tags() == ["1", repository.second(3)]


def test_a_tag_that_moves_meanwhile_stops_it(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository(registry, "retention/race")
    old, _new = repository.build(1), repository.build(2)
    plain = image_retention._signatures

    def moved(*arguments: Any) -> dict[str, str]:
        repository.point("1", old)
        return plain(*arguments)

    monkeypatch.setattr(image_retention, "_signatures", moved)
    result = repository.retain(keep=0)
    assert (result["failed"], result["failure"]["retryable"]) == (True, True)
    assert "was moved from" in result["msg"]
    assert registry.digest("retention/race", old) == old


@contextmanager
def _without_deletion(registry: Registry, directory: Path) -> Iterator[str]:
    """A second registry over the same storage whose deletion is switched off; its address."""
    config = json.loads((registry.directory / "config.json").read_text())
    config["storage"]["delete"]["enabled"] = False
    config["http"]["addr"] = "127.0.0.1:0"
    path = directory / "config.json"
    path.write_text(json.dumps(config))
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(["docker-registry", "serve", str(path)], stdout=output, stderr=output)
    try:
        yield _address(log)
    finally:
        process.terminate()
        process.wait()


def _address(log: Path) -> str:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for word in log.read_text().replace('"', " ").split():
            if word.startswith("127.0.0.1:") and not word.endswith(":0"):
                with urllib.request.urlopen(f"http://{word}/v2/") as answer:
                    assert answer.status == 200
                return word
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def test_a_registry_that_does_not_delete_says_so(registry: Registry, tmp_path: Path) -> None:
    repository = Repository(registry, "retention/refused")
    old, _new = repository.build(1), repository.build(2)
    with _without_deletion(registry, tmp_path) as address:
        assert digests(repository.retain(check_mode=True, address=address, keep=0)) == [old]
        result = repository.retain(address=address, keep=0)
    assert (result["failed"], result["failure"]["category"]) == (True, "registry"), result
    assert "REGISTRY_STORAGE_DELETE_ENABLED" in result["msg"]
    assert registry.digest("retention/refused", old) == old


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protected_digests": ["sha256:abc"]}, "would not have been protected"),
        ({"protected_digests": ["registry.example.com/os@sha256:" + "a" * 64]}, "is not a digest"),
        ({"keep": -1}, "cannot be less than 0"),
        ({"image": "registry.example.com/os@sha256:" + "a" * 64}, "no digest"),
    ],
)
def test_options_that_make_no_sense_remove_nothing(registry: Registry, options: dict[str, Any], message: str) -> None:
    offset = len(log_of(registry).read_text())
    result = Repository(registry, "retention/options").retain(**options)
    assert (result["failed"], result["failure"]["category"]) == (True, "input")
    assert message in result["msg"]
    assert requests_since(registry, offset) == []


def test_a_repository_that_is_not_there_has_nothing_to_remove(registry: Registry) -> None:
    result = Repository(registry, "retention/nothing").retain()
    assert (result["failed"], result["changed"], result["kept"]) == (False, False, {})
