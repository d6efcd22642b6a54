# SPDX-License-Identifier: GPL-3.0-or-later
"""Lengths of time as options give them: a number of seconds, or text such as `10m`."""

from __future__ import annotations

import re

_PARTS = re.compile(r"(?:(?P<d>[0-9]+)d)?(?:(?P<h>[0-9]+)h)?(?:(?P<m>[0-9]+)m)?(?:(?P<s>[0-9]+)s)?")
_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_UNIT = {"d": 86400, "h": 3600, "m": 60, "s": 1}
# Ten years. More is a mistake, such as a time in milliseconds, and far below what a clock can add up.
_LONGEST = 10 * 365 * 86400


class DurationError(ValueError):
    """No length of time. The message names the option, what was given and what is accepted."""


def parse_duration(given: object, option: str) -> float:
    """Seconds in `given`: a number of seconds, or text such as `90s`, `10m`, `1h`, `1h30m`; days are `d`.

    Raises DurationError for anything else, such as an empty text, a boolean or less than 0.
    """
    if isinstance(given, (int, float, str)) and not isinstance(given, bool):
        text = str(given).strip()
        seconds = _in_words(text) if _SECONDS.fullmatch(text) is None else float(text)
        if seconds is not None and 0 <= seconds <= _LONGEST:
            return seconds
    raise DurationError(
        f"{option} is {given!r}, which is no length of time. Give seconds, or text such as 90s, 10m, 1h or 1h30m."
    )


def _in_words(text: str) -> float | None:
    match = _PARTS.fullmatch(text.replace(" ", "").lower())
    if match is None or not text:
        return None
    return float(sum(int(amount) * _UNIT[unit] for unit, amount in match.groupdict(default="0").items()))
