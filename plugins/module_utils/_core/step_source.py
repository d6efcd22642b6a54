# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose instructions an engine carries out, so that a failure can be told in the words of whoever wrote them."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile import Containerfile, Instruction


@dataclass(frozen=True)
class StepSource:
    """A Containerfile with what messages call it; for one that the collection wrote, `called` is None.

    `titles` then says of each instruction after FROM what it does, as in "install the packages jq".
    """

    containerfile: Containerfile
    called: str | None = "the Containerfile"
    titles: tuple[str, ...] = ()

    def title(self, instruction: Instruction | None) -> str | None:
        """What an instruction of the collection's own does; None for a user's."""
        if self.called is not None or instruction is None:
            return None
        number = self.containerfile.instructions.index(instruction) - 1
        return self.titles[number] if 0 <= number < len(self.titles) else None

    def line(self, instruction: Instruction | None) -> int | None:
        """The line in the user's file; None for an instruction that is not in it."""
        return instruction.line if instruction is not None and self.called is not None else None

    def place(self, instruction: Instruction | None) -> str:
        """` at line 3 of the Containerfile`, to be put behind what happened; empty where the user wrote no such line."""
        line = self.line(instruction)
        return f" at line {line} of {self.called}" if line is not None else ""
