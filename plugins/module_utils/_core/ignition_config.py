# SPDX-License-Identifier: GPL-3.0-or-later
"""One Ignition config as it was said: what is None was not said, so that a later config can leave it to an earlier one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config import Origin, Unsupported


@dataclass(frozen=True)
class Content:
    """What a file is to contain: `data`, or why it cannot be had."""

    data: bytes
    unsupported: Unsupported | None = None


@dataclass(frozen=True)
class Ownership:
    """User and group, each an id, a name, or None where nothing is said."""

    user: int | str | None = None
    group: int | str | None = None


@dataclass(frozen=True)
class FileEntry:
    """An entry of storage.files. `appends`: its fragments, none of which can be honoured."""

    path: str
    content: Content | None
    mode: int | None
    owner: Ownership
    appends: tuple[Unsupported, ...]
    origin: Origin


@dataclass(frozen=True)
class DirectoryEntry:
    """An entry of storage.directories."""

    path: str
    mode: int | None
    owner: Ownership
    origin: Origin


@dataclass(frozen=True)
class LinkEntry:
    """An entry of storage.links."""

    path: str
    target: str
    hard: bool | None
    owner: Ownership
    origin: Origin


StorageEntry = Union[FileEntry, DirectoryEntry, LinkEntry]


@dataclass(frozen=True)
class DropInEntry:
    """A drop-in of a unit. Contents of None say nothing; the empty text takes away what an earlier config said."""

    name: str
    contents: str | None


@dataclass(frozen=True)
class UnitEntry:
    """An entry of systemd.units; for `contents` see DropInEntry."""

    name: str
    contents: str | None
    enabled: bool | None
    mask: bool | None
    dropins: tuple[DropInEntry, ...]
    origin: Origin


@dataclass(frozen=True)
class UserEntry:
    """The SSH keys of an entry of passwd.users."""

    name: str
    keys: tuple[str, ...]
    origin: Origin


@dataclass(frozen=True)
class ArgumentEntry:
    """A kernel argument of kernelArguments.shouldExist or shouldNotExist."""

    word: str
    origin: Origin


@dataclass(frozen=True)
class IgnitionConfig:
    """A config, each list in the order of the document."""

    files: tuple[FileEntry, ...] = ()
    directories: tuple[DirectoryEntry, ...] = ()
    links: tuple[LinkEntry, ...] = ()
    units: tuple[UnitEntry, ...] = ()
    users: tuple[UserEntry, ...] = ()
    arguments: tuple[ArgumentEntry, ...] = ()
    arguments_absent: tuple[ArgumentEntry, ...] = ()
    unsupported: tuple[Unsupported, ...] = ()
