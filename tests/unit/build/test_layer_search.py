# SPDX-License-Identifier: GPL-3.0-or-later
"""Where in a layer a secret is found, and what is said about it."""

from __future__ import annotations

import base64
import gzip
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build import leak_search
from ansible_collections.imagemode.nodes.plugins.module_utils._build.leak_search import LayerSearch
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import BuildError, FailureCategory
from ansible_collections.imagemode.nodes.plugins.module_utils._core.leak_search import Leak, LeakPlace, SecretPatterns

TOKEN = b"tok-3f9a1c77d2e84b05"
OTHER = b"hunter2-is-good"
NOISE = bytes(range(256)) * 40


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def layer(directory: Path, *members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> Path:
    path = directory / "layer.tar"
    with tarfile.open(path, "w", format=form, encoding="utf-8", errors="surrogateescape") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


def leaks(path: Path, secrets: Mapping[str, bytes] | None = None, instruction: str | None = "RUN it") -> list[Leak]:
    return LayerSearch(SecretPatterns.of(secrets or {"token": TOKEN}), path, 3, instruction).run()


@pytest.mark.parametrize(
    ("info", "content", "path", "place"),
    [
        (*member("usr/lib/x", NOISE + TOKEN + NOISE), "/usr/lib/x", LeakPlace.CONTENT),
        (*member("./usr/lib/x", TOKEN), "/usr/lib/x", LeakPlace.CONTENT),
        (*member("usr/lib/big", b"." * (leak_search.CHUNK * 2 - 1030) + TOKEN), "/usr/lib/big", LeakPlace.CONTENT),
        (*member("usr/x.gz", gzip.compress(NOISE + TOKEN)), "/usr/x.gz", LeakPlace.COMPRESSED),
        (*member("usr/noext", gzip.compress(b"a") + gzip.compress(TOKEN)), "/usr/noext", LeakPlace.COMPRESSED),
        (*member("usr/cut", gzip.compress(NOISE + TOKEN + NOISE)[:-12]), "/usr/cut", LeakPlace.COMPRESSED),
        (*member("usr/b64.gz", gzip.compress(base64.b64encode(TOKEN))), "/usr/b64.gz", LeakPlace.COMPRESSED),
        (*member(f"usr/{TOKEN.decode()}"), "/usr/***", LeakPlace.ENTRY),
        (*member("usr/" + "d" * 160 + "/" + TOKEN.decode()), "/usr/" + "d" * 160 + "/***", LeakPlace.ENTRY),
        (*member("l", type=tarfile.SYMTYPE, linkname=f"/x/{TOKEN.decode()}"), "/l", LeakPlace.ENTRY),
        (*member("f", pax_headers={"SCHILY.xattr.user.note": TOKEN.decode()}), "/f", LeakPlace.ENTRY),
        (*member("odd\udcff", TOKEN), "/odd\\xff", LeakPlace.CONTENT),
    ],
    ids=lambda value: value.name[:20] if isinstance(value, tarfile.TarInfo) else "",
)  # fmt: skip
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"])
def test_a_secret_is_found_wherever_it_is(
    tmp_path: Path, info: tarfile.TarInfo, content: bytes, path: str, place: LeakPlace, form: int
) -> None:
    if form == tarfile.GNU_FORMAT and info.pax_headers:
        pytest.skip("this format has no extended attributes")
    around = member("before", NOISE), (info, content), member("usr", type=tarfile.DIRTYPE), member("after", NOISE)
    found = leaks(layer(tmp_path, *around, form=form))
    assert [(leak.layer, leak.path, leak.place, leak.instruction) for leak in found] == [(3, path, place, "RUN it")]
    assert TOKEN.decode() not in "".join(map(str, found))


def test_a_secret_that_is_often_in_a_file_is_reported_once_and_each_file_of_its_own(tmp_path: Path) -> None:
    path = layer(tmp_path, member("a", TOKEN * 50), member("b", OTHER + NOISE + TOKEN), member("c", NOISE))
    found = leaks(path, {"token": TOKEN, "password": OTHER})
    assert sorted((leak.secret, leak.path) for leak in found) == [("password", "/b"), ("token", "/a"), ("token", "/b")]


def test_a_layer_full_of_the_secret_is_not_listed_to_the_end(tmp_path: Path) -> None:
    found = leaks(layer(tmp_path, *(member(f"f{index}", TOKEN * 100) for index in range(200))))
    assert 1 <= len(found) < 200


def test_an_instruction_that_has_the_secret_is_told_without_it(tmp_path: Path) -> None:
    found = leaks(layer(tmp_path, member("a", TOKEN)), instruction=f"RUN echo {TOKEN.decode()} > /a")
    assert [leak.instruction for leak in found] == ["RUN echo *** > /a"]


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    harmless = gzip.compress(TOKEN[:-1]), b"\x1f\x8b\x08 no gzip at all", TOKEN[:-1], TOKEN[1:]
    assert leaks(layer(tmp_path, *(member(f"f{index}", data) for index, data in enumerate(harmless)))) == []


def test_a_compressed_file_is_read_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leak_search, "DECOMPRESSED_LIMIT", 1 << 20)
    bomb = gzip.compress(bytes(1 << 24) + TOKEN)
    search = LayerSearch(SecretPatterns.of({"token": TOKEN}), layer(tmp_path, member("bomb", bomb)), 0, None)
    assert search.run() == []
    assert search.searched < 1 << 22


def test_a_layer_that_cannot_be_read_is_not_taken_for_a_clean_one(tmp_path: Path) -> None:
    path = layer(tmp_path, member("a", NOISE), member("b", TOKEN))
    path.write_bytes(b"\xff" * 4096)
    with pytest.raises(BuildError, match="could not be searched for leaked secrets") as raised:
        leaks(path)
    assert raised.value.failure.category is FailureCategory.ENGINE
