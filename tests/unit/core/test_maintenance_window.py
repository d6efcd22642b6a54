# SPDX-License-Identifier: GPL-3.0-or-later
"""The hours of the week in which nodes may leave service."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.maintenance_window import (
    DAYS,
    MaintenanceWindow,
    MaintenanceWindowError,
    next_opening,
    parse_windows,
)
from hypothesis import given
from hypothesis import strategies as st


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def opens(windows: list[dict[str, Any]], now: float) -> str | None:
    """When it opens next, in UTC; None if it is open."""
    opening = next_opening([MaintenanceWindow.parse(window) for window in windows], now)
    return f"{datetime.fromtimestamp(opening.at, timezone.utc):%a %d %H:%M}" if opening else None


NIGHT = {"from": "22:00", "to": "04:00"}
WEEKEND = {"days": ["sat", "Sunday"], "from": "22:00", "to": "04:00", "timezone": "Europe/Berlin"}


@pytest.mark.parametrize(
    ("windows", "now", "opening"),
    [
        ([], at("2026-11-21 12:00"), None),
        ([NIGHT], at("2026-11-21 21:59"), "Sat 21 22:00"),
        ([NIGHT], at("2026-11-21 22:00"), None),
        ([NIGHT], at("2026-11-22 03:59"), None),
        ([NIGHT], at("2026-11-22 04:00"), "Sun 22 22:00"),
        # The night of Sunday belongs to Sunday, though it ends on Monday.
        ([WEEKEND], at("2026-11-23 03:30", "Europe/Berlin"), None),
        ([WEEKEND], at("2026-11-21 03:30", "Europe/Berlin"), "Sat 21 21:00"),
        ([WEEKEND], at("2026-11-23 05:00", "Europe/Berlin"), "Sat 28 21:00"),
        ([WEEKEND, NIGHT], at("2026-11-23 05:00"), "Mon 23 22:00"),
        ([{"from": "00:00", "to": "24:00", "days": "mon"}], at("2026-11-23 23:59"), None),
        ([{"from": "00:00", "to": "24:00", "days": "mon"}], at("2026-11-24 00:00"), "Mon 30 00:00"),
        # 22:00 without quotes is a number in YAML.
        ([{"from": 1320, "to": "04:00"}], at("2026-11-21 21:00"), "Sat 21 22:00"),
        # Summer time begins on 29 March 2026: 02:00 is 03:00, and that is 01:00 in UTC.
        ([{"from": "02:30", "to": "05:00", "timezone": "Europe/Berlin"}], at("2026-03-29 00:00"), "Sun 29 01:30"),
        ([{"from": "02:30", "to": "05:00", "timezone": "Europe/Berlin"}], at("2026-03-29 02:59"), None),
        ([{"from": "02:30", "to": "05:00", "timezone": "Europe/Berlin"}], at("2026-03-29 03:00"), "Mon 30 00:30"),
        ([{"from": "02:15", "to": "02:45", "timezone": "Europe/Berlin"}], at("2026-03-29 00:00"), "Sun 29 01:15"),
    ],
)
def test_when_it_opens(windows: list[dict[str, Any]], now: float, opening: str | None) -> None:
    assert opens(windows, now) == opening


def test_the_opening_is_told_on_the_clock_of_the_window() -> None:
    opening = next_opening([MaintenanceWindow.parse(WEEKEND)], at("2026-11-21 12:00"))
    assert opening is not None
    assert opening.told == "Sat 22:00 Europe/Berlin"


@pytest.mark.parametrize(
    ("window", "told"),
    [
        ("22:00-04:00", "no dictionary"),
        ({}, "from of a maintenance window is None"),
        ({"from": "22:00"}, "to of a maintenance window is None"),
        ({"from": "25:00", "to": "04:00"}, "'25:00'"),
        ({"from": "22:60", "to": "04:00"}, "'22:60'"),
        ({"from": 1500, "to": "04:00"}, "1500"),
        ({"from": True, "to": "04:00"}, "True"),
        ({"from": "22:00", "to": "22:00"}, "never open"),
        ({"from": "24:00", "to": "04:00"}, "never open"),
        ({**NIGHT, "days": ["mon", "someday"]}, "someday"),
        ({**NIGHT, "days": 5}, "no list"),
        ({**NIGHT, "timezone": "Europe/Atlantis"}, "Europe/Atlantis"),
        ({**NIGHT, "timezone": "../etc/passwd"}, "../etc/passwd"),
        ({**NIGHT, "timezone": ""}, "''"),
        ({**NIGHT, "day": ["mon"]}, "has day, which it cannot have"),
    ],
)
def test_what_means_nothing_is_refused_and_named(window: Any, told: str) -> None:
    with pytest.raises(MaintenanceWindowError, match="maintenance window") as caught:
        MaintenanceWindow.parse(window)
    assert told in str(caught.value)


WINDOWS = st.builds(
    MaintenanceWindow,
    st.integers(0, 1439),
    st.integers(1, 1440),
    st.sets(st.sampled_from(DAYS), min_size=1).map(lambda days: tuple(day for day in DAYS if day in days)),
    st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/New_York"]),
).filter(lambda window: window.opens != window.closes)


@given(WINDOWS)
def test_it_is_read_back_as_it_is_written(window: MaintenanceWindow) -> None:
    assert MaintenanceWindow.parse(window.as_dict()) == window


@given(st.lists(WINDOWS, min_size=1, max_size=3), st.floats(1.7e9, 1.9e9))
def test_at_the_next_opening_it_is_open_and_just_before_it_was_not(
    windows: list[MaintenanceWindow], now: float
) -> None:
    opening = next_opening(windows, now)
    if opening is not None:
        assert now < opening.at <= now + 9 * 86400
        assert next_opening(windows, opening.at) is None
        assert next_opening(windows, (now + opening.at) / 2) == opening or opening.at - now < 1e-3


def test_of_several_windows_every_wrong_one_is_named() -> None:
    with pytest.raises(MaintenanceWindowError) as caught:
        parse_windows([{**NIGHT, "tz": "UTC"}, NIGHT, {"from": "22:00", "to": "22:00"}])
    told = str(caught.value)
    assert told.startswith("Maintenance window 1 of 3: a maintenance window has tz, which it cannot have.")
    assert "Maintenance window 3 of 3: a maintenance window is from 22:00 to 22:00, so it is never open." in told
    assert "window 2" not in told
    assert parse_windows([NIGHT, NIGHT]) == (MaintenanceWindow.parse(NIGHT),) * 2
