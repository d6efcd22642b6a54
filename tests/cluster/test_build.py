# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the Kubernetes API of the tests cannot be built, that is said, and nothing has failed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from cluster import build

PROGRAM = """#!/bin/sh
case "$1" in
  env) echo {version} ;;
  mod) echo '{download}' >&2; exit {status} ;;
  build) shift; while [ "$1" != -o ]; do shift; done; echo '{build}' >&2; [ {status_of_build} = 0 ] && : >"$2"; exit {status_of_build} ;;
esac
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(build, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def put_go(
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: str = "go1.26.0",
    download: tuple[int, str] = (0, ""),
    result: tuple[int, str] = (0, ""),
) -> None:
    """A program named go, first on PATH, which answers as it is told."""
    path = directory / "bin/go"
    path.parent.mkdir()
    path.write_text(
        PROGRAM.format(
            version=version, download=download[1], status=download[0], build=result[1], status_of_build=result[0]
        )
    )
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")


def test_a_program_that_is_there_is_not_built_again(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_go(tmp_path, monkeypatch)
    cache.mkdir()
    for number in range(3):
        (cache / f"kubernetes-older-{number}").touch()
        os.utime(cache / f"kubernetes-older-{number}", (number, number))
    path = build.ensure()
    assert {file.name for file in cache.glob("kubernetes-*")} == {path.name, "kubernetes-older-1", "kubernetes-older-2"}
    (tmp_path / "bin/go").write_text("#!/bin/sh\nexit 1\n")
    assert build.ensure() == path


@pytest.mark.usefixtures("cache")
def test_no_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_arguments, **_options: None)
    with pytest.raises(build.CannotBuild, match="there is no go on PATH"):
        build.ensure()


@pytest.mark.parametrize(
    ("version", "download", "result", "error", "told"),
    [
        ("go1.19.8", (0, ""), (0, ""), build.CannotBuild, "needs Go 1.21 or newer; .* is go1.19.8"),
        (
            "go1.26.0",
            (1, "dial tcp: lookup proxy.golang.org: no such host"),
            (0, ""),
            build.CannotBuild,
            "no such host",
        ),
        ("go1.26.0", (1, "go: example.org/x: checksum mismatch"), (0, ""), build.BuildFailed, "checksum mismatch"),
        ("go1.26.0", (0, ""), (1, "main.go:1: syntax error"), build.BuildFailed, "go build: main.go:1: syntax error"),
    ],
    ids=["old go", "no proxy", "another module than was pinned", "does not compile"],
)
def test_what_stands_in_the_way(
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    download: tuple[int, str],
    result: tuple[int, str],
    error: type[Exception],
    told: str,
) -> None:
    put_go(tmp_path, monkeypatch, version, download, result)
    with pytest.raises(error, match=told):
        build.ensure()
    assert [file.name for file in cache.iterdir()] == ["lock"]
