# SPDX-License-Identifier: GPL-3.0-or-later
"""The paths of a configuration while it is rendered: each taken once, none below a file or a link."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Mapping
from dataclasses import replace

from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileType
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config import Origin
from ansible_collections.imagemode.nodes.plugins.module_utils._core.path_owner import Ownership
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_config import PathOwner, RenderedPath
from ansible_collections.imagemode.nodes.plugins.module_utils._core.tmpfiles_d import TmpfilesLine


class RenderedPaths:
    """Paths with their contents, and what was found wrong or worth saying while they were collected."""

    def __init__(self) -> None:
        self._paths: dict[str, RenderedPath] = {}
        self._contents: dict[str, bytes] = {}
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def refuse(self, origin: Origin, path: str, why: str) -> None:
        """Remember that a path cannot be rendered."""
        self.problems.append(f"{said(origin)}: {path} {why}")

    def file(  # one parameter for each property of a file
        self,
        path: str,
        content: bytes,
        mode: int,
        ownership: Ownership,
        origin: Origin | None,
        *,
        user: int | str | None = None,
        group: int | str | None = None,
    ) -> None:
        """Take a file."""
        digest = None if ownership.secret else hashlib.sha256(content).hexdigest()
        entry = _entry(path, FileType.FILE, mode, ownership, origin, user, group)
        size = 0 if ownership.secret else len(content)
        if self._take(replace(entry, size=size, sha256=digest, secret=ownership.secret), content):
            self._contents[path] = content

    def directory(
        self,
        path: str,
        mode: int,
        ownership: Ownership,
        origin: Origin,
        *,
        user: int | str | None,
        group: int | str | None,
    ) -> None:
        """Take a directory."""
        self._take(_entry(path, FileType.DIRECTORY, mode, ownership, origin, user, group))

    def link(
        self,
        path: str,
        target: str,
        ownership: Ownership,
        origin: Origin,
        *,
        user: int | str | None = None,
        group: int | str | None = None,
    ) -> None:
        """Take a symbolic link."""
        self._take(replace(_entry(path, FileType.LINK, 0o777, ownership, origin, user, group), target=target))

    def get(self, path: str) -> RenderedPath | None:
        """What a path is so far."""
        return self._paths.get(path)

    def content(self, path: str) -> bytes | None:
        """The content of a file; None for what is none."""
        return self._contents.get(path)

    @property
    def contents(self) -> Mapping[str, bytes]:
        """The contents of all files by path."""
        return self._contents

    def sorted(self) -> tuple[RenderedPath, ...]:
        """All paths in order. Adds a problem for each that is below a file or link."""
        for path, entry in sorted(self._paths.items()):
            above = posixpath.dirname(path)
            while above != "/":
                obstacle = self._paths.get(above)
                if obstacle is not None and obstacle.type is not FileType.DIRECTORY:
                    kind = obstacle.type.value
                    why = f"is below {above}, which is a {kind} according to {said(obstacle.origin)}."
                    self.refuse(entry.origin or Origin("", ""), path, why)
                above = posixpath.dirname(above)
        return tuple(self._paths[path] for path in sorted(self._paths))

    def tmpfiles_lines(self) -> list[TmpfilesLine]:
        """What systemd-tmpfiles makes at boot, and the owners by name of what the image brings to /etc."""
        lines = []
        for entry in self._paths.values():
            made = entry.owner is PathOwner.TMPFILES
            named = isinstance(entry.user, str) or isinstance(entry.group, str)
            if made or (entry.owner is PathOwner.IMAGE and named):
                content = self._contents.get(entry.path, b"") if made else b""
                target = entry.target if made else None
                lines.append(
                    TmpfilesLine(
                        entry.path,
                        entry.type,
                        entry.mode,
                        entry.user,
                        entry.group,
                        content,
                        target,
                        attributes_only=not made,
                    )
                )
        return lines

    def _take(self, entry: RenderedPath, content: bytes | None = None) -> bool:
        there = self._paths.get(entry.path)
        if there is None:
            self._paths[entry.path] = entry
            return True
        same = replace(there, origin=entry.origin, reason=entry.reason, actions=entry.actions) == entry
        if not same or self._contents.get(entry.path) != content:
            self.refuse(
                entry.origin or Origin("", ""),
                entry.path,
                f"is said otherwise by {said(there.origin)}. Keep one of the two.",
            )
        return False


def said(origin: Origin | None) -> str:
    """An origin for people."""
    if origin is None or not origin.document:
        return "the rendering itself"
    return f"{origin.document}, {origin.field}"


def _entry(
    path: str,
    kind: FileType,
    mode: int,
    ownership: Ownership,
    origin: Origin | None,
    user: int | str | None,
    group: int | str | None,
) -> RenderedPath:
    return RenderedPath(
        path,
        ownership.owner,
        ownership.reason,
        kind,
        mode,
        user=_account(user),
        group=_account(group),
        actions=ownership.actions,
        origin=origin,
    )


def _account(account: int | str | None) -> int | str:
    return 0 if account in (None, "root") else account or 0
