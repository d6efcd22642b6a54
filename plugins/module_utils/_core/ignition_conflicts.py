# SPDX-License-Identifier: GPL-3.0-or-later
"""What a merged Ignition config cannot want at the same time. Every message names both places."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping

from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_config import IgnitionConfig, StorageEntry
from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_fields import shown
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config import Origin

UNIT_DIRECTORY = "/etc/systemd/system"


def require_no_conflicts(config: IgnitionConfig) -> None:
    """Raises InvalidConfig for paths that exclude each other (Ignition config/v3_5/types/storage.go and config.go)."""
    leaves = {
        **{entry.path: ("file", entry.origin) for entry in config.files},
        **{entry.path: ("link", entry.origin) for entry in config.links},
    }
    units = dict(_unit_paths(config))
    entries: tuple[StorageEntry, ...] = (*config.files, *config.directories, *config.links)
    for entry in entries:
        _require_no_leaf_above(entry.path, entry.origin, leaves)
        if entry.path in units:
            raise entry.origin.below("path").error(
                f"{shown(entry.path)} is also written for the unit at {units[entry.path]}; keep one of the two"
            )
    for path, origin in units.items():
        _require_no_leaf_above(path, origin, leaves)
    _check_hard_links(config)
    _check_arguments(config)


def _require_no_leaf_above(path: str, origin: Origin, leaves: Mapping[str, tuple[str, Origin]]) -> None:
    above = posixpath.dirname(path)
    while above != "/":
        if above in leaves:
            kind, other = leaves[above]
            advice = "name the path where the link leads" if kind == "link" else "remove one of the two"
            raise origin.error(f"{shown(path)} lies below {shown(above)}, which is a {kind} by {other}; {advice}")
        above = posixpath.dirname(above)


def _unit_paths(config: IgnitionConfig) -> Iterator[tuple[str, Origin]]:
    """The paths that units and their drop-ins take."""
    for unit in config.units:
        if unit.contents or unit.mask:
            yield f"{UNIT_DIRECTORY}/{unit.name}", unit.origin
        for dropin in unit.dropins:
            if dropin.contents:
                yield f"{UNIT_DIRECTORY}/{unit.name}.d/{dropin.name}", unit.origin


def _check_hard_links(config: IgnitionConfig) -> None:
    directories = {entry.path: entry.origin for entry in config.directories}
    for link in config.links:
        if not link.hard:
            continue
        place = link.origin.below("target")
        if not link.target.startswith("/"):
            raise place.error(f"{shown(link.target)} is not absolute; the target of a hard link starts with /")
        if link.target == link.path:
            raise place.error(f"{shown(link.path)} would be a hard link to itself")
        if link.target in directories:
            raise place.error(
                f"{shown(link.target)} is a directory by {directories[link.target]}, and hard links to those do not exist"
            )


def _check_arguments(config: IgnitionConfig) -> None:
    absent = {entry.word: entry.origin for entry in config.arguments_absent}
    for entry in config.arguments:
        if entry.word in absent:
            raise entry.origin.error(f"{shown(entry.word)} is wanted here, and unwanted by {absent[entry.word]}")
