# SPDX-License-Identifier: GPL-3.0-or-later
"""The hours of the week in which nodes may leave service."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = re.compile(r"([0-9]{1,2}):([0-5][0-9])")
_DAY_MINUTES = 24 * 60
_WANTED = 'Give for example {days: [mon, tue], from: "22:00", to: "04:00", timezone: Europe/Berlin}'


class MaintenanceWindowError(ValueError):
    """A maintenance window that means nothing. The message says what was given and what is accepted."""


@dataclass(frozen=True)
class MaintenanceWindow:
    """Open from `opens` on each of `days` until `closes` on that day, or on the next one if that is not later.

    `opens` and `closes`: minutes after midnight, on the clock on the wall of `timezone`. `days`: of the opening.
    """

    opens: int
    closes: int
    days: tuple[str, ...] = DAYS
    timezone: str = "UTC"

    @classmethod
    def parse(cls, given: object) -> MaintenanceWindow:
        """From an option's item: `from`, `to`, and if wanted `days` and `timezone`."""
        if not isinstance(given, Mapping):
            raise MaintenanceWindowError(f"a maintenance window is {given!r}, which is no dictionary. {_WANTED}.")
        unknown = sorted(str(name) for name in given if name not in ("days", "from", "to", "timezone"))
        if unknown:
            raise MaintenanceWindowError(
                f"a maintenance window has {', '.join(unknown)}, which it cannot have. {_WANTED}."
            )
        opens, closes = (_minutes(given.get(name), name) for name in ("from", "to"))
        if opens in (closes, _DAY_MINUTES):
            raise MaintenanceWindowError(
                f"a maintenance window is from {given.get('from')} to {given.get('to')}, so it is never open. "
                'The whole day is from "00:00" to "24:00".'
            )
        return cls(opens, closes, _days(given.get("days")), _timezone(given.get("timezone")))

    def as_dict(self) -> dict[str, object]:
        """As it is given."""
        return {
            "days": list(self.days),
            "from": _spoken(self.opens),
            "to": _spoken(self.closes),
            "timezone": self.timezone,
        }

    def openings(self, now: float) -> Iterable[tuple[float, float]]:
        """When it opens and closes, in seconds since 1970, from the opening before `now` to eight days later.

        A time that the clock skips in spring is an hour later; a window that lies in the skipped hour is not there.
        """
        where = zone(self.timezone)
        today = datetime.fromtimestamp(now, where).date()
        for offset in range(-2, 9):
            day = today + timedelta(days=offset)
            if DAYS[day.weekday()] not in self.days:
                continue
            midnight = datetime(day.year, day.month, day.day)
            closes = self.closes + (_DAY_MINUTES if self.closes <= self.opens else 0)
            start, end = (
                (midnight + timedelta(minutes=minutes)).replace(tzinfo=where).timestamp()
                for minutes in (self.opens, closes)
            )
            if start < end:
                yield start, end

    def opening_text(self, when: float) -> str:
        """`22:00 Europe/Berlin`."""
        return f"{datetime.fromtimestamp(when, zone(self.timezone)):%a %H:%M} {self.timezone}"


def parse_windows(given: Sequence[object]) -> tuple[MaintenanceWindow, ...]:
    """The items of an option; raises MaintenanceWindowError that says of each wrong one which it is."""
    parsed, mistakes = [], []
    for number, item in enumerate(given, start=1):
        try:
            parsed.append(MaintenanceWindow.parse(item))
        except MaintenanceWindowError as error:
            mistakes.append(f"Maintenance window {number} of {len(given)}: {error}")
    if mistakes:
        raise MaintenanceWindowError(" ".join(mistakes))
    return tuple(parsed)


@dataclass(frozen=True)
class NextOpening:
    """When one of some maintenance windows opens next. `at`: seconds since 1970. `told`: `Mon 22:00 Europe/Berlin`."""

    at: float
    told: str


def next_opening(windows: Sequence[MaintenanceWindow], now: float) -> NextOpening | None:
    """None if one of the windows is open, or there are none, which is always open."""
    following: list[tuple[float, MaintenanceWindow]] = []
    for window in windows:
        for start, end in window.openings(now):
            if start <= now < end:
                return None
            if start > now:
                following.append((start, window))
    if not following:
        return None
    at, window = min(following, key=lambda item: item[0])
    return NextOpening(at, window.opening_text(at))


def zone(name: str) -> tzinfo:
    """The time zone of that name; raises MaintenanceWindowError if this machine does not know it."""
    if name == "UTC":
        return timezone.utc
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # not found; no relative path; a directory
        raise MaintenanceWindowError(
            f"the time zone of a maintenance window is {name!r}, which this controller does not know. Give a name such as "
            "Europe/Berlin; where no such name is known, install tzdata (the system's package, or that of PyPI)."
        ) from error


def _minutes(given: object, name: str) -> int:
    # 22:00 without quotes is the number 1320 in YAML 1.1, which is what it means here, too.
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= _DAY_MINUTES:
        return given
    match = _TIME.fullmatch(given) if isinstance(given, str) else None
    minutes = int(match.group(1)) * 60 + int(match.group(2)) if match else _DAY_MINUTES + 1
    if minutes > _DAY_MINUTES:
        raise MaintenanceWindowError(
            f"{name} of a maintenance window is {given!r}, which is no time of a day. {_WANTED}."
        )
    return minutes


def _days(given: object) -> tuple[str, ...]:
    if given is None or given == []:
        return DAYS
    items = [given] if isinstance(given, str) else given
    if not isinstance(items, (list, tuple)):
        raise MaintenanceWindowError(f"days of a maintenance window is {given!r}, which is no list. {_WANTED}.")
    found = [str(item).strip().lower()[:3] for item in items]
    wrong = [str(item) for item, day in zip(items, found) if day not in DAYS]
    if wrong:
        raise MaintenanceWindowError(
            f"days of a maintenance window has {', '.join(wrong)}, which is no day. The days are {', '.join(DAYS)}."
        )
    return tuple(day for day in DAYS if day in found)


def _timezone(given: object) -> str:
    name = "UTC" if given is None else str(given)
    zone(name)
    return name


def _spoken(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
