# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a path of an image leads, its links followed inside the image and never out of it."""

from __future__ import annotations

from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileTree, FileType

MAXIMUM_LINKS = 40  # as the kernel


def resolve_parents(tree: FileTree, path: str) -> str | None:
    """The path without links among its directories; its last part may be a link, or missing.

    None where a directory is missing, is no directory, or links go in circles.
    """
    return _resolve(tree, path, last=False)


def resolve(tree: FileTree, path: str) -> str | None:
    """What the path leads to, as a path that is in the tree and is no link; `/` for the root. None where nothing is there."""
    return _resolve(tree, path, last=True)


def _resolve(tree: FileTree, path: str, last: bool) -> str | None:
    left = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    at: list[str] = []
    links = 0
    while left:
        part = left.pop()
        if part == "..":
            at = at[:-1]  # the root is its own parent
            continue
        here = "/".join(["", *at, part])
        entry = tree.get(here)
        if not left and not last:
            return here
        if entry is None:
            return None
        if entry.type is FileType.LINK:
            links += 1
            if links > MAXIMUM_LINKS:
                return None
            target = entry.target or ""
            if target.startswith("/"):
                at = []
            left.extend(step for step in reversed(target.split("/")) if step not in ("", "."))
            continue
        if left and entry.type is not FileType.DIRECTORY:
            return None
        at.append(part)
    return "/".join(["", *at]) if at else "/"
