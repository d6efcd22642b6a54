# SPDX-License-Identifier: GPL-3.0-or-later
"""image_archive with a real skopeo and real registries: one here, one on the other side of the gap."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build import oci_archive, retry
from ansible_collections.imagemode.nodes.plugins.module_utils._build.image_archive import ARCHIVE_SPEC, save_or_load
from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import check_that_somebody_listens
from lab.registry import Registry
from lab.signing import SigstoreKey
from registry_images import digest_of, image, index, log_of, requests_since


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "RETRY_DELAYS", (0.0, 0.0))


@pytest.fixture(scope="module")
def far_side(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry.start(tmp_path_factory.mktemp("far")) as running:
        yield running


def run(
    state: str, registry: Registry, name: str, archive: Path, check_mode: bool = False, **options: Any
) -> dict[str, Any]:
    defaults = {option: spec.get("default") for option, spec in ARCHIVE_SPEC.items()}
    chosen = {"state": state, "image": f"{registry.address}/{name}", "archive": str(archive), "validate_certs": False}
    outcome = save_or_load({**defaults, **chosen, **options}, check_mode)
    return {**outcome.result, "failed": outcome.failed, "warnings": outcome.warnings}


def noise(size: int) -> bytes:
    """Bytes that do not compress, always the same."""
    return hashlib.shake_128(str(size).encode()).digest(size)


def done(result: dict[str, Any]) -> dict[str, Any]:
    assert not result["failed"], result
    return result


def multi(registry: Registry, name: str, content: bytes = b"hello") -> str:
    digests = [image(registry, name, arch, content + arch.encode(), architecture=arch) for arch in ("amd64", "arm64")]
    return index(registry, name, "1", digests)


def test_an_index_crosses_the_gap_with_its_digest(registry: Registry, far_side: Registry, tmp_path: Path) -> None:
    digest = multi(registry, "archive/multi")
    archive = tmp_path / "image.oci"
    planned = done(run("saved", registry, "archive/multi:1", archive, check_mode=True))
    assert (planned["changed"], planned["size"], archive.exists()) == (True, None, False)
    saved = done(run("saved", registry, "archive/multi:1", archive))
    assert (saved["changed"], saved["digest"], saved["size"]) == (True, digest, archive.stat().st_size)
    assert saved["diff"]["before"] == ""
    assert saved["diff"]["after"] == f"{digest}\n"
    assert os.listdir(tmp_path) == ["image.oci"]
    before = archive.stat()
    assert done(run("saved", registry, "archive/multi:1", archive))["changed"] is False
    after = archive.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)

    planned = done(run("loaded", far_side, "copies/multi:1", archive, check_mode=True))
    assert (planned["changed"], far_side.digest("copies/multi", "1")) == (True, None)
    loaded = done(run("loaded", far_side, "copies/multi:1", archive))
    assert (loaded["changed"], loaded["digest"]) == (True, digest)
    assert loaded["platforms"] == saved["platforms"]
    assert digest_of(far_side, "copies/multi", "1") == digest
    assert done(run("loaded", far_side, "copies/multi:1", archive))["changed"] is False


def test_two_archives_of_one_image_are_the_same_file(registry: Registry, tmp_path: Path) -> None:
    multi(registry, "archive/same")
    for name in ("a", "b"):
        done(run("saved", registry, "archive/same:1", tmp_path / name))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_other_tools_read_it_as_an_archive_of_one_image(registry: Registry, tmp_path: Path) -> None:
    digest = image(registry, "archive/plain", "1")
    SigstoreKey.create(tmp_path / "keys").sign(registry, "archive/plain", "1")
    archive = tmp_path / "image.oci"
    assert done(run("saved", registry, "archive/plain:1", archive))["signatures"] == [digest.replace(":", "-") + ".sig"]
    command = ["skopeo", "inspect", "--format", "{{.Digest}}", f"oci-archive:{archive}"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == digest


def test_what_the_far_side_has_is_not_sent(registry: Registry, far_side: Registry, tmp_path: Path) -> None:
    multi(registry, "archive/again")
    archive = tmp_path / "image.oci"
    done(run("saved", registry, "archive/again:1", archive))
    done(run("loaded", far_side, "copies/again:1", archive))
    offset = len(log_of(far_side).read_text())
    done(run("loaded", far_side, "copies/again:2", archive))
    asked = requests_since(far_side, offset)
    assert not [request for request in asked if request.startswith(("POST", "PATCH")) or "/blobs/uploads" in request]
    assert [request for request in asked if request == "PUT /v2/copies/again/manifests/2"]


def test_signatures_travel_and_those_of_the_far_side_stay(
    registry: Registry, far_side: Registry, tmp_path: Path
) -> None:
    digest = multi(registry, "archive/signed")
    tag = digest.replace(":", "-") + ".sig"
    key, theirs = SigstoreKey.create(tmp_path / "keys"), SigstoreKey.create(tmp_path / "keys", "theirs")
    key.sign(registry, "archive/signed", "1")
    archive = tmp_path / "image.oci"
    assert done(run("saved", registry, "archive/signed:1", archive))["signatures"] == [tag]
    loaded = done(run("loaded", far_side, "archive/signed:1", archive))
    assert loaded["signatures"] == [tag]
    assert far_side.manifest("archive/signed", tag) == registry.manifest("archive/signed", tag)
    (warning,) = loaded["warnings"]  # they name the registry of this side
    assert f"are about {registry.address}/archive/signed:1, not about {far_side.address}" in warning

    key.sign(registry, "archive/signed", "1")  # a further signature makes the archive out of date
    assert done(run("saved", registry, "archive/signed:1", archive))["changed"] is True
    again = done(run("loaded", far_side, "archive/signed:1", archive))
    assert (again["changed"], len(far_side.manifest("archive/signed", tag)["layers"])) == (True, 2)

    theirs.sign(far_side, "archive/signed", "1")
    last = done(run("loaded", far_side, "archive/signed:1", archive))
    assert (last["changed"], len(far_side.manifest("archive/signed", tag)["layers"])) == (False, 3)

    far_side.delete("archive/signed", digest_of(far_side, "archive/signed", tag))
    theirs.sign(far_side, "archive/signed", "1")
    kept = done(run("loaded", far_side, "archive/signed:1", archive))
    assert (kept["changed"], len(far_side.manifest("archive/signed", tag)["layers"])) == (False, 1)
    assert any("does not have, and was left alone" in text for text in kept["warnings"])

    without = done(run("saved", registry, "archive/signed:1", tmp_path / "bare.oci", signatures=False))
    assert without["signatures"] == []


def _truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _without_end(content: bytes) -> bytes:
    return content[:1500]


def _with_another_layer(content: bytes) -> bytes:
    """The same length, one byte of the largest blob changed."""
    position = content.index(b"\x1f\x8b\x08") + 200
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_truncated, "was not copied as a whole"),
        (_without_end, "was not copied as a whole|no index.json"),
        (lambda _content: b"", "is not a tar file|no index.json"),
        (lambda _content: b"x" * 100_000, "is not a tar file"),
        (_with_another_layer, "is damaged"),
    ],
)
def test_a_damaged_archive_is_refused_and_written_anew(
    registry: Registry, far_side: Registry, tmp_path: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    image(registry, "archive/damaged", "1", noise(50_000))
    archive = tmp_path / "image.oci"
    done(run("saved", registry, "archive/damaged:1", archive))
    whole = archive.read_bytes()
    archive.write_bytes(damage(whole))
    name = f"copies/{damage.__name__.strip('<>_')}:1"
    failed = run("loaded", far_side, name, archive)
    assert (failed["failed"], failed["failure"]["category"]) == (True, "input"), failed
    assert any(text in failed["msg"] for text in message.split("|")), failed["msg"]
    assert far_side.tags(name[:-2]) == []
    if damage is not _with_another_layer:  # contents of layers are not read to see whether an archive is up to date
        assert done(run("saved", registry, "archive/damaged:1", archive))["changed"] is True
        assert archive.read_bytes() == whole


def test_files_that_are_something_else(registry: Registry, tmp_path: Path) -> None:
    docker = tmp_path / "docker.tar"
    with tarfile.open(docker, "w") as archive:
        (tmp_path / "manifest.json").write_text("[]")
        archive.add(tmp_path / "manifest.json", "manifest.json")
    two = tmp_path / "two.tar"
    with tarfile.open(two, "w") as archive:
        (tmp_path / "index.json").write_text(json.dumps({"manifests": [{}, {}]}))
        archive.add(tmp_path / "index.json", "index.json")
    for path, message in (
        (docker, "one of Docker's format"),
        (two, "has 2 images"),
        (tmp_path / "nothing", "does not exist on this host"),
        (tmp_path, "is a directory"),
        (tmp_path / "a:b", "colon"),
    ):
        failed = run("loaded", registry, "archive/other:1", path)
        assert (failed["failed"], failed["failure"]["category"]) == (True, "input")
        assert message in failed["msg"]
    assert "does not exist" in run("saved", registry, "archive/other:1", tmp_path / "no/where")["msg"]


def test_an_image_in_dockers_format_crosses_too(registry: Registry, far_side: Registry, tmp_path: Path) -> None:
    digest = image(registry, "archive/docker", "1", docker=True)
    done(run("saved", registry, "archive/docker:1", tmp_path / "image.oci"))
    assert done(run("loaded", far_side, "copies/docker:1", tmp_path / "image.oci"))["digest"] == digest
    assert digest_of(far_side, "copies/docker", "1") == digest


def test_wrong_credentials(registry: Registry, tmp_path: Path) -> None:
    image(registry, "archive/locked", "1")
    archive = tmp_path / "image.oci"
    done(run("saved", registry, "archive/locked:1", archive))
    authfile = tmp_path / "auth.json"
    with Registry.start(tmp_path / "locked", username="ci", password="correct-horse") as locked:
        for credentials in ({}, {locked.address: {"auth": "Y2k6YmF0dGVyeQ=="}}):  # none, and ci:battery
            authfile.write_text(json.dumps({"auths": credentials}))
            failed = run("loaded", locked, "archive/locked:1", archive, authfile=str(authfile))
            assert (failed["failed"], "wants a login" in failed["msg"]) == (True, True), failed
            assert "battery" not in json.dumps(failed)


def test_a_registry_with_a_ca_of_its_own(registry: Registry, tls_registry: Registry, tmp_path: Path) -> None:
    assert tls_registry.authority is not None
    digest = image(registry, "archive/tls", "1")
    SigstoreKey.create(tmp_path / "keys").sign(registry, "archive/tls", "1")
    archive = tmp_path / "image.oci"
    done(run("saved", registry, "archive/tls:1", archive))
    failed = run("loaded", tls_registry, "archive/tls:1", archive, validate_certs=True)
    assert "is not trusted here" in failed["msg"], failed
    ca_file = str(tls_registry.authority.certificate)
    done(run("loaded", tls_registry, "archive/tls:1", archive, validate_certs=True, ca_file=ca_file))
    assert tls_registry.tags("archive/tls") == ["1", digest.replace(":", "-") + ".sig"]


@contextlib.contextmanager
def small_disk(directory: Path, size: str) -> Iterator[Path]:
    directory.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)], check=False).returncode:
        pytest.skip("cannot mount a small disk here")
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def test_a_full_disk_leaves_the_old_archive(registry: Registry, tmp_path: Path) -> None:
    digest = image(registry, "archive/full", "1", b"small")
    image(registry, "archive/full", "2", noise(3_000_000))
    with small_disk(tmp_path / "disk", "2m") as disk:
        archive = disk / "image.oci"
        done(run("saved", registry, "archive/full:1", archive))
        failed = run("saved", registry, "archive/full:2", archive)
        assert (failed["failed"], failed["failure"]["category"]) == (True, "disk"), failed
        assert "disk of this host is full" in failed["msg"]
        assert os.listdir(disk) == ["image.oci"]
        assert done(run("saved", registry, "archive/full:1", archive))["changed"] is False
        assert digest == done(run("saved", registry, "archive/full:1", archive))["digest"]


def test_a_full_disk_while_loading(registry: Registry, far_side: Registry, tmp_path: Path) -> None:
    image(registry, "archive/big", "1", noise(3_000_001))
    archive = tmp_path / "image.oci"
    done(run("saved", registry, "archive/big:1", archive))
    with small_disk(tmp_path / "disk", "2m") as disk:
        failed = run("loaded", far_side, "copies/big:1", archive, tmp_dir=str(disk))
        assert (failed["failed"], failed["failure"]["category"]) == (True, "disk"), failed
        assert "tmp_dir" in failed["msg"]
        assert os.listdir(disk) == []
    assert far_side.digest("copies/big", "1") is None


def test_what_a_killed_run_left_goes_with_the_next(registry: Registry, tmp_path: Path) -> None:
    image(registry, "archive/killed", "1")
    left = tmp_path / ".image.oci.imagemode-new"
    (left / "layout/blobs").mkdir(parents=True)
    (left / "archive").write_bytes(b"half")
    done(run("saved", registry, "archive/killed:1", tmp_path / "image.oci"))
    assert os.listdir(tmp_path) == ["image.oci"]


def test_a_run_that_is_ended_leaves_the_old_archive_and_nothing_else(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = image(registry, "archive/ended", "1")
    image(registry, "archive/ended", "2", b"other")
    archive = tmp_path / "image.oci"
    done(run("saved", registry, "archive/ended:1", archive))
    plain = check_that_somebody_listens

    def end() -> None:
        monkeypatch.setattr(oci_archive, "check_that_somebody_listens", plain)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(oci_archive, "check_that_somebody_listens", end)
    failed = run("saved", registry, "archive/ended:2", archive)
    assert (failed["failed"], failed["failure"]["retryable"]) == (True, True), failed
    assert "SIGTERM" in failed["msg"]
    assert os.listdir(tmp_path) == ["image.oci"]
    assert oci_archive.OciArchive.read(archive).image.digest == digest
    assert done(run("saved", registry, "archive/ended:2", archive))["changed"] is True
