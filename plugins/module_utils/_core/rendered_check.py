# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a built image has what its configuration was rendered to, path by path."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileTree, FileType, TreeEntry
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_config import (
    PathOwner,
    RenderedConfig,
    RenderedPath,
    RenderedUnit,
)

_OUR_UNITS = "/usr/lib/systemd/system/"
_STRONGER_UNITS = ("/etc/systemd/system/", "/usr/local/lib/systemd/system/")
_UNIT_DIRECTORIES = ("/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system")
_STARTING = re.compile(r"/(?:etc|usr/lib)/systemd/system/[^/]+\.(?:wants|requires|upholds)/")


@dataclass(frozen=True)
class Finding:
    """One difference: at which path, what the configuration says, what the image has."""

    path: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}, found {self.found}"


def check_rendered(config: RenderedConfig, tree: FileTree) -> tuple[Finding, ...]:
    """All differences, in order of path. `tree` is the finished image, with /etc at its place and the contents hashed."""
    findings = [
        *(finding for file in config.owned_by(PathOwner.IMAGE) for finding in _path_findings(file, tree)),
        *_shadow_findings(config, tree),
        *(finding for unit in config.units for finding in _unit_findings(unit, config, tree)),
        *_owned_elsewhere(config, tree),
        *_var_link_findings(config, tree),
    ]
    return tuple(sorted(set(findings), key=lambda finding: (finding.path, finding.expected, finding.found)))


def _path_findings(file: RenderedPath, tree: FileTree) -> Iterator[Finding]:
    entry = tree.get(file.path)
    if entry is None:
        yield Finding(file.path, f"a {file.type.value}", _absence(file.path, tree))
        return
    if entry.type is not file.type:
        yield Finding(file.path, f"a {file.type.value}", f"a {entry.type.value}")
        return
    if file.type is FileType.LINK:
        if entry.target != file.target:
            yield Finding(file.path, f"a link to {file.target}", f"a link to {entry.target}")
    elif entry.mode != file.mode:
        yield Finding(file.path, f"mode {file.mode:04o}", f"mode {entry.mode:04o}")
    if file.type is FileType.FILE and entry.sha256 != file.sha256:
        found = "content that was not read" if entry.sha256 is None else f"sha256 {entry.sha256} ({entry.size} bytes)"
        yield Finding(file.path, f"sha256 {file.sha256} ({file.size} bytes)", found)
    yield from _owner_findings(file, entry)


def _owner_findings(file: RenderedPath, entry: TreeEntry) -> Iterator[Finding]:
    """Names are given by systemd-tmpfiles at boot, so in the image the owner is root."""
    expected = [owner if isinstance(owner, int) else 0 for owner in (file.user, file.group)]
    if expected != [entry.uid, entry.gid]:
        yield Finding(file.path, f"owner {expected[0]}:{expected[1]}", f"owner {entry.uid}:{entry.gid}")


def _absence(path: str, tree: FileTree) -> str:
    """What stands in the way of a path, or `nothing`."""
    above = posixpath.dirname(path)
    while above != "/":
        entry = tree.get(above)
        if entry is not None and entry.type is FileType.LINK:
            return f"nothing, because {above} is a link to {entry.target}"
        if entry is not None and entry.type is not FileType.DIRECTORY:
            return f"nothing, because {above} is no directory"
        above = posixpath.dirname(above)
    return "nothing"


def _shadow_findings(config: RenderedConfig, tree: FileTree) -> Iterator[Finding]:
    """Units and drop-ins of ours that another file of the image hides, because systemd reads its directory first."""
    ours = {file.path for file in config.files}
    for file in config.owned_by(PathOwner.IMAGE):
        if not file.path.startswith(_OUR_UNITS) or file.type is not FileType.FILE:
            continue
        for directory in _STRONGER_UNITS:
            shadow = directory + file.path[len(_OUR_UNITS) :]
            if shadow in tree and shadow not in ours:
                yield Finding(shadow, f"nothing, since it would hide {file.path}", f"a {tree[shadow].type.value}")


def _unit_findings(unit: RenderedUnit, config: RenderedConfig, tree: FileTree) -> Iterator[Finding]:
    if unit.masked:
        return  # its link to /dev/null is a path like any other
    host = {file.path for file in config.owned_by(PathOwner.HOST)}
    if unit.enabled is None or f"/etc/systemd/system/{unit.name}" in host:
        return
    place = _unit_place(unit.name, tree)
    if place is None:
        if unit.enabled or unit.given:
            state = "enabled" if unit.enabled else "there, though disabled"
            yield Finding(_OUR_UNITS + unit.name, f"the unit, since it shall be {state}", "no such unit in the image")
        return
    if unit.name not in config.presets:
        return  # its links, if it has any, are paths like any other
    started_by = [path for path in _links_to(unit.name, tree) if unit.enabled or not path.startswith("/usr/")]
    if unit.enabled and not started_by:
        yield Finding(
            place, "a link that makes it start, since it shall be enabled", "none; has it an [Install] section?"
        )
    if not unit.enabled and started_by:
        yield Finding(place, "no link that makes it start, since it shall be disabled", ", ".join(started_by))


def _unit_place(name: str, tree: FileTree) -> str | None:
    """Where a unit, or the template of an instance, is; a link counts, since it is an alias."""
    prefix, at, rest = name.partition("@")
    template = f"{prefix}@.{rest.rpartition('.')[2]}" if at else name
    candidates = (f"{directory}/{one}" for one in (name, template) for directory in _UNIT_DIRECTORIES)
    return next((path for path in candidates if path in tree), None)


def _links_to(name: str, tree: FileTree) -> list[str]:
    """The links that start a unit: those by its name in a .wants directory and the like, and those that lead to it."""
    return sorted(
        path
        for path, entry in tree.items()
        if entry.type is FileType.LINK
        and (
            (posixpath.basename(path) == name and _STARTING.match(path))
            or (path.startswith("/etc/systemd/system/") and posixpath.basename(entry.target or "") == name)
        )
    )


def _owned_elsewhere(config: RenderedConfig, tree: FileTree) -> Iterator[Finding]:
    """Files of the host or of tmpfiles that the image brings too: the image's would come back, or hide a change."""
    for file in config.files:
        entry = tree.get(file.path)
        if file.owner is not PathOwner.IMAGE and file.type is FileType.FILE and file.secret and entry is not None:
            yield Finding(file.path, "nothing, since a secret belongs to the host alone", f"a {entry.type.value}")


def _var_link_findings(config: RenderedConfig, tree: FileTree) -> Iterator[Finding]:
    """Links of the base into /var that rendering took for granted, and that are something else."""
    for link, target in config.var_links:
        entry = tree.get(link)
        if entry is None:
            continue
        if entry.type is not FileType.LINK:
            yield Finding(link, f"a link to {target} (see var_links)", f"a {entry.type.value}")
            continue
        leads_to = posixpath.normpath(posixpath.join(posixpath.dirname(link), entry.target or ""))
        if leads_to != target:
            yield Finding(link, f"a link to {target} (see var_links)", f"a link to {entry.target}")
