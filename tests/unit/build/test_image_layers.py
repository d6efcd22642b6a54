# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers are read as a stream from what skopeo writes; whatever is no honest archive is refused in words."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import resource
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build import layer_archive
from ansible_collections.imagemode.nodes.plugins.module_utils._build.image_layers import ImageLayers
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import BuildError, FailureCategory
from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileType
from ansible_collections.imagemode.nodes.plugins.module_utils._core.layer_tree import ContentPlace


def member(name: str, content: bytes | None = None, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    info.size = len(content or b"")
    info.mode, info.uid, info.gid = 0o4750, 7, 8
    return info


def archive(*members: tuple[tarfile.TarInfo, bytes], tar_format: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tar_format) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def files(**contents: bytes) -> bytes:
    return archive(*((member(name, content), content) for name, content in contents.items()))


def zstd(data: bytes) -> bytes:
    if shutil.which("zstd") is None:
        pytest.skip("zstd is not installed")
    return subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True).stdout


def image(directory: Path, *layers: bytes, oci: bool = False) -> ImageLayers:
    """The layers as `skopeo copy … dir:` or `oci:` leaves them."""
    blobs = directory / "blobs" / "sha256" if oci else directory
    blobs.mkdir(parents=True, exist_ok=True)

    def stored(data: bytes) -> dict[str, str]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}"}

    manifest = {"config": stored(b'{"architecture": "amd64"}'), "layers": [stored(layer) for layer in layers]}
    text = json.dumps(manifest)
    if oci:
        (directory / "index.json").write_text(json.dumps({"manifests": [stored(text.encode())]}))
    else:
        (directory / "manifest.json").write_text(text)
    return ImageLayers.in_directory(directory, "registry/x@sha256:1")


@pytest.mark.parametrize("oci", [False, True], ids=["dir", "oci"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd], ids=["plain", "gzip", "zstd"])
def test_an_image_is_read_from_a_directory(tmp_path: Path, oci: bool, compress: Callable[[bytes], bytes]) -> None:
    hard = member("usr/c", kind=tarfile.LNKTYPE, link="usr/b")
    lower = archive((member("usr/a", b"1"), b"1"), (member("usr/b", b"22"), b"22"), (hard, b""))
    upper = files(**{"usr/.wh.a": b"", "usr/b": b"new", "usr/d": b""})
    layers = image(tmp_path, compress(lower), compress(upper), oci=oci)
    merged = layers.tree()
    assert sorted(merged.tree) == ["/", "/usr", "/usr/b", "/usr/c", "/usr/d"]
    entry = merged.tree["/usr/c"]
    assert (entry.type, entry.mode, entry.uid, entry.gid, entry.size) == (FileType.FILE, 0o4750, 7, 8, 2)
    assert layers.read(merged, ["/usr/b", "/usr/c", "/usr/d", "/usr", "/none"]) == {
        "/usr/b": b"new",
        "/usr/c": b"22",
        "/usr/d": b"",
    }
    hashed = layers.hashed(merged)
    assert hashed["/usr/c"].sha256 == hashlib.sha256(b"22").hexdigest()
    assert hashed["/usr"].sha256 is None
    assert layers.hashed(merged, ["/usr/b"])["/usr/c"].sha256 is None
    assert sorted(layers.tree(1).tree) == ["/", "/usr", "/usr/a", "/usr/b", "/usr/c"]
    assert layers.config == {"architecture": "amd64"}


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
def test_long_names_links_and_odd_bytes(tmp_path: Path, tar_format: int) -> None:
    long, odd = "usr/" + "x" * 200, "usr/\udcff\n"
    link = member("usr/link", kind=tarfile.SYMTYPE, link="t" * 200)
    tar = archive(
        (member(long, b"1"), b"1"),
        (member(odd, b"2"), b"2"),
        (link, b""),
        (member("usr/node", kind=tarfile.CHRTYPE), b""),
        (member("usr/pipe", kind=tarfile.FIFOTYPE), b""),
        tar_format=tar_format,
    )
    merged = image(tmp_path, tar).tree()
    assert {"/" + long, "/" + odd} <= merged.tree.keys()
    assert (merged.tree["/usr/link"].type, merged.tree["/usr/link"].target) == (FileType.LINK, "t" * 200)
    assert merged.tree["/usr/node"].type is merged.tree["/usr/pipe"].type is FileType.OTHER


def _huge_claim() -> bytes:
    info = member("usr/huge")
    info.size = 1 << 60
    return info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 4096


def _huge_pax_header() -> bytes:
    info = member("pax")
    info.type, info.size = tarfile.XHDTYPE, 1 << 30
    return gzip.compress(info.tobuf(tarfile.USTAR_FORMAT) + b"x" * (4 << 20))


