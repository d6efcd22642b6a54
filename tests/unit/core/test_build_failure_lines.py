# SPDX-License-Identifier: GPL-3.0-or-later
"""A failed build in a few lines: what, where, what was said, where the rest is, what to do."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure_lines import failure_lines

FAILURE: dict[str, Any] = {
    "category": "dependency",
    "message": "The step `RUN dnf -y install jqq` at line 7 of the Containerfile exited with status 1.",
    "step": "RUN dnf -y install jqq",
    "line": 7,
    "excerpt": [
        "Last metadata expiration check: 0:00:01 ago",
        "No match for argument: jqq",
        "No match for argument: jqq",
        "subprocess exited with status 1",
        'Error: building at STEP "RUN dnf -y install jqq": exit status 1',
    ],
    "log": "/var/log/b.log",
    "retryable": False,
    "host": "builder-arm",
    "platform": "linux/arm64",
    "image": "r.example.com/fleet/node:1-arm64",
}


def test_a_failure_with_all_that_can_be_known() -> None:
    assert failure_lines(FAILURE) == [
        "r.example.com/fleet/node:1-arm64 was not built for linux/arm64 on builder-arm: dependency, at line 7 of the Containerfile",
        "The step `RUN dnf -y install jqq` at line 7 of the Containerfile exited with status 1.",
        "    Last metadata expiration check: 0:00:01 ago",
        "    No match for argument: jqq",
        "The whole output is on builder-arm in /var/log/b.log",
        "Correct it and run the same command again: steps that are done are not repeated.",
    ]


@pytest.mark.parametrize(
    "failure", [{}, {"category": None, "message": None, "excerpt": None, "line": None, "log": None}]
)
def test_what_is_missing_is_left_out(failure: dict[str, Any]) -> None:
    assert failure_lines(failure) == [
        "The image was not built on the build host: other",
        "Nothing is known about it.",
        "Correct it and run the same command again: steps that are done are not repeated.",
    ]


def test_what_can_be_tried_again_says_so_and_long_output_is_cut_to_its_end() -> None:
    lines = failure_lines({**FAILURE, "retryable": True, "excerpt": [f"line {number}" for number in range(50)]})
    assert lines[2:7] == [f"    line {number}" for number in range(45, 50)]
    assert lines[-1] == "Running the same command again can help, without any change."


@pytest.mark.parametrize(
    ("message", "excerpt"),
    [
        (
            'Could not resolve r.example.com/os:1. It said: Error parsing image name "x": manifest unknown',
            'time="2026-11-21T16:26:28Z" level=fatal msg="Error parsing image name \\"x\\": manifest unknown"',
        ),
        (
            "Could not install the packages jqq: No match for argument: jqq",
            "imagemode: dependency: No match for argument: jqq",
        ),
    ],
)
def test_what_the_message_quotes_is_not_said_twice(message: str, excerpt: str) -> None:
    lines = failure_lines({**FAILURE, "message": message, "excerpt": [excerpt, "something else"]})
    assert lines[1:3] == [message, "    something else"]


def test_a_list_of_problems_is_a_line_for_each() -> None:
    assert failure_lines({"message": "Nothing was rendered.\n- a\n- b"})[1:4] == ["Nothing was rendered.", "- a", "- b"]


def test_a_line_of_the_last_containerfile_is_not_one_of_the_first() -> None:
    (head, *_rest) = failure_lines({"message": "containerfile_final: Line 1: 'RNU' is not an instruction.", "line": 1})
    assert head == "The image was not built on the build host: other, at line 1 of containerfile_final"
