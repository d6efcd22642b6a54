# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to change so that a host has the wanted files. Pure: found and wanted in, changes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_file import (
    FileState,
    FoundFile,
    Kind,
    LiveLink,
    WantedFile,
    refuse_image,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal

LONGEST_SHOWN = 65536
"""Bytes up to which the content of a file is shown in a diff."""

_LINKS = (Kind.LINK, Kind.DANGLING)


@dataclass(frozen=True)
class FileChange:
    """One path: what is there, and what shall be."""

    wanted: WantedFile
    found: FoundFile

    @property
    def content_differs(self) -> bool:
        """Whether a new content, or a file at all, is needed. A link never has the wanted content: it may lead elsewhere tomorrow."""
        if self.wanted.state is FileState.ABSENT:
            return False
        return self.found.kind is not Kind.REGULAR or self.found.sha256 != self.wanted.sha256

    @property
    def attributes_differ(self) -> bool:
        """Whether mode, owner or group of a file that stays are not the wanted ones."""
        wanted, found = self.wanted, self.found
        if wanted.state is FileState.ABSENT or found.kind is not Kind.REGULAR:
            return False
        return found.mode != wanted.mode or wanted.owner not in found.owner or wanted.group not in found.group

    @property
    def changed(self) -> bool:
        """Whether anything has to be done."""
        if self.wanted.state is FileState.ABSENT:
            return self.found.kind is not Kind.ABSENT
        return self.content_differs or self.attributes_differ

    @property
    def replaced_link(self) -> str | None:
        """Where the symbolic link leads that makes way for the file."""
        return self.found.target if self.changed and self.found.kind in _LINKS else None

    def result(self) -> dict[str, Any]:
        """The file as the module returns it. The checksum of a short secret would give it away, so a secret has none."""
        present = self.wanted.state is FileState.PRESENT
        return {
            "path": self.wanted.path,
            "changed": self.changed,
            "state": self.wanted.state.value,
            "mode": self.wanted.mode if present else None,
            "owner": self.wanted.owner if present else None,
            "group": self.wanted.group if present else None,
            "sha256": self.wanted.sha256 if present and not self.wanted.secret else None,
            "secret": self.wanted.secret,
            "replaced_link": self.replaced_link,
        }

    def diffs(self) -> list[dict[str, str]]:
        """Ansible's diffs of this file: of its content, and of its mode and owner. Never anything of a secret."""
        path, found = self.wanted.path, self.found
        diffs = []
        if self.content_differs or (self.changed and not self.attributes_differ):
            before, after = self._texts()
            diffs.append({"before_header": path, "after_header": path, "before": before, "after": after})
        if self.attributes_differ:
            header = f"{path} (mode and owner)"
            before = _attributes(found.mode, found.owner[0], found.group[0])
            after = _attributes(self.wanted.mode, self.wanted.owner, self.wanted.group)
            diffs.append({"before_header": header, "after_header": header, "before": before, "after": after})
        return diffs

    def _texts(self) -> tuple[str, str]:
        before = {Kind.ABSENT: "", Kind.REGULAR: _shown(self.found.content)}.get(
            self.found.kind, f"(a symbolic link to {self.found.target})\n"
        )
        after = _shown(self.wanted.content) if self.wanted.state is FileState.PRESENT else ""
        if self.wanted.secret:
            before = "(a secret)\n" if self.found.kind is Kind.REGULAR else before
            after = "(another secret)\n" if after and before == "(a secret)\n" else after and "(a secret)\n"
        return before, after


