# SPDX-License-Identifier: GPL-3.0-or-later
"""Every form of a RUN takes a mark, and stays the instruction that it was."""

from __future__ import annotations

import re

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile import Containerfile
from ansible_collections.imagemode.nodes.plugins.module_utils._core.run_marks import with_marks

MARK = re.compile(r" --mount=type=secret,id=imagemode-inputs-[0-9a-f]{12}")


@pytest.mark.parametrize(
    "text",
    [
        "RUN true",
        "  run\ttrue",
        'RUN ["/bin/true", "RUN"]',
        "RUN \\\n  # why\n  true && RUN",
        "RUN --mount=type=secret,id=a \\\n  --network=none true",
        "RUN <<END\nRUN\nEND",
    ],
)
def test_a_mark_is_one_more_mount_in_the_same_line(text: str) -> None:
    before = Containerfile.parse(text)
    marked = with_marks(before, lambda _step: ["1"])
    assert len(marked.lines) == len(before.lines)
    (after,) = Containerfile.parse("\n".join(marked.lines)).instructions
    assert (after.arguments, len(after.flags)) == (
        before.instructions[0].arguments,
        len(before.instructions[0].flags) + 1,
    )
    assert MARK.sub("", "\n".join(marked.lines)) == text


def test_a_mark_changes_with_what_is_read_and_only_where_something_is() -> None:
    file = Containerfile.parse("RUN one\nCOPY RUN /\nRUN two\n")

    def marked(version: str) -> tuple[str, ...]:
        return with_marks(file, lambda step: [version] if step.arguments == "two" else []).lines

    assert marked("1")[:2] == file.lines[:2]
    assert marked("1")[2] != marked("2")[2] == marked("2")[2]