def _negative_size() -> bytes:
    info = member("usr/a")
    info.size = -1
    return info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 1024


GOOD = files(a=b"1" * 3000, b=b"2")


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (b"\x7fELF" + b"x" * 2000, "is damaged or no archive"),
        (b"", "is damaged or no archive"),
        (GOOD[:1000], "is damaged or no archive"),
        (gzip.compress(GOOD)[:60], "is damaged or no archive"),
        (gzip.compress(GOOD)[:-30] + b"\0" * 30, "is damaged or no archive"),
        (GOOD[:4096] + b"garbage" * 100 + GOOD[4796:], "is damaged or no archive"),
        (b"\xfd7zXZ\0" + b"x" * 100, "compressed with xz or bzip2"),
        (b"BZh91AY", "compressed with xz or bzip2"),
        (_huge_claim(), "is damaged or no archive"),
        (_huge_pax_header(), "has an extended header of 1073741824 bytes"),
        (_negative_size(), "has a member of negative size"),
        (files(**{"../../etc/passwd": b"x"}), "../../etc/passwd, which leads out of the image"),
    ],
    ids=[
        "program",
        "empty",
        "cut",
        "gzip cut",
        "gzip end",
        "damaged",
        "xz",
        "bzip2",
        "huge",
        "pax",
        "negative",
        "dots",
    ],
)
def test_what_is_no_layer_is_refused(tmp_path: Path, layer: bytes, says: str) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BuildError) as caught:
        image(tmp_path, layer).tree()
    assert caught.value.failure.category is FailureCategory.INPUT
    assert caught.value.failure.message.startswith("The image registry/x@sha256:1 cannot be read: ")
    assert says in caught.value.failure.message
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 100 * 1024  # kB


def test_a_layer_that_grows_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_archive, "LARGEST_LAYER", 1 << 20)
    with pytest.raises(BuildError, match="is larger than 1048576 bytes when uncompressed"):
        image(tmp_path, gzip.compress(files(a=b"\0" * (3 << 20)))).tree()


def test_zstd_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = zstd(GOOD)
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(BuildError, match=r"compressed with zstd, and that is not installed here. Install it: .* zstd"):
        image(tmp_path, layer).tree()


def test_damaged_zstd_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="is damaged"):
        image(tmp_path, zstd(GOOD)[:-8]).tree()


def test_content_that_ends_too_early_is_refused(tmp_path: Path) -> None:
    layers = image(tmp_path, GOOD)
    merged = layers.tree()
    layers.layers[0].write_bytes(GOOD[:1000])
    with pytest.raises(BuildError, match="is damaged"):
        layers.read(merged, ["/a"])


def test_a_file_that_is_too_large_is_not_taken_into_memory(tmp_path: Path) -> None:
    layers = image(tmp_path, GOOD)
    with pytest.raises(BuildError, match="has /a, which is larger than 2999 bytes"):
        layers.read(layers.tree(), ["/a"], limit=2999)


def test_only_the_layers_that_are_asked_for_are_read(tmp_path: Path) -> None:
    layers = image(tmp_path, GOOD, files(c=b"3"))
    merged = layers.tree()
    layers.layers[0].unlink()
    seen = []

    def look(place: ContentPlace, content: IO[bytes]) -> None:
        seen.append((place, content.read()))

    layers.visit([merged.places["/c"], merged.places["/c"]], look)
    assert seen == [(ContentPlace(1, 0), b"3")]


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        ("", "holds no image that can be read"),
        ("[]", "manifest.json is no JSON object"),
        ('{"layers": []}', "holds no image"),
        ('{"config": {"digest": "sha256:../../etc/passwd"}, "layers": []}', "is not a digest"),
        ("[" * 100_000, "holds no image"),
    ],
)
def test_a_directory_without_image_is_refused(tmp_path: Path, manifest: str, says: str) -> None:
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(BuildError) as caught:
        ImageLayers.in_directory(tmp_path, "x")
    assert says in caught.value.failure.message


def test_one_of_several_images_is_chosen_by_platform(tmp_path: Path) -> None:
    image(tmp_path, GOOD, oci=True)
    index = json.loads((tmp_path / "index.json").read_text())
    other = {"digest": "sha256:" + "0" * 64, "platform": {"os": "linux", "architecture": "s390x"}}
    here = {**index["manifests"][0], "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}}
    (tmp_path / "index.json").write_text(json.dumps({"manifests": [other, here]}))
    assert len(ImageLayers.in_directory(tmp_path, "x", "linux/arm64").layers) == 1
    for platform, says in ((None, "there are 2 images in it"), ("linux/amd64", "no image for linux/amd64")):
        with pytest.raises(BuildError, match=says):
            ImageLayers.in_directory(tmp_path, "x", platform)
