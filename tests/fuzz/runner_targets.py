# SPDX-License-Identifier: GPL-3.0-or-later
"""The script of a batch and its answer: words reach a command byte for byte, and noise around an answer is not part of it."""

from __future__ import annotations

import subprocess
import sys

from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import (
    NodeUnreachable,
    Outcome,
    Step,
    build_script,
    parse_output,
)

from fuzz.choices import Choices

MARK = "imagemode-0123456789abcdef"

# Prints its arguments and what it reads, each as one line of hexadecimal digits.
_ECHO = (
    "import os, sys\n"
    "for word in sys.argv[1:]: print(os.fsencode(word).hex() or '-')\n"
    "print('input', sys.stdin.buffer.read().hex())"
)


def runner_output(data: bytes) -> None:
    """parse_output: the outcomes that were sent, whatever was printed before and after; cut off is NodeUnreachable."""
    choices = Choices(data)
    steps = [Step((f"step{number}",)) for number in range(1 + choices.number(4))]
    sent, out, err = [], choices.text() + f"{MARK} ready\n", choices.text()
    for number, step in enumerate(steps):
        if choices.chance(4):
            sent.append(Outcome(step.argv, None))
            continue
        body, complaint, rc, late = choices.text(), choices.text(), choices.number(256), choices.number(2)
        out += f"{MARK} begin {number}\n{body}\n{MARK} end {number} {rc} {late}\n"
        err += f"{MARK} begin {number}\n{complaint}\n{MARK} end {number}\n"
        sent.append(Outcome(step.argv, rc, body, complaint, bool(late)))
    out += f"{MARK} done\n"
    assert parse_output(steps, MARK, out + choices.text(), err + choices.text()) == sent
    cut = out[: choices.number(len(out) - 1)]
    if f"{MARK} done" not in cut:
        try:
            parse_output(steps, MARK, cut, err)
        except NodeUnreachable:
            return
        raise AssertionError("an answer that was cut off counts as whole")


def runner_script(data: bytes) -> None:
    """build_script through the real /bin/sh: every command gets exactly its words and its input, and nothing else runs."""
    choices = Choices(data)
    steps = []
    for _turn in range(1 + choices.number(3)):
        words = tuple(_word(choices) for _word_number in range(choices.number(4)))
        content = _word(choices).encode() if choices.chance(3) else b""
        steps.append(
            Step((sys.executable, "-I", "-S", "-c", _ECHO, *words), 60 if choices.chance(4) else None, content)
        )
    done = subprocess.run(
        ["/bin/sh", "-s"],
        input=build_script(steps, MARK).encode("utf-8", "surrogateescape"),
        capture_output=True,
        check=False,
    )
    outcomes = parse_output(steps, MARK, done.stdout.decode(), done.stderr.decode())
    for step, outcome in zip(steps, outcomes, strict=True):
        *received, read = outcome.stdout.splitlines()
        assert received == [word.encode("utf-8", "surrogateescape").hex() or "-" for word in step.argv[5:]], outcome
        assert read.split(" ")[1] == step.input.hex(), outcome
        assert (outcome.rc, outcome.stderr) == (0, ""), outcome


def _word(choices: Choices) -> str:
    """Anything that can be a word of a command at all: no NUL, and no half of a surrogate pair."""
    return choices.text().replace("\x00", "").encode("utf-8", "replace").decode()
