# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine configuration became: every path with its one owner, and what the build and the nodes do besides."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileType
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config import Origin, Unsupported

TMPFILES_PATH = "/usr/lib/tmpfiles.d/imagemode-config.conf"
PRESET_PATH = "/usr/lib/systemd/system-preset/10-imagemode-config.preset"
KARGS_PATH = "/usr/lib/bootc/kargs.d/50-machine-config.toml"


class PathOwner(str, Enum):
    """Who brings a path to a node, and so who may change it."""

    IMAGE = "image"
    TMPFILES = "tmpfiles"
    HOST = "host"


@dataclass(frozen=True)
class RenderedPath:
    """One path and its owner.

    `user` and `group` are numbers or names. `sha256` is 64 hexadecimal digits; None for what is no file, and for a secret, which
    its checksum could give away; for the same reason the size of a secret is 0. `actions` are what a disruption policy asks
    for after a change. `origin` is None for a file that is put together from several fields.
    """

    path: str
    owner: PathOwner
    reason: str
    type: FileType
    mode: int
    user: int | str = 0
    group: int | str = 0
    size: int = 0
    sha256: str | None = None
    target: str | None = None
    secret: bool = False
    actions: tuple[str, ...] = ()
    origin: Origin | None = None


@dataclass(frozen=True)
class RenderedUnit:
    """A systemd unit. `given`: the configuration has its text; otherwise it lives in the base.

    `links` are the paths under /etc/systemd/system that make it start.
    """

    name: str
    given: bool
    enabled: bool | None
    masked: bool | None
    links: tuple[str, ...]
    origin: Origin


@dataclass(frozen=True)
class RenderedConfig:
    """A whole configuration, rendered. `files` and `units` are in order of path and name.

    `presets` are units of the base for which the build runs `systemctl preset`. `masks` are names of units. `var_links` are the
    links of the base into /var that were taken for granted, from the link to where it leads. `unsupported` was left out,
    because the user said that it may be. `left_out` are documents for other roles.
    """

    role: str
    sources: tuple[str, ...]
    files: tuple[RenderedPath, ...] = ()
    units: tuple[RenderedUnit, ...] = ()
    kargs: tuple[str, ...] = ()
    kargs_absent: tuple[str, ...] = ()
    presets: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    kernel_type: str = "default"
    fips: bool = False
    os_image: str | None = None
    unsupported: tuple[Unsupported, ...] = ()
    var_links: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    extensions_image: str | None = None
    left_out: tuple[str, ...] = ()

    def owned_by(self, owner: PathOwner) -> tuple[RenderedPath, ...]:
        """The paths of an owner, in order."""
        return tuple(file for file in self.files if file.owner is owner)

    @property
    def image_hash(self) -> str:
        """`sha256:…` over what can change an image: its paths, presets, extensions, kernel and FIPS. Host files do not count."""
        paths = [
            [file.path, file.type.value, file.mode, file.user, file.group, file.sha256, file.target]
            for file in self.owned_by(PathOwner.IMAGE)
        ]
        content = [paths, self.presets, self.extensions, self.kernel_type, self.fips]
        return "sha256:" + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Rendering:
    """A rendered configuration with the contents of the files of image and host, by path. Those may be secrets."""

    config: RenderedConfig
    contents: Mapping[str, bytes] = field(repr=False)
