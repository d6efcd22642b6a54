# SPDX-License-Identifier: GPL-3.0-or-later
"""The file tree of an image, merged from what its layers have: additions, whiteouts, hard links.

The rules are those of the OCI image specification (layer.md: change types, whiteouts, opaque whiteouts).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileTree, FileType, TreeEntry

WHITEOUT_PREFIX = ".wh."
OPAQUE_WHITEOUT = ".wh..wh..opq"
MOST_LINKS = 40  # as the kernel follows in one path
MOST_ENTRIES = 5_000_000
LONGEST_PATH = 4096
DEEPEST_PATH = 256


class BadLayer(ValueError):
    """A layer that no tool should unpack, or that is no layer; the message says what is in it."""


@dataclass(frozen=True)
class LayerEntry:
    """A member of a layer's archive. `name` is as in the archive; `hard_link` is the name of what it is a link to."""

    name: str
    type: FileType
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    target: str | None = None
    hard_link: str | None = None


@dataclass(frozen=True)
class ContentPlace:
    """Where the bytes of a file are: number of the layer and of the member in it, both from 0."""

    layer: int
    member: int


@dataclass(frozen=True)
class LayerTree:
    """A merged image. `places` has an entry for each file; paths that are hard links to each other share one."""

    tree: FileTree
    places: Mapping[str, ContentPlace]


