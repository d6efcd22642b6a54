# SPDX-License-Identifier: GPL-3.0-or-later
"""What is at the paths of an image: type, permissions, owner, content by hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class FileType(str, Enum):
    """What a path can be; everything that is none of the first three is `other`, such as a device."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"
    OTHER = "other"


@dataclass(frozen=True)
class TreeEntry:
    """`path` begins with a slash; `mode` has the permission bits with set-user-id and the like; `size` in bytes.

    `target` is that of a symbolic link. `sha256` is 64 hexadecimal digits, None where the content was not read.
    """

    path: str
    type: FileType
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    target: str | None = None
    sha256: str | None = None


FileTree = Mapping[str, TreeEntry]
