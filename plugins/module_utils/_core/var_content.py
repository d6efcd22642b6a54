# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image has in /var that no tmpfiles.d line makes: hosts get it at their installation, and never again.

bootc unpacks an image's /var for the first deployment only; an update leaves /var as it is (recorded, bootc 1.16.9). Its lint
warns of files and of directories alike (lints.rs, var-tmpfiles), and so do we: packages leave both there, and a host boots with
them. Unlike lint, a directory with a line for something below it counts as made, since systemd-tmpfiles makes parents.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileType, TreeEntry
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_finding import (
    CheckedImage,
    Finding,
    examples,
    warning,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_leftovers import CACHES
from ansible_collections.imagemode.nodes.plugins.module_utils._core.layer_tree import resolve_path

DIRECTORIES = (
    "/usr/lib/tmpfiles.d",
    "/etc/tmpfiles.d",
)  # a file of the same name in the later one replaces the earlier
REPORTED_ELSEWHERE = ("/var/tmp", "/var/log", "/var/run", "/var/lock", *CACHES)  # noqa: S108 # of the image

_LINE = re.compile(r'\s*([a-zA-Z])[-+!=~^?$]*\s+(?:"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'|(\S+))')
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|.)")
_CREATES = frozenset("fFdDvqQpLcbC")
_SPECIFIERS = {"%%": "%", "%S": "/var/lib", "%C": "/var/cache", "%L": "/var/log", "%V": "/var/tmp", "%t": "/run"}  # noqa: S108


def var_content(image: CheckedImage) -> Iterator[Finding]:
    """One warning for each directory two levels below /var, such as /var/lib/x."""
    made, copied = tmpfiles_paths(image)
    parents = {parent for path in made for parent in _parents(path)}
    groups: dict[str, list[TreeEntry]] = {}
    for entry in image.added_below("/var"):
        path = entry.path
        if any(path == other or path.startswith(f"{other}/") for other in REPORTED_ELSEWHERE):
            continue
        below_copy = any(parent in copied for parent in _parents(path))
        if path in made or below_copy or (entry.type is FileType.DIRECTORY and path in parents):
            continue
        groups.setdefault("/".join(path.split("/")[:4]), []).append(entry)
    for group, entries in groups.items():
        yield _finding(group, entries)


def _finding(group: str, entries: list[TreeEntry]) -> Finding:
    files = [entry.path for entry in entries if entry.type is not FileType.DIRECTORY]
    if files:
        return warning(
            "var-tmpfiles",
            group,
            f"hosts that are updated to this image never get {examples(files)}: an image's /var reaches a host at its installation "
            "only. Put the content under /usr and let a tmpfiles.d line link or copy it (`L` or `C`), or write it on the host.",
        )
    lines = [f"`d {entry.path} {entry.mode:04o} {entry.uid} {entry.gid}`" for entry in entries]
    return warning(
        "var-tmpfiles",
        group,
        "no tmpfiles.d line makes this directory, so hosts that are updated to this image do not have it. Add to a file in "
        f"{DIRECTORIES[0]}: {examples(lines)}.",
    )


def tmpfiles_paths(image: CheckedImage) -> tuple[frozenset[str], frozenset[str]]:
    """The paths that tmpfiles.d makes, links in them followed, and those among them that it copies with all below."""
    files = {}
    for directory in DIRECTORIES:
        for entry in image.children(directory):
            name = posixpath.basename(entry.path)
            if name.endswith(".conf"):
                files[name] = entry.path
    made, copied = set(), set()
    for path in files.values():
        try:
            text = image.text(path) or ""
        except UnicodeDecodeError:
            continue
        for kind, target in _lines(text):
            directory = resolve_path(image.tree, posixpath.dirname(target)) or posixpath.dirname(target)
            real = posixpath.join(directory, posixpath.basename(target))
            made.add(real)
            if kind == "C":
                copied.add(real)
    return frozenset(made), frozenset(copied)


def _lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        match = _LINE.match(line)
        if not match or match.group(1) not in _CREATES:
            continue
        quoted = match.group(2) if match.group(2) is not None else match.group(3)
        path = match.group(4) if quoted is None else _ESCAPE.sub(_plain, quoted)
        path = re.sub(r"%.", lambda found: _SPECIFIERS.get(found.group(), found.group()), path)
        if path.startswith("/"):
            yield match.group(1), posixpath.normpath(path)


def _plain(match: re.Match[str]) -> str:
    escape = match.group(1)
    return chr(int(escape[1:], 16)) if len(escape) > 1 else escape


def _parents(path: str) -> Iterator[str]:
    while path != "/":
        path = posixpath.dirname(path)
        yield path
