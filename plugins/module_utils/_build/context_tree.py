# SPDX-License-Identifier: GPL-3.0-or-later
"""The hash of a build context: everything in it that can end up in an image, and nothing else."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._build.ignore_file import IgnoreRules

CHUNK = 1024 * 1024
_KEPT_ATTRIBUTES = ("security.capability", "security.ima")


@dataclass(frozen=True)
class ContextEntry:
    """A path of the context, relative to it, with its status."""

    path: bytes
    full_path: bytes
    status: os.stat_result


def context_hash(context: Path, rules: IgnoreRules) -> str:
    """`sha256:…` over all that COPY keeps of a file, and not over times, owners or order on disk.

    That is its path, type, permissions, content, link target, capabilities and user attributes, and which files are one
    (seen with buildah 1.28.2). Contents are streamed. Raises OSError naming the file that cannot be read.
    """
    total = hashlib.sha256()
    names: dict[tuple[int, int], bytes] = {}
    for entry in entries(context, rules):
        fields = [entry.path, *_description(entry), *_attributes(entry.full_path)]
        if stat.S_ISREG(entry.status.st_mode) and entry.status.st_nlink > 1:
            first = names.setdefault((entry.status.st_dev, entry.status.st_ino), entry.path)
            fields.extend([b"same file as", first] if first != entry.path else [])
        for field in (*fields, b"end"):
            total.update(len(field).to_bytes(8, "big"))
            total.update(field)
    return "sha256:" + total.hexdigest()


def entries(context: Path, rules: IgnoreRules) -> Iterator[ContextEntry]:
    """The entries that an engine would see, every directory before its contents, in order of their bytes."""
    yield from _below(os.fsencode(context), b"", rules)


def _below(root: bytes, relative: bytes, rules: IgnoreRules) -> Iterator[ContextEntry]:
    directory = os.path.join(root, relative) if relative else root
    for name in sorted(os.listdir(directory)):
        path = relative + b"/" + name if relative else name
        full = os.path.join(root, path)
        status = os.lstat(full)
        ignored = rules.ignores(os.fsdecode(path))
        if not ignored:
            yield ContextEntry(path, full, status)
        if stat.S_ISDIR(status.st_mode) and (not ignored or rules.keeps_some):
            yield from _below(root, path, rules)


def _description(entry: ContextEntry) -> tuple[bytes, bytes, bytes]:
    mode = entry.status.st_mode
    permissions = b"%o" % stat.S_IMODE(mode)
    if stat.S_ISREG(mode):
        return b"file", permissions, _content_hash(entry.full_path)
    if stat.S_ISLNK(mode):
        return b"link", b"", os.readlink(entry.full_path)
    if stat.S_ISDIR(mode):
        return b"directory", permissions, b""
    return b"special", permissions, b"%d %d" % (stat.S_IFMT(mode), entry.status.st_rdev)


def _attributes(path: bytes) -> list[bytes]:
    """The extended attributes that engines copy: names and values."""
    if not hasattr(os, "listxattr"):
        return []
    try:
        names = sorted(os.listxattr(path, follow_symlinks=False))
    except OSError:  # a file system without any
        return []
    kept = [name for name in names if name in _KEPT_ATTRIBUTES or name.startswith("user.")]
    return [part for name in kept for part in (os.fsencode(name), os.getxattr(path, name, follow_symlinks=False))]


def _content_hash(path: bytes) -> bytes:
    content = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(CHUNK), b""):
            content.update(chunk)
    return content.digest()
