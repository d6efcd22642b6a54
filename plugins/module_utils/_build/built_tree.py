# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of an image in local container storage: mounted where this user may, else exported."""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import stat
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Protocol

from ansible_collections.imagemode.nodes.plugins.module_utils._build.engine import ANSWER_SECONDS, Engine, EngineName
from ansible_collections.imagemode.nodes.plugins.module_utils._build.image_layers import ImageLayers
from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import DeadlinePassed, capture
from ansible_collections.imagemode.nodes.plugins.module_utils._build.storage_export import exported
from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileTree, FileType, TreeEntry
from ansible_collections.imagemode.nodes.plugins.module_utils._core.layer_tree import LayerTree, printable, resolve_path

MOUNT_SECONDS = 900.0  # the vfs storage driver copies the whole image
CHUNK = 1 << 20


class BuiltTree(Protocol):
    """Paths are absolute; bytes that are not UTF-8 are surrogate escapes in them, so they must not be printed as they are."""

    @property
    def entries(self) -> FileTree:
        """Every path, the root too, walked when first asked for; without hashes."""

    def read(self, path: str) -> bytes:
        """The content of a file, links followed inside the image. Raises FileNotFoundError where there is none."""

    def with_hashes(self, paths: Iterable[str]) -> FileTree:
        """`entries`, with the hash of the files among `paths`; a path through a linked directory is added as such.

        The last part of a path is not followed: a link is a link.
        """


class MountedTree:
    """A tree below a directory of this host."""

    def __init__(self, root: Path) -> None:
        self._root = os.fsencode(root)

    @cached_property
    def entries(self) -> FileTree:
        """Every path, without hashes."""
        return dict(_walk(self._root))

    def read(self, path: str) -> bytes:
        """The content of a file, links followed inside the tree. Raises FileNotFoundError where there is none."""
        with self._open(path) as file:
            return file.read()

    def sha256(self, path: str) -> str:
        """The hash of a file's content. Raises FileNotFoundError."""
        digest = hashlib.sha256()
        with self._open(path) as file:
            for chunk in iter(lambda: file.read(CHUNK), b""):
                digest.update(chunk)
        return digest.hexdigest()

    def with_hashes(self, paths: Iterable[str]) -> FileTree:
        """`entries`, with the hash of the files among `paths`; a path through a linked directory is added as such."""
        found = dict(self.entries)
        for path in paths:
            real = _with_real_directory(self.entries, path)
            entry = self.entries.get(real) if real is not None else None
            if real is not None and entry is not None:
                sha256 = self.sha256(real) if entry.type is FileType.FILE else None
                found[real] = replace(entry, sha256=sha256)
                found[path] = replace(entry, path=path, sha256=sha256)
        return found

    def _open(self, path: str) -> BinaryIO:
        real = _file_at(self.entries, path)
        inside = self._root + real.encode("utf-8", "surrogateescape")
        return os.fdopen(os.open(inside, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")


class ExportedTree:
    """A tree in the layers of an exported image, for users who may not mount."""

    def __init__(self, layers: ImageLayers) -> None:
        self._layers = layers

    @cached_property
    def _merged(self) -> LayerTree:
        return self._layers.tree()

    @property
    def entries(self) -> FileTree:
        """Every path, without hashes."""
        return self._merged.tree

    def read(self, path: str) -> bytes:
        """The content of a file, links followed inside the tree. Raises FileNotFoundError and BuildError."""
        real = _file_at(self.entries, path)
        return self._layers.read(self._merged, [real])[real]

    def with_hashes(self, paths: Iterable[str]) -> FileTree:
        """`entries`, with the hash of the files among `paths`; a path through a linked directory is added as such."""
        asked = {path: _with_real_directory(self.entries, path) for path in paths}
        real = [path for path in asked.values() if path is not None]
        found = dict(self._layers.hashed(self._merged, real))
        found.update(
            {
                path: replace(found[real], path=path)
                for path, real in asked.items()
                if real is not None and real in found
            }
        )
        return found


@contextlib.contextmanager
def built_tree(engine: Engine, image: str, work_dir: Path) -> Iterator[BuiltTree]:
    """The tree of an image, for as long as the block runs. Raises BuildError, DeadlinePassed and Interrupted."""
    with contextlib.ExitStack() as stack:
        root = stack.enter_context(_mounted(engine, image, work_dir)) if os.geteuid() == 0 else None
        if root is not None:
            yield MountedTree(root)
        else:
            yield ExportedTree(stack.enter_context(exported(engine, image, work_dir)).layers)


def _with_real_directory(tree: FileTree, path: str) -> str | None:
    """The path with the links among its directories followed, but not a link at its end."""
    directory = resolve_path(tree, posixpath.dirname(path))
    return None if directory is None else posixpath.join(directory, posixpath.basename(path))


def _file_at(tree: FileTree, path: str) -> str:
    real = resolve_path(tree, path)
    if real is None or tree[real].type is not FileType.FILE:
        raise FileNotFoundError(f"the image has no file {printable(path)}")
    return real


@contextlib.contextmanager
def _mounted(engine: Engine, image: str, work_dir: Path) -> Iterator[Path | None]:
    """Where the image is mounted; None where it cannot be, such as in a container that may not mount."""
    if engine.name is EngineName.PODMAN:
        mount, clean_up = [engine.path, "image", "mount", image], [[engine.path, "image", "unmount", image]]
    else:
        # a name that the next run finds again, so that what a killed one left behind goes away with it
        known = hashlib.sha256(f"{work_dir}\n{image}".encode()).hexdigest()[:16]
        name = f"imagemode-tree-{known}"
        mount = [engine.path, "mount", name]
        clean_up = [[engine.path, "umount", name], [engine.path, "rm", name]]
    try:
        if engine.name is EngineName.BUILDAH:
            _run_all(clean_up)
            argv = [engine.path, "from", "--quiet", "--pull-never", f"--name={name}", image]
            if capture(argv, MOUNT_SECONDS).exit_code != 0:
                yield None
                return
        done = capture(mount, MOUNT_SECONDS)
        root = Path(done.output.strip())
        yield root if done.exit_code == 0 and root.is_absolute() and root.is_dir() else None
    finally:
        _run_all(clean_up)


def _run_all(commands: Iterable[list[str]]) -> None:
    for argv in commands:
        with contextlib.suppress(DeadlinePassed):
            capture(argv, ANSWER_SECONDS, cleaning_up=True)


def _walk(root: bytes) -> Iterator[tuple[str, TreeEntry]]:
    """Every path below a directory. Raises OSError."""
    left = [("", root)]
    yield "/", _entry("/", os.lstat(root), None)
    while left:
        prefix, directory = left.pop()
        with os.scandir(directory) as found:
            for item in found:
                status = item.stat(follow_symlinks=False)
                path = f"{prefix}/{item.name.decode('utf-8', 'surrogateescape')}"
                target = None
                if item.is_symlink():
                    target = os.readlink(item.path).decode("utf-8", "surrogateescape")
                elif item.is_dir(follow_symlinks=False):
                    left.append((path, item.path))
                yield path, _entry(path, status, target)


def _entry(path: str, status: os.stat_result, target: str | None) -> TreeEntry:
    kind = _type(status.st_mode)
    size = status.st_size if kind is FileType.FILE else 0
    return TreeEntry(path, kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, size, target)


def _type(mode: int) -> FileType:
    if stat.S_ISREG(mode):
        return FileType.FILE
    if stat.S_ISDIR(mode):
        return FileType.DIRECTORY
    return FileType.LINK if stat.S_ISLNK(mode) else FileType.OTHER
