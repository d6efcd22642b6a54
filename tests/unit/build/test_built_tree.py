# SPDX-License-Identifier: GPL-3.0-or-later
"""A tree that is mounted somewhere: what is in it, and that nothing outside of it is ever read."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.built_tree import MountedTree
from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileType, TreeEntry


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with links of all kinds; `outside` beside it must never be seen."""
    (tmp_path / "outside").write_text("outside")
    root = tmp_path / "root"
    (root / "usr/lib/dir").mkdir(parents=True)
    (root / "usr/lib/dir/file").write_text("inside")
    (root / "usr/lib/dir/file").chmod(0o4711)
    (root / "usr/lib/outside").write_text("the image's own")
    (root / "lib").symlink_to("usr/lib")
    (root / "absolute").symlink_to("/usr/lib/dir/file")
    (root / "up").symlink_to("../outside")
    (root / "far").symlink_to("../../../../usr/lib/outside")
    (root / "host").symlink_to("/etc/passwd")
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "fifo")
    descriptor = os.open(os.fsencode(root) + b"/odd\xff\n", os.O_CREAT | os.O_WRONLY, 0o644)
    os.write(descriptor, b"odd")
    os.close(descriptor)
    return root


def test_every_path_is_there_with_its_kind(root: Path) -> None:
    entries = MountedTree(root).entries
    uid, gid = os.getuid(), os.getgid()
    assert set(entries) == {
        *("/", "/usr", "/usr/lib", "/usr/lib/dir", "/usr/lib/dir/file", "/usr/lib/outside"),
        *("/lib", "/absolute", "/up", "/far", "/host", "/loop", "/fifo", "/odd\udcff\n"),
    }
    assert entries["/usr/lib/dir/file"] == TreeEntry("/usr/lib/dir/file", FileType.FILE, 0o4711, uid, gid, 6)
    assert entries["/lib"] == TreeEntry("/lib", FileType.LINK, 0o777, uid, gid, target="usr/lib")
    assert (entries["/fifo"].type, entries["/usr"].type) == (FileType.OTHER, FileType.DIRECTORY)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/usr/lib/dir/file", b"inside"),
        ("/lib/dir/file", b"inside"),
        ("/absolute", b"inside"),
        ("/lib/../lib/dir/../outside", b"the image's own"),
        ("/far", b"the image's own"),
        ("/odd\udcff\n", b"odd"),
    ],
)
def test_links_are_followed_inside(root: Path, path: str, content: bytes) -> None:
    tree = MountedTree(root)
    assert tree.read(path) == content
    assert tree.sha256(path) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("path", ["/up", "/host", "/loop", "/../outside", "/usr", "/", "/fifo", "/absent", "/absent/x"])
def test_nothing_else_is_read(root: Path, path: str) -> None:
    with pytest.raises(FileNotFoundError, match="the image has no file"):
        MountedTree(root).read(path)


def test_only_what_is_asked_for_is_hashed(root: Path) -> None:
    tree = MountedTree(root)
    hashed = tree.with_hashes(["/usr/lib/dir/file", "/lib/dir/file", "/absolute", "/usr", "/fifo", "/absent", "/up/x"])
    inside = hashlib.sha256(b"inside").hexdigest()
    assert {path: entry.sha256 for path, entry in hashed.items() if entry.sha256} == {
        "/usr/lib/dir/file": inside,
        "/lib/dir/file": inside,
    }
    assert set(hashed) == {*tree.entries, "/lib/dir/file"}
    assert hashed["/lib/dir/file"].path == "/lib/dir/file"
