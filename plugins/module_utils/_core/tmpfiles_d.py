# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of tmpfiles.d: what an image puts into /var at every boot, so that its updates and rollbacks take effect there.

Written for systemd 250 and newer, which knows base64 (`~`). Escapes are those that every such version undoes: inside double
quotes a backslash before a quote or a backslash, and two percent signs for one (seen with systemd-tmpfiles 252, which takes
`\\x20` in a path for `x20`).
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field

from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileType

LARGEST_CONTENT = 512 * 1024
"""Bytes. systemd refuses lines longer than 1 MiB, and base64 makes four bytes of three."""

_HEADER = "# Written by imagemode.nodes from the machine config of this image. A change on the node lasts until the next boot.\n"
_BARE = re.compile(r"[^\s\"'\\]+\Z")
_FIELD = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^\s"\'\\]+))(?=\s|\Z)')
_ESCAPED = re.compile(r"\\(x[0-9a-f]{2}|.)")


class TmpfilesNotUnderstood(ValueError):
    """A line is none that this file writes. The message names the line."""


@dataclass(frozen=True)
class TmpfilesLine:
    """One path. A file has `content`, a link `target`. `attributes_only`: owner and mode of what another brings."""

    path: str
    type: FileType
    mode: int = 0o644
    user: int | str = 0
    group: int | str = 0
    content: bytes = field(default=b"", repr=False)
    target: str | None = None
    attributes_only: bool = False

    def text(self) -> str:
        """The line, without its end."""
        kind, argument = self._kind_and_argument()
        mode = "-" if self.type is FileType.LINK else f"{self.mode:04o}"
        words = [kind, quoted(self.path), mode, str(self.user), str(self.group)]
        return " ".join([*words, "-", argument] if argument else words)

    def _kind_and_argument(self) -> tuple[str, str]:
        if self.attributes_only:
            return "z", ""
        if self.type is FileType.DIRECTORY:
            return "d", ""
        if self.type is FileType.LINK:
            return "L+", _argument(self.target or "")
        return ("f+~", base64.b64encode(self.content).decode()) if self.content else ("f+", "")


def tmpfiles_text(lines: list[TmpfilesLine]) -> str:
    """A whole file, in order of paths."""
    return _HEADER + "".join(f"{line.text()}\n" for line in sorted(lines, key=lambda line: line.path))


def parse_tmpfiles(text: str) -> list[TmpfilesLine]:
    """What `tmpfiles_text` was given. Raises TmpfilesNotUnderstood for lines that it does not write."""
    return [_parse(line) for line in text.splitlines() if line and not line.startswith("#")]


def quoted(path: str) -> str:
    """A path as a field. The line is split first and specifiers are replaced afterwards, so they are escaped first."""
    escaped = path.replace("%", "%%")
    if _BARE.match(escaped):
        return escaped
    return '"' + escaped.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _argument(text: str) -> str:
    """The last field, which is no word but the rest of the line: its ends are stripped, C escapes undone, then specifiers."""
    escaped = text.replace("%", "%%").replace("\\", "\\\\")
    if escaped == "-":
        return "\\x2d"
    start = len(escaped) - len(escaped.lstrip(" "))
    end = max(start, len(escaped.rstrip(" ")))
    return "\\x20" * start + escaped[start:end] + "\\x20" * (len(escaped) - end)


def _parse(line: str) -> TmpfilesLine:
    words: list[str] = []
    at = 0
    while len(words) < 6:
        match = _FIELD.match(line, at)
        if not match:
            break
        words.append(_ESCAPED.sub(r"\1", match.group(1)) if match.group(2) is None else match.group(2))
        at = match.end()
    rest = line[at:].strip(" ")
    try:
        kind, path, mode, user, group = words[:5]
        file = {"z": FileType.FILE, "d": FileType.DIRECTORY, "L+": FileType.LINK}.get(kind, FileType.FILE)
        if kind not in ("z", "d", "L+", "f+", "f+~") or (kind in ("z", "d", "f+")) == bool(rest):
            raise ValueError
        return TmpfilesLine(
            path.replace("%%", "%"),
            FileType.LINK if mode == "-" else file,
            0o777 if mode == "-" else int(mode, 8),
            int(user) if user.isdigit() else user,
            int(group) if group.isdigit() else group,
            base64.b64decode(rest, validate=True) if kind == "f+~" else b"",
            _plain(rest) if kind == "L+" else None,
            kind == "z",
        )
    except (ValueError, binascii.Error):
        raise TmpfilesNotUnderstood(f"{line[:200]!r} is no line that was rendered") from None


def _plain(argument: str) -> str:
    def character(match: re.Match[str]) -> str:
        escape = match.group(1)
        return chr(int(escape[1:], 16)) if len(escape) > 1 else escape

    return _ESCAPED.sub(character, argument).replace("%%", "%")
