# SPDX-License-Identifier: GPL-3.0-or-later
"""A note for the next run: kernel arguments that others had staged, and that staging this image loses.

It stands on the node from before the staging until they are on top of the new image, so that nothing is lost if the
controller dies in between.
"""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.imagemode.nodes.plugins.module_utils._core.kernel_arguments import (
    ArgumentsNotUnderstood,
    Difference,
    KernelArguments,
    require_word,
)


@dataclass(frozen=True)
class CarriedArguments:
    """`target` is the canonical text of the image that they go on top of; for any other image the note means nothing."""

    target: str
    change: Difference

    def text(self) -> str:
        """The note: the target, then a line for each word."""
        gone = (f"- {word}" for word in self.change.removed)
        new = (f"+ {word}" for word in self.change.added)
        return "\n".join((self.target, *gone, *new, ""))


def parse_carried(text: str, target: str) -> Difference | None:
    """What is to be carried onto `target`; None for an empty note, one for another image, or one that was not completed."""
    first, *lines = text.split("\n")
    if first != target or not lines or lines[-1] != "":
        return None
    words: dict[str, list[str]] = {"-": [], "+": []}
    for line in lines[:-1]:
        sign, _space, word = line.partition(" ")
        if sign not in words:
            return None
        try:
            words[sign].append(require_word(word))
        except ArgumentsNotUnderstood:
            return None
    return Difference(KernelArguments(tuple(words["-"])), KernelArguments(tuple(words["+"])))
