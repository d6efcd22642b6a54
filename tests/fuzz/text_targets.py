# SPDX-License-Identifier: GPL-3.0-or-later
"""What people and stores hand over: Containerfiles, and the state of a rollout."""

from __future__ import annotations

import json

from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile import (
    Containerfile,
    InvalidContainerfile,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile_images import image_uses, pinned_text
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state_json import (
    StateError,
    dump_state,
    load_state,
)

from fuzz import json_mutation
from fuzz.choices import Choices

BASE = ImageReference.parse("registry.example.com/base/os:9.6")
DIGEST = "sha256:" + "a" * 64

_LINES = (
    *(
        "FROM registry.example.com/os:1 AS one",
        "FROM one",
        "FROM $BASE",
        "FROM ${BASE:-registry.example.com/os:2}",
        "FROM",
    ),
    *("ARG BASE=registry.example.com/os:3", "ARG", "RUN true \\", "  && b", "RUN <<EOF", "EOF", "RUN [", "# escape=`"),
    *('COPY --from=registry.example.com/tools:1 /a "/b c"', "COPY --from=one a b", "COPY <<A <<-'B' /x/", "A", "\tB"),
    *(
        "RUN --mount=type=bind,from=registry.example.com/x:1,target=/x true",
        "ENV A=b",
        "LABEL",
        "# comment",
        "",
        "\\",
        "`",
    ),
    *(
        'RUN ["a", "b"]',
        "USER 0",
        "HEALTHCHECK NONE",
        "ONBUILD RUN x",
        "SHELL []",
        "from scratch",
        "RUN [" + "[" * 3000,
    ),
)

_STATE = {
    "schema": 2,
    "pool": "workers",
    "pool_size": 6,
    "generation": 3,
    "target_digests": [DIGEST],
    "policy": {
        "max_unavailable": "10%",
        "max_failures": "1",
        "max_zones": 1,
        "soak": 600.0,
        "soak_between": 0.0,
        "maintenance_windows": [{"days": ["mon"], "from": "22:00", "to": "04:00", "timezone": "Europe/Berlin"}],
        "outside_window": "wait",
        "approval": True,
        "overdue": 7200.0,
    },
    "paused": False,
    "denied": [{"digest": DIGEST, "reason": "unhealthy", "since": 1.5}],
    "canaries": ["n1"],
    "canaries_back": 3.5,
    "approved": [DIGEST],
    "last_out": 10.0,
    "progress": {"planned": 6, "done": 2, "seconds": 12.5},
    "nodes": {
        "n1": {
            "state": "active",
            "phase": "rebooting",
            "since": 10.0,
            "holder": {
                "host": "here",
                "pid": 100,
                "boot": "b",
                "pid_namespace": "p",
                "start_time": "s",
                "user": "ann",
                "job": "7",
                "machine": "m",
            },
            "from_digest": None,
            "from_checksum": "commit",
            "boot_id": "boot-1",
            "zone": "a",
            "phase_since": 12.0,
            "held_since": 10.0,
            "cordoned": False,
            "reason": None,
        }
    },
    "returned": {"n2": 11.0},
}


def containerfile(data: bytes) -> None:
    """Containerfile.parse, image_uses and pinned_text: a result, or InvalidContainerfile with a line of the text."""
    choices = Choices(data)
    lines = [choices.of(_LINES) if choices.number(5) else choices.text() for _turn in range(choices.number(9))]
    text = choices.rest().decode("utf-8", "replace") if choices.chance(6) else choices.of(("\n", "\r\n")).join(lines)
    try:
        parsed = Containerfile.parse(text)
        assert all(1 <= step.line <= step.last_line <= len(parsed.lines) for step in parsed.instructions)
        for step in parsed.instructions:
            assert isinstance(step.words, tuple)
        uses = image_uses(parsed, choices.of((BASE, None)), {"TARGETARCH": "amd64"})
        digests = {use.reference.canonical: DIGEST for use in uses}
        pinned = pinned_text(parsed, uses, digests)
    except InvalidContainerfile as refusal:
        if not (refusal.line is None or 1 <= refusal.line <= text.count("\n") + 2):
            raise AssertionError(f"there is no line {refusal.line}") from refusal
        return
    Containerfile.parse(pinned)  # what goes to the engine is a Containerfile too


def rollout_state(data: bytes) -> None:
    """load_state: a state that is written as it was read, or StateError."""
    choices = Choices(data)
    document = json_mutation.mutated(json.loads(json.dumps(_STATE)), choices)
    text = choices.rest().decode("utf-8", "replace") if choices.chance(6) else json_mutation.spelled(document, choices)
    try:
        state = load_state(text)
    except StateError:
        return
    assert load_state(dump_state(state)) == state
