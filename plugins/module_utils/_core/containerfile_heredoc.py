# SPDX-License-Identifier: GPL-3.0-or-later
"""Here-documents of a Containerfile: which words of an instruction open one."""

from __future__ import annotations

import re
from dataclasses import dataclass

# A quoted part, an escaped character, or anything else but a blank; an unbalanced quote reaches to the end.
_WORD = re.compile(r"""(?:'[^']*(?:'|\Z)|"(?:\\.|[^"\\])*(?:"|\Z)|\\.|[^\s'"])+""", re.DOTALL)
_OPENING = re.compile(r"\d*<<(-?)([^<]+)\Z", re.DOTALL)
_QUOTING = re.compile(r"""'([^']*)'|"((?:\\.|[^"\\])*)"|\\(.)""", re.DOTALL)


@dataclass(frozen=True)
class Heredoc:
    """`word` is the line that ends it; with `strip_tabs` that line may be indented with tabs."""

    word: str
    strip_tabs: bool

    def is_ended_by(self, line: str) -> bool:
        """Whether this line ends it."""
        return (line.lstrip("\t") if self.strip_tabs else line) == self.word


def heredocs(arguments: str) -> tuple[Heredoc, ...]:
    """The here-documents that an instruction opens: its words that begin, outside of quotes, with `<<`.

    The whole word is the name, as in BuildKit's parser, which buildah uses from 1.33 on: `<<EOF;` is ended by `EOF;`.
    """
    found = []
    for word in _WORD.findall(arguments):
        opening = _OPENING.match(word)
        if opening:
            name = _QUOTING.sub(lambda part: part.group(1) or part.group(2) or part.group(3) or "", opening.group(2))
            if name:
                found.append(Heredoc(name, bool(opening.group(1))))
    return tuple(found)
