# SPDX-License-Identifier: GPL-3.0-or-later
"""A finding of the checks of an image, and the image as the checks see it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileTree, FileType, TreeEntry
from ansible_collections.imagemode.nodes.plugins.module_utils._core.layer_tree import printable, resolve_path

EXAMPLES = 3
_AFTER_SLASH = chr(ord("/") + 1)


class Severity(str, Enum):
    """An error ends the build before the push; a warning is reported."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """`check` is a stable name such as `kernel`; `path` is where, or "" for the image as a whole.

    `message` goes on where a path and a colon end. Both can be printed.
    """

    check: str
    path: str
    message: str
    severity: Severity


def error(check: str, path: str, message: str) -> Finding:
    """A finding that ends the build."""
    return Finding(check, printable(path), message, Severity.ERROR)


def warning(check: str, path: str, message: str) -> Finding:
    """A finding that is reported."""
    return Finding(check, printable(path), message, Severity.WARNING)


@dataclass(frozen=True)
class CheckedImage:
    """An image. `content` reads a path of `tree`; `base` is the tree of what it was built on, where that is known."""

    tree: FileTree
    content: Callable[[str], bytes]
    labels: Mapping[str, str]
    base: FileTree | None = None

    @cached_property
    def _paths(self) -> list[str]:
        return sorted(self.tree)

    def added(self, path: str) -> bool:
        """Whether the build made or changed what is there; everything counts where the base is not known."""
        return self.base is None or self.base.get(path) != self.tree.get(path)

    def type_of(self, path: str) -> FileType | None:
        """What is there, links at the end not followed."""
        entry = self.tree.get(path)
        return entry.type if entry is not None else None

    def below(self, directory: str) -> Iterator[TreeEntry]:
        """All that is below a directory, in order of path."""
        paths = self._paths
        for path in paths[bisect_left(paths, f"{directory}/") : bisect_left(paths, directory + _AFTER_SLASH)]:
            yield self.tree[path]

    def children(self, directory: str) -> Iterator[TreeEntry]:
        """What is directly in a directory, in order of path."""
        start = len(directory) + 1
        return (entry for entry in self.below(directory) if "/" not in entry.path[start:])

    def added_below(self, directory: str) -> list[TreeEntry]:
        """What the build added below a directory."""
        return [entry for entry in self.below(directory) if self.added(entry.path)]

    def text(self, path: str) -> str | None:
        """The content of a file, links followed; None where no file is there. Raises UnicodeDecodeError."""
        real = resolve_path(self.tree, path)
        if real is None or self.tree[real].type is not FileType.FILE:
            return None
        return self.content(real).decode()


def examples(paths: Iterable[str]) -> str:
    """The first few of some paths, and how many more there are."""
    names = [printable(path) for path in paths]
    more = f" and {len(names) - EXAMPLES} more" if len(names) > EXAMPLES else ""
    return ", ".join(names[:EXAMPLES]) + more
