# SPDX-License-Identifier: GPL-3.0-or-later
"""How many nodes may be out of service at once."""

from __future__ import annotations

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_window import NodeLimit, WindowError
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("given_value", "pool_size", "window"),
    [
        (1, 50, 1),
        ("1", 50, 1),
        (" 3 ", 50, 3),
        (7, 5, 7),
        ("10%", 50, 5),
        ("10 %", 50, 5),
        ("10%", 59, 5),
        ("10%", 9, 1),
        ("1%", 1, 1),
        ("33%", 6, 1),
        ("34%", 6, 2),
        ("100%", 6, 6),
    ],
)
def test_window(given_value: object, pool_size: int, window: int) -> None:
    assert NodeLimit.parse(given_value).of(pool_size) == window


@pytest.mark.parametrize(
    "nonsense",
    [
        0,
        "0",
        "0%",
        -1,
        "-1",
        "-10%",
        1.5,
        "1.5",
        "101%",
        "",
        "%",
        "ten",
        "1 2",
        True,
        False,
        None,
        [],
        "1%%",
        "0x2",
        "٣",
    ],
)
def test_nonsense_is_refused_and_named(nonsense: object) -> None:
    with pytest.raises(WindowError) as caught:
        NodeLimit.parse(nonsense)
    assert repr(nonsense) in str(caught.value)
    assert "10%" in str(caught.value)


@given(percent=st.integers(1, 100), pool_size=st.integers(1, 5000))
def test_a_percentage_is_never_exceeded_unless_it_is_less_than_one_node(percent: int, pool_size: int) -> None:
    window = NodeLimit.parse(f"{percent}%").of(pool_size)
    assert 1 <= window <= pool_size
    assert window == 1 or window * 100 <= percent * pool_size


@given(st.integers(1, 100), st.booleans())
def test_text_is_read_back(amount: int, percent: bool) -> None:
    limit = NodeLimit(amount, percent)
    assert NodeLimit.parse(str(limit)) == limit
