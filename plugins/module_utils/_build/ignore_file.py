# SPDX-License-Identifier: GPL-3.0-or-later
"""`.containerignore` and `.dockerignore`: which paths of a build context an engine never sees."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile import text_lines

NAMES = (".containerignore", ".dockerignore")


@dataclass(frozen=True)
class IgnoreRule:
    """One line: a pattern, and whether it takes paths back in."""

    pattern: re.Pattern[str]
    keeps: bool


@dataclass(frozen=True)
class IgnoreRules:
    """The rules of one file in order; the last that matches a path, or a directory above it, decides."""

    rules: tuple[IgnoreRule, ...] = ()

    @classmethod
    def parse(cls, text: str) -> IgnoreRules:
        """Parse an ignore file: one pattern per line, `#` comments, `!` takes back in, `**` crosses directories."""
        rules = []
        for line in text_lines(text):
            pattern = line.strip()
            if not pattern or pattern.startswith("#"):
                continue
            keeps = pattern.startswith("!")
            cleaned = posixpath.normpath(pattern[1:].strip() if keeps else pattern).lstrip("/")
            if cleaned and cleaned != ".":
                rules.append(IgnoreRule(re.compile(_expression(cleaned) + r"\Z", re.DOTALL), keeps))
        return cls(tuple(rules))

    def ignores(self, path: str) -> bool:
        """Whether the engine leaves out `path`, relative to the context with `/` between its parts."""
        parts = path.split("/")
        ancestry = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        ignored = False
        for rule in self.rules:
            if ignored == rule.keeps and any(rule.pattern.match(candidate) for candidate in ancestry):
                ignored = not rule.keeps
        return ignored

    @property
    def keeps_some(self) -> bool:
        """Whether an ignored directory may still hold paths that are not ignored."""
        return any(rule.keeps for rule in self.rules)


def find_ignore_file(context: Path, containerfile: Path | None) -> Path | None:
    """The ignore file that counts: the Containerfile's own (`NAME.containerignore`) before those of the context."""
    candidates: Sequence[Path] = [context / name for name in NAMES]
    if containerfile is not None:
        candidates = [*(containerfile.with_name(containerfile.name + name) for name in NAMES), *candidates]
    return next((path for path in candidates if path.is_file()), None)


def _expression(pattern: str) -> str:
    """A regular expression for a pattern. `**` in front of anything stands for whole directories (buildah 1.28.2)."""
    parts = []
    position = 0
    while position < len(pattern):
        if pattern.startswith("**", position):
            position += 3 if pattern.startswith("**/", position) else 2
            parts.append("(?:.*/)?" if position < len(pattern) else ".*")
        elif pattern[position] == "*":
            parts.append("[^/]*")
            position += 1
        elif pattern[position] == "?":
            parts.append("[^/]")
            position += 1
        elif pattern[position] == "[" and "]" in pattern[position + 2 :]:
            end = pattern.index("]", position + 2)
            body = pattern[position + 1 : end].replace("\\", "\\\\")
            parts.append(f"[{body}]")
            position = end + 1
        elif pattern[position] == "\\" and position + 1 < len(pattern):
            parts.append(re.escape(pattern[position + 1]))
            position += 2
        else:
            parts.append(re.escape(pattern[position]))
            position += 1
    return "".join(parts)
