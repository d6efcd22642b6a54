# SPDX-License-Identifier: GPL-3.0-or-later
"""An instruction that the collection itself puts into a build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class BuildStep:
    """One instruction of a Containerfile, without its line end.

    `title` says in words what it does, to complete "Could not …". `files` maps names to contents, which are put into the
    build context of the instruction.
    """

    title: str
    instruction: str
    files: Mapping[str, bytes] = field(default_factory=dict)
