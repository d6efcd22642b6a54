# SPDX-License-Identifier: GPL-3.0-or-later
"""Marks on RUN instructions, so that a layer is not taken from an engine's cache when what its step read has changed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile import Containerfile, Instruction

_RUN = re.compile(r"^(\ufeff?\s*RUN)(?=\s|\\|`|\Z)", re.IGNORECASE)


def with_marks(containerfile: Containerfile, read_by: Callable[[Instruction], Sequence[str]]) -> Containerfile:
    """The same with a mark on each RUN that reads something, in the same lines.

    `read_by` gives texts that change with what an instruction reads from outside the image. Engines compare the text of an
    instruction, never what is mounted. The mark is the mount of a secret that nobody gives: that does nothing, in every
    form that a RUN can have (seen with buildah 1.28.2 and podman 4.3.1).
    """
    lines = list(containerfile.lines)
    for instruction in containerfile.instructions:
        texts = read_by(instruction) if instruction.keyword == "RUN" else ()
        if texts:
            mark = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]
            at = instruction.line - 1
            lines[at] = _RUN.sub(rf"\g<1> --mount=type=secret,id=imagemode-inputs-{mark}", lines[at], count=1)
    return replace(containerfile, lines=tuple(lines))
