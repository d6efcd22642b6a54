# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person reads of a build that is under way, from what the engines print (buildah 1.28)."""

from __future__ import annotations

import json

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_progress import (
    BuildProgress,
    Phase,
    ProgressNote,
    PushProgress,
    shortened,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile import Containerfile

USERS = Containerfile.parse(
    "# one\nFROM r.example.com/os:1 AS first\nRUN true\n\nFROM r.example.com/os:1\n\nRUN \\\n  dnf -y install tuned\n"
)
DIGESTS = [f"sha256:{number:064x}" for number in range(12)]


def doing(*lines: str, phase: Phase | None = None) -> str | None:
    progress = BuildProgress(phase)
    for second, line in enumerate(lines):
        progress = progress.after(line, float(second))
    return progress.doing


@pytest.mark.parametrize(
    ("phase", "lines", "says"),
    [
        pytest.param(None, [], None, id="nothing has begun"),
        pytest.param(Phase("base"), [], "base: begins", id="a phase without output yet"),
        pytest.param(Phase("base", 1, 3), [], "base (1 of 3): begins", id="one of several phases"),
        pytest.param(None, ["STEP 2/4: RUN true"], "step 2 of 4: RUN true", id="a single stage"),
        pytest.param(None, ["STEP 2: RUN true"], "step 2: RUN true", id="an engine that does not know how many"),
        pytest.param(
            Phase("Containerfile", 2, 3, USERS),
            ["[1/2] STEP 2/2: RUN true"],
            "Containerfile (2 of 3): stage 1 of 2, step 2 of 2, line 3: RUN true",
            id="the line in the user's file",
        ),
        pytest.param(
            Phase("Containerfile", 1, 1, USERS),
            ["[2/2] STEP 2/2: RUN   dnf -y install tuned"],
            "Containerfile: stage 2 of 2, step 2 of 2, line 7: RUN dnf -y install tuned",
            id="a step over several lines starts at its first",
        ),
        pytest.param(
            Phase("Containerfile", 1, 1, USERS),
            ["[2/2] STEP 2/3: COPY a /a"],
            "Containerfile: stage 2 of 2, step 2 of 3: COPY a /a",
            id="a trigger of the base shifts the count: no line is better than a wrong one",
        ),
        pytest.param(
            Phase("base", 1, 3, titles=["install the packages jq", "switch to the realtime kernel"]),
            ["STEP 3/4: RUN --mount=type=bind,source=x : && sh /run/x"],
            "base (1 of 3): step 3 of 4: switch to the realtime kernel",
            id="steps of the collection have words",
        ),
        pytest.param(
            Phase("base", 1, 3, titles=["install the packages jq"]),
            ["STEP 3/3: LABEL a=b"],
            "base (1 of 3): step 3 of 3: LABEL a=b",
            id="a step beyond the words is shown as it is",
        ),
        pytest.param(
            Phase("base"),
            ["STEP 1/1: FROM scratch", "COMMIT r.example.com/x:1"],
            "base: commits the image",
            id="the end",
        ),
        pytest.param(
            None,
            ["STEP 1/2: RUN true", "echo STEP 9/9: no", "--> Using cache"],
            "step 1 of 2: RUN true",
            id="other output",
        ),
    ],
)
def test_a_build_is_told_by_its_step(phase: Phase | None, lines: list[str], says: str | None) -> None:
    assert doing(*lines, phase=phase) == says


def test_the_clock_starts_with_each_step() -> None:
    progress = BuildProgress().after("STEP 1/2: FROM scratch", 100.0).after("STEP 2/2: RUN true", 140.0)
    progress = progress.after("some output", 200.0)
    note = ProgressNote.parse(progress.as_json())
    assert note is not None
    assert note.sentence(234.5) == "step 2 of 2: RUN true (94 s)"
    assert note.sentence(100.0) == "step 2 of 2: RUN true (0 s)"  # a clock that was set back


@pytest.mark.parametrize(
    ("lines", "counts", "says"),
    [
        pytest.param([], {}, "pushing", id="the registry is asked"),
        pytest.param([f"Copying blob {one}" for one in DIGESTS[:3]], {}, "pushing: 0 of 3 layers", id="three layers"),
        pytest.param(
            [
                *(f"Copying blob {one}" for one in DIGESTS[:3]),
                f'level=debug msg="Skipping blob {DIGESTS[0]} (already)"',
            ],
            {},
            "pushing: 1 of 3 layers",
            id="one that the registry has",
        ),
        pytest.param(
            [
                *(f"Copying blob {one}" for one in DIGESTS[:11]),
                *(f'level=debug msg="Upload of layer {one} complete"' for one in DIGESTS[:3]),
            ],
            {"sent_bytes": 120_400_000, "total_bytes": 409_600_000},
            "pushing: 3 of 11 layers, 120 of 410 MB",
            id="bytes of a known total",
        ),
        pytest.param(
            [f"Copying blob {DIGESTS[0]}"],
            {"sent_bytes": 7_900_000},
            "pushing: 0 of 1 layers, 7 MB sent",
            id="an unknown total",
        ),
        pytest.param(
            [f"Copying blob {DIGESTS[0]}"],
            {"sent_bytes": 7_900_000, "total_bytes": 3_000_000},
            "pushing: 0 of 1 layers, 3 of 3 MB",
            id="never more than all",
        ),
        pytest.param(
            [
                *(f"Copying blob {one}" for one in DIGESTS[:2]),
                f'level=debug msg="Upload of layer {DIGESTS[5]} complete"',
                f"Copying config {DIGESTS[6]}",
                f'level=debug msg="Upload of layer {DIGESTS[6]} complete"',
            ],
            {},
            "pushing: 2 of 2 layers",
            id="the configuration is no layer",
        ),
    ],
)
def test_a_push_is_told_by_its_layers(lines: list[str], counts: dict[str, int], says: str) -> None:
    push = PushProgress(sent_bytes=counts.get("sent_bytes", 0), total_bytes=counts.get("total_bytes"))
    for line in lines:
        push = push.after(line)
    assert push.sentence == says
    assert BuildProgress(Phase("final"), push=push).doing == says


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '"x"', '{"doing": "a', "[" * 10000])
def test_a_note_that_is_no_note_tells_nothing(text: str) -> None:
    assert ProgressNote.parse(text) is None


@pytest.mark.parametrize("since", ["null", '"1"', "NaN", "Infinity", "true"])
def test_a_note_with_odd_values_is_still_read(since: str) -> None:
    note = ProgressNote.parse(f'{{"doing": 7, "since": {since}, "log": "/l"}}')
    assert note is not None
    assert (note.doing, note.log, note.sentence(10)) == (None, "/l", None)


def test_programs_find_the_counts_in_the_note() -> None:
    progress = BuildProgress(Phase("Containerfile", 2, 3, USERS), log="/l").after("[1/2] STEP 2/2: RUN true", 5.0)
    found = json.loads(progress.as_json())
    assert found["phase"] == {"name": "Containerfile", "number": 2, "total": 3}
    assert found["step"] == {"stage": 1, "stages": 2, "number": 2, "total": 2, "text": "RUN true", "line": 3}
    assert (found["since"], found["log"]) == (5.0, "/l")


def test_a_terminal_gets_one_short_line() -> None:
    assert shortened("RUN \x1b[31mred\x07\n  and\tmore") == "RUN [31mred and more"
    long = shortened("RUN " + "x" * 500)
    assert len(long) == 61
    assert long.endswith("x…")
