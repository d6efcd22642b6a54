# SPDX-License-Identifier: GPL-3.0-or-later
"""What is shown of a long pull, from whatever part of bootc's progress can be read at that moment."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.progress import progress_sentence, tells_progress
from hypothesis import given
from hypothesis import strategies as st


def pulling(done: Any, total: Any, **fields: Any) -> str:
    return json.dumps({"type": "ProgressBytes", "task": "pulling", "bytes": done, "bytesTotal": total, **fields})


def staging(*subtasks: tuple[str, bool]) -> str:
    listed = [{"subtask": name, "completed": completed} for name, completed in subtasks]
    return json.dumps({"type": "ProgressSteps", "task": "staging", "steps": 1, "stepsTotal": 3, "subtasks": listed})


START = '{"type":"Start","version":"0.1.0"}'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", None),
        (START, None),
        (pulling(120_400_000, 412_000_000), "pulled 120 of 412 MB (29 %)"),
        (pulling(3695, 308_162_964), "pulled 0 of 308 MB (0 %)"),
        (pulling(346, 345), "pulled 345 of 345 B (100 %)"),
        (pulling(1_500_000_000, 4_200_000_000), "pulled 1.5 of 4.2 GB (35 %)"),
        (pulling(5_000_000, 0), "pulled 5 MB"),
        (pulling(5_000_000, None), "pulled 5 MB"),
        (pulling("many", 10), None),
        (pulling(True, 10), None),
        (pulling(-1, 10), None),
        ('{"type":"ProgressBytes"}', None),
        ('{"type":"ProgressSteps","task":"importing"}', "imports the image"),
        (staging(("merging", True), ("deploying", False)), "deploys the image"),
        (staging(("merging", True), ("deploying", True), ("bound_images", False)), "pulls the bound images"),
        (staging(("something new", False)), "deploys the image"),
        ('{"type":"ProgressSteps","task":"baking","subtasks":7}', None),
        ('{"type":"Finale"}', None),
        ("[1, 2]\nnull\n7", None),
        (pulling(1, 2) + "\n" + pulling(2_000_000, 4_000_000)[:-20], "pulled 1 of 2 B (50 %)"),
        (pulling(1, 2) + "\n" + START, "pulled 1 of 2 B (50 %)"),
        ('tes":1}\n' + pulling(1, 2), "pulled 1 of 2 B (50 %)"),
        ("[" * 100_000, None),
    ],
)
def test_sentence(text: str, sentence: str | None) -> None:
    assert progress_sentence(text) == sentence


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("bootc", "switch", "reg.example.com/os"), True),
        (("bootc", "upgrade"), True),
        (("bootc", "rollback"), False),
        (("rpm-ostree", "upgrade"), False),
        (("bootc",), False),
    ],
)
def test_which_commands_tell_progress(argv: tuple[str, ...], told: bool) -> None:
    assert tells_progress(argv) is told


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
EVENTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["ProgressBytes", "ProgressSteps", "Start"]) | JSON},
    optional={
        "task": st.sampled_from(["pulling", "importing", "staging"]) | JSON,
        **{key: JSON | st.integers() for key in ("bytes", "bytesTotal", "bytesCached", "subtasks")},
    },
)


@given(st.lists(EVENTS | JSON, max_size=5), st.integers(0, 200))
def test_never_fails_and_never_exceeds_a_line(events: list[Any], cut: int) -> None:
    text = "\n".join(json.dumps(event) for event in events)
    for part in (text, text[:-cut] if cut else text, text[cut:]):
        sentence = progress_sentence(part)
        assert sentence is None or ("\n" not in sentence and sentence)


@given(st.integers(0, 10**13), st.integers(1, 10**13))
def test_a_share_never_exceeds_the_whole(done: int, total: int) -> None:
    sentence = progress_sentence(pulling(done, total))
    assert sentence is not None
    assert 0 <= int(sentence.partition("(")[2].partition(" %")[0]) <= 100