def archive_path(name: str) -> str:
    """The path that a member's name stands for: absolute and relative names are the same. Raises BadLayer."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise BadLayer(f"has the name {printable(name)}, which leads out of the image")
    if "\0" in name or len(name) > LONGEST_PATH or len(parts) > DEEPEST_PATH:
        raise BadLayer(f"has a name that no file system can hold: {printable(name[:100])}")
    return "/" + "/".join(parts)


def printable(text: str) -> str:
    """A name for messages: whatever cannot be shown is escaped."""
    return "".join(_shown(letter) for letter in text)


def _shown(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":  # a byte that is not UTF-8
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter if letter.isprintable() else repr(letter)[1:-1]


def merge_layers(layers: Iterable[Iterable[LayerEntry]]) -> LayerTree:
    """The tree of an image whose layers are given lowest first. Raises BadLayer."""
    merge = _Merge()
    for entries in layers:
        merge.add(entries)
    return LayerTree(merge.entries, {path: merge.places[path] for path in merge.entries if path in merge.places})


class _Merge:
    """The state of a merge: entries by path, the layer of each, and the names below each directory."""

    def __init__(self) -> None:
        self.entries: dict[str, TreeEntry] = {"/": TreeEntry("/", FileType.DIRECTORY, 0o755)}
        self.places: dict[str, ContentPlace] = {}
        self._layer_of: dict[str, int] = {"/": -1}
        self._below: dict[str, set[str]] = {"/": set()}
        self._layer = -1

    def add(self, entries: Iterable[LayerEntry]) -> None:
        """Apply one layer. Its whiteouts hide what is below it, wherever they are in the archive."""
        self._layer += 1
        additions = []
        for member, entry in enumerate(entries):
            if member >= MOST_ENTRIES:
                raise BadLayer(f"has more than {MOST_ENTRIES} members")
            path = archive_path(entry.name)
            name = posixpath.basename(path)
            if name.startswith(WHITEOUT_PREFIX):
                self._hide(posixpath.dirname(path), name)
            else:
                additions.append((member, path, entry))
        for member, path, entry in additions:
            self._put(member, path, entry)

    def _hide(self, parent: str, name: str) -> None:
        if name == OPAQUE_WHITEOUT:
            for below in list(self._below.get(parent, ())):
                self._remove(below)
        elif not name.startswith(WHITEOUT_PREFIX * 2):  # those are notes of a storage driver
            hidden = name[len(WHITEOUT_PREFIX) :]
            if not hidden or hidden in (".", ".."):
                raise BadLayer(f"has the whiteout {name!r}, which hides nothing that can be")
            self._remove(posixpath.join(parent, hidden))

    def _put(self, member: int, path: str, entry: LayerEntry) -> None:
        path = self._through_own_links(path)
        if path == "/":
            if entry.type is FileType.DIRECTORY:
                self.entries["/"] = replace(self.entries["/"], mode=entry.mode, uid=entry.uid, gid=entry.gid)
            return
        self._make_parents(path)
        if entry.hard_link is not None:
            self._put_hard_link(path, entry.hard_link)
            return
        stays = entry.type is FileType.DIRECTORY and self._is_directory(path)
        if not stays:
            self._remove(path)
        self._set(TreeEntry(path, entry.type, entry.mode, entry.uid, entry.gid, entry.size, entry.target))
        if entry.type is FileType.FILE:
            self.places[path] = ContentPlace(self._layer, member)

    def _put_hard_link(self, path: str, name: str) -> None:
        origin = self._through_own_links(archive_path(name))
        found = self.entries.get(origin)
        if found is None or found.type is FileType.DIRECTORY:
            raise BadLayer(f"has {printable(path)} as a hard link to {printable(name)}, which is not there")
        if origin == path:
            return
        place = self.places.get(origin)
        self._remove(path)
        self._set(replace(found, path=path))
        if place is not None:
            self.places[path] = place

    def _through_own_links(self, path: str) -> str:
        """The path with links of this same layer followed in its directories, as an unpacking tool would.

        A link of a layer below is not followed: the directory takes its place, as in the overlay of a container.
        """
        parent = posixpath.dirname(path)
        if parent == "/" or self._is_directory(parent):
            return path
        followed = 0
        done, todo = "/", [part for part in path.split("/") if part]
        while len(todo) > 1:
            part = todo.pop(0)
            if part in ("", ".", ".."):
                done = posixpath.dirname(done) if part == ".." else done
                continue
            step = posixpath.join(done, part)
            found = self.entries.get(step)
            if found is None or found.type is FileType.DIRECTORY or self._layer_of[step] != self._layer:
                done = step
                continue
            followed += 1
            if found.type is not FileType.LINK or followed > MOST_LINKS:
                raise BadLayer(f"has {printable(path)} below {printable(step)}, which is not a directory")
            done, todo = _follow(done, found.target or "", todo)
        return posixpath.join(done, todo[0])

    def _make_parents(self, path: str) -> None:
        parent = posixpath.dirname(path)
        if self._is_directory(parent):
            return
        self._make_parents(parent)
        self._remove(parent)
        self._set(TreeEntry(parent, FileType.DIRECTORY, 0o755))

    def _is_directory(self, path: str) -> bool:
        return path in self._below

    def _set(self, entry: TreeEntry) -> None:
        self.entries[entry.path] = entry
        self._layer_of[entry.path] = self._layer
        if entry.type is FileType.DIRECTORY:
            self._below.setdefault(entry.path, set())
        self._below[posixpath.dirname(entry.path)].add(entry.path)

    def _remove(self, path: str) -> None:
        if path not in self.entries or path == "/":
            return
        pending = [path]
        while pending:
            one = pending.pop()
            pending.extend(self._below.pop(one, ()))
            del self.entries[one], self._layer_of[one]
            self.places.pop(one, None)
        self._below[posixpath.dirname(path)].discard(path)


def _follow(directory: str, target: str, rest: Sequence[str]) -> tuple[str, list[str]]:
    """Where the walk goes on behind a link: from the root or from its directory, over the target's parts."""
    return ("/" if target.startswith("/") else directory), [*target.split("/"), *rest]


def resolve_path(tree: FileTree, path: str) -> str | None:
    """The path with every link followed, the last included; None where nothing is there or links go round in a ring."""
    followed = 0
    done, todo = "/", path.split("/")
    while todo:
        part = todo.pop(0)
        if part in ("", ".", ".."):
            done = posixpath.dirname(done) if part == ".." else done
            continue
        step = posixpath.join(done, part)
        found = tree.get(step)
        if found is None:
            return None
        if found.type is FileType.LINK:
            followed += 1
            if followed > MOST_LINKS:
                return None
            done, todo = _follow(done, found.target or "", todo)
        else:
            done = step
    return done


def below(tree: FileTree, directory: str) -> Iterator[TreeEntry]:
    """The entries below a directory, not itself, in order of path."""
    prefix = directory.rstrip("/") + "/"
    for path in sorted(tree):
        if path.startswith(prefix) and path != directory:
            yield tree[path]
