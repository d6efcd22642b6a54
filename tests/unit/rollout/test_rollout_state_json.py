# SPDX-License-Identifier: GPL-3.0-or-later
"""A state survives being stored, and what is not understood is refused whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.maintenance_window import DAYS, MaintenanceWindow
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_holder import Holder
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import (
    Denial,
    OutsideWindow,
    Policy,
    PoolState,
    Progress,
    Slot,
    SlotState,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state_json import (
    StateError,
    dump_state,
    load_state,
    state_as_dict,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_window import NodeLimit
from hypothesis import given
from hypothesis import strategies as st
from rollout_examples import active, failed, pool

COUNTS = st.integers(0, 10**6)
TIMES = st.floats(0, 2e9)
TEXTS = st.text(max_size=20)
HOLDERS = st.builds(Holder, TEXTS, COUNTS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS)
OPTIONAL = st.none() | TEXTS
SLOTS = st.builds(
    Slot,
    st.sampled_from(SlotState),
    TEXTS,
    TIMES,
    st.none() | HOLDERS,
    OPTIONAL,
    OPTIONAL,
    OPTIONAL,
    TEXTS,
    TIMES,
    TIMES,
    st.booleans(),
    OPTIONAL,
)
LIMITS = st.builds(NodeLimit, st.integers(1, 100), st.booleans())
WINDOWS = st.builds(
    MaintenanceWindow,
    st.integers(0, 11 * 60),
    st.integers(12 * 60, 24 * 60),
    st.sampled_from([DAYS, ("mon",), ("tue", "sun")]),
    st.sampled_from(["UTC", "Europe/Berlin"]),
)
POLICIES = st.builds(
    Policy,
    LIMITS,
    LIMITS,
    COUNTS,
    TIMES,
    TIMES,
    st.lists(WINDOWS, max_size=2).map(tuple),
    st.sampled_from(OutsideWindow),
    st.booleans(),
    TIMES,
)
STATES = st.builds(
    PoolState,
    pool=TEXTS,
    pool_size=COUNTS,
    generation=COUNTS,
    target_digests=st.lists(TEXTS, max_size=3).map(tuple),
    policy=POLICIES,
    paused=st.booleans(),
    denied=st.lists(st.builds(Denial, TEXTS, TEXTS, TIMES), max_size=2).map(tuple),
    canaries=st.lists(TEXTS, max_size=2).map(tuple),
    canaries_back=TIMES,
    approved=st.lists(TEXTS, max_size=2).map(tuple),
    last_out=TIMES,
    progress=st.builds(Progress, COUNTS, COUNTS, TIMES),
    nodes=st.dictionaries(TEXTS, SLOTS, max_size=3),
    returned=st.dictionaries(TEXTS, TIMES, max_size=3),
)


@given(STATES)
def test_a_stored_state_is_the_same_state(state: PoolState) -> None:
    assert load_state(dump_state(state)) == state


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not JSON"),
        ('{"schema": 2, "pool"', "not JSON"),
        ("[]", "list"),
        ("{}", "schema is None"),
        ('{"schema": 1}', "schema is 1"),
        ('{"schema": "2"}', "schema is '2'"),
        ('{"schema": 1, "schema": 1}', "twice"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_text_that_is_no_state_is_refused(text: str, told: str) -> None:
    with pytest.raises(StateError, match=told):
        load_state(text)


STORED = state_as_dict(pool({"n1": active(), "n2": failed()}, denied=(Denial("d", "r", 1.0),)))


@pytest.mark.parametrize("name", [name for name in STORED if name != "schema"])
def test_a_missing_field_is_refused(name: str) -> None:
    with pytest.raises(StateError):
        load_state(json.dumps({key: value for key, value in STORED.items() if key != name}))


@pytest.mark.parametrize(
    "change",
    [
        {"pool": 5},
        {"pool_size": -1},
        {"pool_size": True},
        {"generation": "7"},
        {"target_digests": "sha256:new"},
        {"paused": 0},
        {"policy": {**STORED["policy"], "max_unavailable": "0"}},
        {"policy": {**STORED["policy"], "max_failures": "some"}},
        {
            "policy": {
                **STORED["policy"],
                "maintenance_windows": [{"from": "1:00", "to": "4:00", "timezone": "Mars/Base"}],
            }
        },
        {"policy": {**STORED["policy"], "outside_window": "hope"}},
        {"nodes": []},
        {"nodes": {"n1": {**STORED["nodes"]["n1"], "state": "borrowed"}}},
        {"nodes": {"n1": {**STORED["nodes"]["n1"], "holder": {"host": "h"}}}},
        {"nodes": {"n1": {**STORED["nodes"]["n1"], "since": None}}},
        {"nodes": {"n1": {**STORED["nodes"]["n1"], "since": float("nan")}}},
        {"nodes": {"n1": {**STORED["nodes"]["n1"], "since": 10**400}}},
        {"nodes": {"n1": {**STORED["nodes"]["n1"], "reason": "\ud800"}}},
    ],
)
def test_a_wrong_value_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(StateError):
        load_state(json.dumps({**STORED, **change}))
