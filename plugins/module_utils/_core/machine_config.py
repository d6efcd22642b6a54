# SPDX-License-Identifier: GPL-3.0-or-later
"""What the MachineConfigs of a pool say together, after decoding and merging."""

from __future__ import annotations

from dataclasses import dataclass


class InvalidConfig(ValueError):
    """A document cannot be used as it is: which document, which field, and what to do. Never contains what a file contains."""

    def __init__(self, document: str, field: str, message: str) -> None:
        super().__init__(": ".join(part for part in (document, field, message) if part))
        self.document = document
        self.field = field
        self.message = message


@dataclass(frozen=True)
class Origin:
    """Where something was said: the document (its name or file) and the field, such as `spec.config.storage.files[3]`."""

    document: str
    field: str

    def below(self, name: str) -> Origin:
        """The place of a field of the object at this place."""
        return Origin(self.document, f"{self.field}.{name}" if self.field else name)

    def at(self, index: int) -> Origin:
        """The place of an entry of the list at this place."""
        return Origin(self.document, f"{self.field}[{index}]")

    def error(self, message: str) -> InvalidConfig:
        """What to raise about this place."""
        return InvalidConfig(self.document, self.field, message)

    def __str__(self) -> str:
        return f"{self.document}: {self.field}" if self.field else self.document


@dataclass(frozen=True)
class ConfigFile:
    """A regular file. `user` and `group` are a number, a name, or None for root."""

    path: str
    content: bytes
    mode: int
    user: int | str | None
    group: int | str | None
    origin: Origin


@dataclass(frozen=True)
class ConfigDirectory:
    """A directory."""

    path: str
    mode: int
    user: int | str | None
    group: int | str | None
    origin: Origin


@dataclass(frozen=True)
class ConfigLink:
    """A link; a hard one where `hard`."""

    path: str
    target: str
    hard: bool
    user: int | str | None
    group: int | str | None
    origin: Origin


@dataclass(frozen=True)
class DropIn:
    """A drop-in of a unit, such as `10-limits.conf`."""

    name: str
    contents: str


@dataclass(frozen=True)
class ConfigUnit:
    """A systemd unit. `contents` None: the unit comes from elsewhere; `enabled` None: nothing is said about it."""

    name: str
    contents: str | None
    enabled: bool | None
    mask: bool | None
    dropins: tuple[DropIn, ...]
    origin: Origin


@dataclass(frozen=True)
class SshKeys:
    """The SSH keys of a user, in order, none twice."""

    user: str
    keys: tuple[str, ...]
    origin: Origin


@dataclass(frozen=True)
class Unsupported:
    """What cannot be honoured, and why. `accepted`: the user said that it may be left out."""

    origin: Origin
    reason: str
    accepted: bool


@dataclass(frozen=True)
class MergedConfig:
    """All documents of a role in one. `sources` are their names in the order of merging.

    `kernel_arguments_absent` comes from Ignition's shouldNotExist. `kernel_type` is `default`, `realtime` or `64k-pages`.
    `extensions_image` is the image that holds the extensions. `left_out`: the names of the documents that take
    no part, mostly because they are for other roles. `only_of_worker`: the role is another one, and no document is for it.
    """

    role: str
    sources: tuple[str, ...]
    files: tuple[ConfigFile, ...] = ()
    directories: tuple[ConfigDirectory, ...] = ()
    links: tuple[ConfigLink, ...] = ()
    units: tuple[ConfigUnit, ...] = ()
    ssh_keys: tuple[SshKeys, ...] = ()
    kernel_arguments: tuple[str, ...] = ()
    kernel_arguments_absent: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    kernel_type: str = "default"
    fips: bool = False
    os_image: str | None = None
    unsupported: tuple[Unsupported, ...] = ()
    extensions_image: str | None = None
    left_out: tuple[str, ...] = ()
    only_of_worker: bool = False
