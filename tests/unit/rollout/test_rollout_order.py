# SPDX-License-Identifier: GPL-3.0-or-later
"""Who goes first among nodes that are in service."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_order import Order, ordered
from hypothesis import given
from hypothesis import strategies as st

NODES = ("n1", "n2", "n3", "n4", "n5")
ZONES = {"n1": "b", "n2": "a", "n3": "b", "n4": "a"}


@pytest.mark.parametrize(
    ("order", "zones", "ages", "begun", "wanted"),
    [
        ("inventory", {}, {}, (), "n1 n2 n3 n4 n5"),
        ("inventory", {}, {"n3": 1.0}, (), "n1 n2 n3 n4 n5"),
        ("oldest", {}, {"n3": 1.0, "n5": 0.5}, (), "n5 n3 n1 n2 n4"),
        ("inventory", ZONES, {}, (), "n1 n3 n2 n4 n5"),
        ("inventory", ZONES, {}, ("a",), "n2 n4 n1 n3 n5"),
        ("inventory", ZONES, {}, ("elsewhere", ""), "n5 n1 n3 n2 n4"),
        ("oldest", ZONES, {"n4": 1.0, "n3": 2.0}, (), "n4 n2 n3 n1 n5"),
    ],
)
def test_order(
    order: str, zones: Mapping[str, str], ages: Mapping[str, float], begun: tuple[str, ...], wanted: str
) -> None:
    assert " ".join(ordered(NODES, Order(order), zones, ages, begun)) == wanted


@given(
    st.dictionaries(st.sampled_from(NODES), st.sampled_from(["a", "b", "c"])),
    st.dictionaries(st.sampled_from(NODES), st.floats(0, 10)),
    st.sampled_from(Order),
    st.sets(st.sampled_from(["a", "b"])),
)
def test_everybody_is_there_once_and_no_zone_is_left_and_entered_again(
    zones: dict[str, str], ages: dict[str, float], order: Order, begun: set[str]
) -> None:
    found = ordered(NODES, order, zones, ages, begun)
    assert sorted(found) == sorted(NODES)
    changes = sum(
        zones.get(one, "") != zones.get(next_one, "") for one, next_one in zip(found, found[1:], strict=False)
    )
    assert changes == len({zones.get(name, "") for name in NODES}) - 1
