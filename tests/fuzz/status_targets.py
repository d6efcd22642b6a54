# SPDX-License-Identifier: GPL-3.0-or-later
"""Status documents that are almost right. What a parser accepts must be whole: every view of it can be computed and shown."""

from __future__ import annotations

import json

from ansible_collections.imagemode.nodes.plugins.module_utils._core.bootc_status import parse_bootc_status
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import HostState, describe
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rpm_ostree_status import parse_rpm_ostree_status
from ansible_collections.imagemode.nodes.plugins.module_utils._core.status_json import (
    Fields,
    StatusNotUnderstood,
    decode,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.tool_failure import explain

from fuzz import json_mutation, recorded_status
from fuzz.choices import Choices


def bootc_status(data: bytes) -> None:
    """parse_bootc_status: a whole state, or StatusNotUnderstood."""
    try:
        state = parse_bootc_status(_text("bootc", Choices(data)))
    except StatusNotUnderstood as refusal:
        _readable(str(refusal))
        return
    _whole(state)


def rpm_ostree_status(data: bytes) -> None:
    """parse_rpm_ostree_status: a whole state, or StatusNotUnderstood."""
    try:
        state = parse_rpm_ostree_status(_text("rpm-ostree", Choices(data)))
    except StatusNotUnderstood as refusal:
        _readable(str(refusal))
        return
    _whole(state)


def status_json(data: bytes) -> None:
    """decode and every accessor of Fields: a value of the promised type, or StatusNotUnderstood."""
    choices = Choices(data)
    text = _text(choices.of(("bootc", "rpm-ostree")), choices)
    try:
        _walk(decode("tool", text), 0)
    except StatusNotUnderstood as refusal:
        _readable(str(refusal))


def tool_failure(data: bytes) -> None:
    """explain never fails on what a tool wrote."""
    _readable(explain(data.decode(errors="replace")))


def _text(tool: str, choices: Choices) -> str:
    """Mostly a mutated recording, sometimes the bytes themselves."""
    if choices.chance(6):
        return choices.rest().decode("utf-8", "replace")
    document = json.loads(recorded_status.any_text(tool, choices))
    return json_mutation.spelled(json_mutation.mutated(document, choices), choices)


def _whole(state: HostState) -> None:
    _readable(json.dumps(state.as_dict(), ensure_ascii=False))
    assert state.image_mode == (state.booted is not None)
    assert state.reboot_required == (state.next_slot not in (None, "booted"))
    if state.image_mode:
        assert state.next is not None, "whatever is booted, something boots next"
    for deployment in (state.booted, state.staged, state.rollback, *state.others):
        _readable(describe(deployment))


def _readable(text: str) -> None:
    """Every message and result ends on a terminal or in a file: it must be text."""
    text.encode("utf-8")


def _walk(fields: Fields, depth: int) -> None:
    accessors = (fields.text, fields.number, fields.flag, fields.any, fields.texts)
    for key in ("status", "booted", "image", "deployments", "transaction", "apiVersion", "missing"):
        for accessor in accessors:
            try:
                accessor(key)
            except StatusNotUnderstood as refusal:
                _readable(str(refusal))
        if depth < 3:
            try:
                below = fields.object(key)
                lists = fields.objects(key) if below is None else []
            except StatusNotUnderstood:
                continue
            for entry in (*([below] if below else []), *lists[:2]):
                _walk(entry, depth + 1)
