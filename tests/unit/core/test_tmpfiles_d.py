# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of tmpfiles.d, held to the real systemd-tmpfiles where this machine has one."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileType
from ansible_collections.imagemode.nodes.plugins.module_utils._core.tmpfiles_d import (
    LARGEST_CONTENT,
    TmpfilesLine,
    TmpfilesNotUnderstood,
    parse_tmpfiles,
    tmpfiles_text,
)
from hypothesis import given
from hypothesis import strategies as st

TOOL = shutil.which("systemd-tmpfiles")
OWN, GROUP = os.getuid(), os.getgid()

NAMES = [
    "plain",
    "with space",
    "100%d",
    "%%",
    "back\\slash",
    'quo"te',
    "apo'strophe",
    "#hash",
    "ö",
    "-",
    " lead",
    "trail ",
]
NAMES += ["a\\x20b", "\\", " "]


def awkward_lines() -> list[TmpfilesLine]:
    lines = []
    for number, name in enumerate(NAMES):
        content = name.encode() + b"%m\0\xff\n" * number
        lines.append(TmpfilesLine(f"/var/lib/f/{name}/file", FileType.FILE, 0o640, OWN, GROUP, content))
        lines.append(TmpfilesLine(f"/var/lib/l/{name}", FileType.LINK, 0o777, OWN, GROUP, target=name))
        lines.append(TmpfilesLine(f"/var/lib/d/{name}", FileType.DIRECTORY, 0o750, OWN, GROUP))
    lines.append(TmpfilesLine("/var/lib/empty", FileType.FILE, 0o600, OWN, GROUP))
    lines.append(TmpfilesLine("/var/lib/large", FileType.FILE, 0o644, OWN, GROUP, b"\xaa" * LARGEST_CONTENT))
    return lines


@pytest.mark.skipif(TOOL is None, reason="this machine has no systemd-tmpfiles")
def test_systemd_makes_exactly_what_was_meant(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "var/lib").mkdir(parents=True)
    (root / "var/lib/empty").write_text("left over from another image")
    (root / "etc").mkdir()
    (root / "etc/named").write_text("x")
    lines = [*awkward_lines(), TmpfilesLine("/etc/named", FileType.FILE, 0o604, OWN, GROUP, attributes_only=True)]
    conf = tmp_path / "imagemode-config.conf"
    conf.write_text(tmpfiles_text(lines))
    done = subprocess.run(
        [str(TOOL), "--create", f"--root={root}", str(conf)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    for line in lines:
        made = root / line.path[1:]
        status = made.lstat()
        if line.type is FileType.LINK:
            assert str(made.readlink()) == line.target, line
            continue
        assert stat.S_IMODE(status.st_mode) == line.mode, line
        if line.type is FileType.FILE:
            assert made.read_bytes() == (b"x" if line.attributes_only else line.content), line
        else:
            assert made.is_dir(), line


TEXT = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=12)
NAME = TEXT.filter(lambda text: text.isprintable() and "/" not in text)


@given(
    st.lists(
        st.one_of(
            st.builds(
                TmpfilesLine,
                path=NAME.map("/var/{}".format),
                type=st.just(FileType.FILE),
                mode=st.integers(0, 0o7777),
                user=st.one_of(st.integers(0, 70000), st.just("core")),
                content=st.binary(max_size=40),
            ),
            st.builds(
                TmpfilesLine,
                path=NAME.map("/var/{}".format),
                type=st.just(FileType.LINK),
                mode=st.just(0o777),
                target=NAME,
            ),
            st.builds(
                TmpfilesLine, path=NAME.map("/var/{}".format), type=st.just(FileType.DIRECTORY), mode=st.just(0o700)
            ),
        ),
        max_size=5,
        unique_by=lambda line: line.path,
    )
)
def test_what_is_written_is_read_back(lines: list[TmpfilesLine]) -> None:
    assert parse_tmpfiles(tmpfiles_text(lines)) == sorted(lines, key=lambda line: line.path)


@pytest.mark.parametrize(
    "line",
    ["D /var/x 0755 0 0", "f+~ /var/x 0644 0 0", "f+~ /var/x 0644 0 0 - !", "f+ /var/x 0644", "d /var/x 8 0 0", 'd "/var/x 0755 0 0'],
)  # fmt: skip
def test_lines_of_others_are_refused(line: str) -> None:
    with pytest.raises(TmpfilesNotUnderstood):
        parse_tmpfiles(line)
