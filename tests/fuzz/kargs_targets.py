# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel arguments: command lines, wishes, kargs.d files of images, what ostree notes, and what a pull tells of itself."""

from __future__ import annotations

import json
import sys

from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_d import (
    KargsFileNotUnderstood,
    image_arguments,
    image_delta,
    parse_kargs_file,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_wish import InvalidWish, KargsWish
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kernel_arguments import (
    ArgumentsNotUnderstood,
    Difference,
    KernelArguments,
    split_words,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.progress import progress_sentence
from ansible_collections.imagemode.nodes.plugins.module_utils._core.staged_record import (
    StagedRecordNotUnderstood,
    parse_staged_record,
)

from fuzz import json_mutation
from fuzz.choices import Choices

if sys.version_info >= (3, 11):
    import tomllib
else:  # the reader of the development tools' own Python is one line away there
    tomllib = None

_WORDS = (
    *(
        "rw",
        "quiet",
        "nosmt",
        "console=ttyS0",
        "console=tty0",
        "root=UUID=1",
        "a",
        "a=",
        "a=1",
        "a=2",
        'b="x y"',
        '"c=x y"',
    ),
    *(
        "ostree=/ostree/boot.0/x",
        "BOOT_IMAGE=x",
        "--",
        "=",
        "==",
        '"',
        '""',
        "a=b=c",
        "-",
        "init=/bin/sh",
        "mitigations=auto",
    ),
)
_TOML = (
    *(
        "kargs = [",
        'kargs = ["a", "b=c"]',
        "]",
        '"nosmt",',
        "'x y'",
        "match-architectures = ",
        '["x86_64"]',
        "# why",
        "\n",
        "\r\n",
    ),
    *(
        '"kargs"',
        " = ",
        "[",
        "[[x]]",
        "x.y = 1",
        '"""',
        "'''",
        '"\\u0041"',
        '"\\U0001F600"',
        '"\\ud800"',
        '"\\q"',
        ",",
        " ",
        "\t",
    ),
)
_PROGRESS = {
    "type": "ProgressBytes",
    "task": "pulling",
    "description": "x",
    "id": "y",
    "bytesCached": 1,
    "bytes": 10,
    "bytesTotal": 100,
    "stepsCached": 0,
    "steps": 1,
    "stepsTotal": 3,
    "subtasks": [{"subtask": "merging"}],
}


def kernel_command_line(data: bytes) -> None:
    """KernelArguments.parse: words that their text gives again, or ArgumentsNotUnderstood. Differences can be made twice."""
    choices = Choices(data)
    try:
        first, second, third = (KernelArguments.parse(_line(choices)) for _turn in range(3))
    except ArgumentsNotUnderstood:
        return
    assert KernelArguments.parse(first.text()) == first
    difference = Difference(first, second)
    once = difference.onto(third)
    assert difference.onto(once) == once
    assert difference.onto(first).same_words_as(second)


def kernel_argument_wish(data: bytes) -> None:
    """KargsWish: fulfilled after it was applied once, unchanged by a second time; or InvalidWish."""
    choices = Choices(data)
    try:
        wish = KargsWish.of(
            _list(choices), _list(choices), {choices.of(_WORDS): _list(choices)} if choices.number(2) else None
        )
        current = KernelArguments.parse(_line(choices))
    except (InvalidWish, ArgumentsNotUnderstood):
        return
    once = wish.apply(current)
    assert wish.met_by(once), (wish, current, once)
    assert KernelArguments.parse(once.text()) == once
    assert set(wish.listed) <= set(once.words)
    assert all(split_words(word) == [word] for word in wish.listed)


def kargs_d(data: bytes) -> None:
    """parse_kargs_file agrees with a real TOML parser on whatever it accepts, and KargsFileNotUnderstood is all it raises."""
    choices = Choices(data)
    pieces = [choices.of(_TOML) if choices.number(6) else choices.text() for _turn in range(choices.number(14))]
    text = choices.rest().decode("utf-8", "replace") if choices.chance(8) else "".join(pieces)
    try:
        words = image_arguments({"10-fuzz.toml": text}, "x86_64")
    except KargsFileNotUnderstood:
        words = ()
    assert image_delta(words, words).onto(KernelArguments(words)).words == words
    try:
        document = parse_kargs_file(text)
    except KargsFileNotUnderstood:
        return
    if tomllib is not None:
        assert tomllib.loads(text) == document, text


def staged_record(data: bytes) -> None:
    """parse_staged_record: a record, or StagedRecordNotUnderstood."""
    try:
        record = parse_staged_record(data)
    except StagedRecordNotUnderstood:
        return
    assert isinstance(record.locked, bool)


def progress(data: bytes) -> None:
    """progress_sentence: one line that can be shown, or None; never an error, for a pull must not fail by its progress."""
    choices = Choices(data)
    lines = []
    for _turn in range(1 + choices.number(3)):
        document = json_mutation.mutated(json.loads(json.dumps(_PROGRESS)), choices)
        lines.append(json_mutation.spelled(document, choices))
    sentence = progress_sentence("\n".join(lines))
    assert sentence is None or (sentence and "\n" not in sentence)


def _line(choices: Choices) -> str:
    pieces = [choices.of(_WORDS) if choices.number(8) else choices.text() for _turn in range(choices.number(7))]
    return choices.of((" ", " ", "  ", "\t", "")).join(pieces)


def _list(choices: Choices) -> list[object]:
    return [
        choices.of(_WORDS) if choices.number(6) else json_mutation.foreign(choices)
        for _turn in range(choices.number(4))
    ]
