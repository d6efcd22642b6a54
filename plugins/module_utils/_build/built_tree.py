# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of an image in local container storage: mounted where this user may, else exported."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from ansible_collections.imagemode.nodes.plugins.module_utils._build.engine import Engine
from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileTree


class BuiltTree(Protocol):
    """Paths are absolute; bytes that are not UTF-8 are surrogate escapes in them, so they must not be printed as they are."""

    @property
    def entries(self) -> FileTree:
        """Every path, walked when first asked for; without hashes."""

    def read(self, path: str) -> bytes:
        """The content of a file, links followed inside the image. Raises FileNotFoundError where there is none."""

    def with_hashes(self, paths: Iterable[str]) -> FileTree:
        """`entries`, with the hash of the files among `paths`.

        A path through a linked directory is answered for under that path as well.
        """


@contextlib.contextmanager
def built_tree(engine: Engine, image: str, work_dir: Path) -> Iterator[BuiltTree]:
    """The tree of an image, for as long as the block runs. Raises BuildError, DeadlinePassed and Interrupted."""
    raise NotImplementedError
    yield
