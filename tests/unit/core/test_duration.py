# SPDX-License-Identifier: GPL-3.0-or-later
"""Lengths of time as people write them."""

from __future__ import annotations

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.duration import DurationError, parse_duration
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("wanted", "seconds"),
    [
        (0, 0.0),
        ("0", 0.0),
        (90, 90.0),
        (1.5, 1.5),
        ("90", 90.0),
        ("2.5", 2.5),
        ("90s", 90.0),
        (" 10m ", 600.0),
        ("1h", 3600.0),
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        ("2D", 172800.0),
        ("0s", 0.0),
    ],
)
def test_a_length_of_time(wanted: object, seconds: float) -> None:
    assert parse_duration(wanted, "soak") == seconds


@pytest.mark.parametrize(
    "nonsense",
    [
        None,
        "",
        " ",
        "h",
        "-1",
        -1,
        -0.5,
        "10 minutes",
        "30m1h",
        "1.5h",
        "1e3",
        True,
        False,
        [],
        "٣s",
        float("nan"),
        "99999d",
    ],
)
def test_nonsense_is_refused_and_named(nonsense: object) -> None:
    with pytest.raises(DurationError) as caught:
        parse_duration(nonsense, "soak_between")
    assert str(caught.value).startswith(f"soak_between is {nonsense!r}")
    assert "1h30m" in str(caught.value)


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))
def test_parts_add_up(hours: int, minutes: int, seconds: int) -> None:
    assert parse_duration(f"{hours}h{minutes}m{seconds}s", "x") == hours * 3600 + minutes * 60 + seconds
