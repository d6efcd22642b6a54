# SPDX-License-Identifier: GPL-3.0-or-later
"""File trees and package headers as JSON, to be kept and read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileTree, FileType, TreeEntry
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rpm_header import RpmFile, RpmHeader


def tree_document(tree: FileTree) -> list[list[Any]]:
    """A list for each entry, in order of path."""
    return [
        [one.path, one.type.value, one.mode, one.uid, one.gid, one.size, one.target, one.sha256]
        for _path, one in sorted(tree.items())
    ]


def parse_tree(document: Sequence[Sequence[Any]]) -> FileTree:
    """The tree of `tree_document`. Raises ValueError or TypeError for anything else."""
    entries = (TreeEntry(path, FileType(kind), *rest) for path, kind, *rest in document)
    return {entry.path: entry for entry in entries}


def packages_document(packages: Mapping[str, RpmHeader]) -> dict[str, list[Any]]:
    """A list for each package by its file's name."""
    return {name: _package_document(header) for name, header in packages.items()}


def _package_document(header: RpmHeader) -> list[Any]:
    files = [
        [one.path, one.type.value, one.mode, one.size, one.user, one.group, one.digest, one.target, one.ghost]
        for one in header.files
    ]
    words = (header.name, header.epoch, header.version, header.release, header.arch)
    return [*words, header.is_source, header.digest_algorithm, files]


def parse_packages(document: Mapping[str, Sequence[Any]]) -> dict[str, RpmHeader]:
    """The headers of `packages_document`. Raises ValueError or TypeError for anything else."""
    found = {}
    for name, words in document.items():
        *plain, files = words
        header: Callable[..., RpmHeader] = RpmHeader
        found[name] = header(*plain, tuple(RpmFile(path, FileType(kind), *rest) for path, kind, *rest in files))
    return found
