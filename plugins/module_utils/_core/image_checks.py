# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a built image that can be seen from its files alone, without bootc."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileTree


class Severity(str, Enum):
    """An error ends the build before the push; a warning is reported."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """`check` is a stable name such as `kernel`; `path` is where, or "" for the image as a whole."""

    check: str
    path: str
    message: str
    severity: Severity


def check_image(
    tree: FileTree, read: Callable[[str], bytes], labels: Mapping[str, str], base: FileTree | None = None
) -> tuple[Finding, ...]:
    """What is to be said about an image, errors first. `read` gives the content of a path of the tree.

    With the tree of its base, what the base had already is left out: whoever builds on it cannot change it.
    """
    return ()