@dataclass(frozen=True)
class FilesPlan:
    """All files of a task, in the order in which they were given; those to remove because nobody wants them come last."""

    files: tuple[FileChange, ...]

    @property
    def changes(self) -> tuple[FileChange, ...]:
        """The files that have to change."""
        return tuple(file for file in self.files if file.changed)

    @property
    def changed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.changes)

    @property
    def summary(self) -> str:
        """One line for a person."""
        total = len(self.files)
        if not self.changed:
            return f"All {total} files are as wanted." if total != 1 else "The file is as wanted."
        written = [file.wanted.path for file in self.changes if file.wanted.state is FileState.PRESENT]
        removed = [file.wanted.path for file in self.changes if file.wanted.state is FileState.ABSENT]
        parts = [
            f"{verb} {', '.join(paths)}" for verb, paths in (("written:", written), ("removed:", removed)) if paths
        ]
        return f"{len(self.changes)} of {total} files: {'; '.join(parts)}."

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know though it is no failure."""
        return tuple(
            f"{file.wanted.path} was a symbolic link to {file.replaced_link}. It made way for a file of its own; "
            "what it led to was left alone."
            for file in self.files
            if file.found.kind is Kind.LINK and file.replaced_link and file.wanted.state is FileState.PRESENT
        )

    def as_dict(self) -> dict[str, Any]:
        """The part of a module's result that the plan decides."""
        return {
            "changed": self.changed,
            "files": [file.result() for file in self.files],
            "diff": [diff for file in self.changes for diff in file.diffs()],
            "warnings": list(self.warnings),
        }


def check_wanted(wanted: Sequence[WantedFile]) -> tuple[WantedFile, ...]:
    """The files themselves. Raises Refusal when a path is wanted twice, or below another one."""
    paths = [file.path for file in wanted]
    twice = sorted({path for path in paths if paths.count(path) > 1})
    if twice:
        raise Refusal(f"{', '.join(twice)}: wanted twice. A path can have one content.")
    return tuple(wanted)


def plan_files(wanted: Sequence[WantedFile], found: Mapping[str, FoundFile], stray: Sequence[FoundFile]) -> FilesPlan:
    """What to do. `found` by path; `stray` are files to remove since they match a pattern and are not wanted.

    Raises Refusal with everything that is in the way, so that one run shows all of it.
    """
    known = {file.path for file in wanted}
    gone = [
        (WantedFile(file.path, state=FileState.ABSENT, mode=""), file)
        for file in sorted(stray, key=lambda found: found.path)
        if file.path not in known
    ]
    files = tuple(FileChange(file, now) for file, now in [*((file, found[file.path]) for file in wanted), *gone])
    obstacles = [obstacle for file in files for obstacle in _obstacles(file)]
    if obstacles:
        raise Refusal(f"Nothing was written. {' '.join(obstacles)}")
    return FilesPlan(files)


def _obstacles(file: FileChange) -> list[str]:
    path, found = file.wanted.path, file.found
    try:
        refuse_image(path, f"{found.parent.rstrip('/')}/")
    except Refusal as refusal:
        return [str(refusal)]
    if found.kind is Kind.UNREADABLE:
        return [f"{path} cannot be read. Connect as root, or set become: true."]
    if found.kind is Kind.DIRECTORY:
        return [f"{path} is a directory, and a file is wanted there."]
    if found.kind is Kind.OTHER:
        return [f"{path} is neither a file nor a link, so it was left alone."]
    asked = file.wanted.state is FileState.PRESENT and file.wanted.live_link is LiveLink.FAIL
    if found.kind is Kind.LINK and asked:
        return [
            f"{path} is a symbolic link to {found.target}. Name that path instead, or say live_link: replace to put a file in place of "
            "the link, which leaves what it leads to alone."
        ]
    return []


def _attributes(mode: str, owner: str, group: str) -> str:
    return f"mode: {mode}\nowner: {owner}\ngroup: {group}\n"


def _shown(content: bytes | None) -> str:
    if content is None:
        return "(content not shown)\n"
    if len(content) <= LONGEST_SHOWN:
        try:
            text = content.decode()
        except UnicodeDecodeError:
            text = "\0"
        if "\0" not in text:
            return text
    return f"({len(content)} bytes that are no short text)\n"
