# SPDX-License-Identifier: GPL-3.0-or-later
"""Two Ignition configs in one: what the later one (the child) says wins, what it does not say stays.

The rules are those of Ignition (config/merge/merge.go) as the machine-config-operator uses them in
pkg/controller/common/helpers.go: entries with the same path or name become one at the place of the earlier one, new
entries follow; a path that the child has as another kind (a file that becomes a link) is the child's alone.

In two places the outcome is the one that both programs mean, where they produce a config that cannot be used:
source, compression and hash of a file go together, and so do id and name of an owner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_config import (
    ArgumentEntry,
    DirectoryEntry,
    DropInEntry,
    FileEntry,
    IgnitionConfig,
    LinkEntry,
    Ownership,
    StorageEntry,
    UnitEntry,
    UserEntry,
)

T = TypeVar("T")


P = TypeVar("P", FileEntry, DirectoryEntry, LinkEntry)


def merge_ignition(parent: IgnitionConfig, child: IgnitionConfig) -> IgnitionConfig:
    """What both say; the child was said later."""
    return IgnitionConfig(
        files=_merged(
            _unless_at(parent.files, (*child.directories, *child.links)), child.files, lambda entry: entry.path, _file
        ),
        directories=_merged(
            _unless_at(parent.directories, (*child.files, *child.links)),
            child.directories,
            lambda entry: entry.path,
            _directory,
        ),
        links=_merged(
            _unless_at(parent.links, (*child.files, *child.directories)), child.links, lambda entry: entry.path, _link
        ),
        units=_merged(parent.units, child.units, lambda entry: entry.name, _unit),
        users=_merged(parent.users, child.users, lambda entry: entry.name, _user),
        arguments=_arguments(parent.arguments, child.arguments, child.arguments_absent),
        arguments_absent=_arguments(parent.arguments_absent, child.arguments_absent, child.arguments),
        unsupported=tuple(dict.fromkeys((*parent.unsupported, *child.unsupported))),
    )


def _merged(
    parent: Sequence[T], child: Sequence[T], key: Callable[[T], str], both: Callable[[T, T], T]
) -> tuple[T, ...]:
    later = {key(entry): entry for entry in child}
    earlier = {key(entry) for entry in parent}
    kept = [both(entry, later[key(entry)]) if key(entry) in later else entry for entry in parent]
    return (*kept, *(entry for entry in child if key(entry) not in earlier))


def _unless_at(entries: Sequence[P], others: Iterable[StorageEntry]) -> tuple[P, ...]:
    taken = {other.path for other in others}
    return tuple(entry for entry in entries if entry.path not in taken)


def _first(later: T | None, earlier: T | None) -> T | None:
    return earlier if later is None else later


def _owner(parent: Ownership, child: Ownership) -> Ownership:
    return Ownership(
        parent.user if child.user is None else child.user, parent.group if child.group is None else child.group
    )


def _file(parent: FileEntry, child: FileEntry) -> FileEntry:
    return replace(
        child,
        content=_first(child.content, parent.content),
        mode=_first(child.mode, parent.mode),
        owner=_owner(parent.owner, child.owner),
        appends=(*parent.appends, *child.appends),
    )


def _directory(parent: DirectoryEntry, child: DirectoryEntry) -> DirectoryEntry:
    return replace(child, mode=_first(child.mode, parent.mode), owner=_owner(parent.owner, child.owner))


def _link(parent: LinkEntry, child: LinkEntry) -> LinkEntry:
    return replace(child, hard=_first(child.hard, parent.hard), owner=_owner(parent.owner, child.owner))


def _unit(parent: UnitEntry, child: UnitEntry) -> UnitEntry:
    return replace(
        child,
        contents=_first(child.contents, parent.contents),
        enabled=_first(child.enabled, parent.enabled),
        mask=_first(child.mask, parent.mask),
        dropins=_merged(parent.dropins, child.dropins, lambda entry: entry.name, _drop_in),
    )


def _drop_in(parent: DropInEntry, child: DropInEntry) -> DropInEntry:
    return replace(child, contents=_first(child.contents, parent.contents))


def _user(parent: UserEntry, child: UserEntry) -> UserEntry:
    return replace(child, keys=tuple(dict.fromkeys((*parent.keys, *child.keys))))


def _arguments(
    parent: Sequence[ArgumentEntry], child: Sequence[ArgumentEntry], opposite: Sequence[ArgumentEntry]
) -> tuple[ArgumentEntry, ...]:
    taken = {entry.word for entry in opposite}
    kept = [entry for entry in parent if entry.word not in taken]
    return _merged(kept, child, lambda entry: entry.word, lambda _earlier, later: later)
