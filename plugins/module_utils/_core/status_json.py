# SPDX-License-Identifier: GPL-3.0-or-later
"""Typed access to the JSON that a tool printed: a field of the wrong type is an error that names the field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn


class StatusNotUnderstood(ValueError):
    """A tool's status is not what any known version prints. The message names what was found where."""


def decode(tool: str, text: str) -> Fields:
    """The first JSON object in a tool's standard output.

    bootc up to 1.6 prints `Waiting for sysroot lock...` before it (recorded, bootc 1.1.6). Raises StatusNotUnderstood.
    """
    start = text.find("{")
    if start < 0:
        shown = text.strip()[:200] or "nothing"
        raise StatusNotUnderstood(f"{tool} printed no JSON, but: {shown}")
    try:
        value, _end = _DECODER.raw_decode(text, start)
        if "\\u" in text or not text.isascii():
            json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no text that could be shown
    except RecursionError:
        raise StatusNotUnderstood(f"{tool} printed JSON that is nested too deeply to be its status.") from None
    except ValueError as error:
        raise StatusNotUnderstood(f"{tool} printed JSON that does not parse: {error}") from error
    return Fields(tool, "", value)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Neither tool names a key twice, and whichever value was taken could be the wrong one."""
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _value in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return value


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_without_duplicates, parse_constant=_no_number)


class Fields:
    """One JSON object and the path that leads to it. A missing key counts as null: versions differ in what they print."""

    def __init__(self, tool: str, path: str, value: Mapping[str, Any]) -> None:
        self._tool = tool
        self._path = path
        self._value = value

    def _get(self, key: str, expected: type | tuple[type, ...]) -> Any:
        value = self._value.get(key)
        if value is not None and (not isinstance(value, expected) or (isinstance(value, bool) and expected is int)):
            raise StatusNotUnderstood(
                f"{self._tool}: {self._path}{key} is {json.dumps(value)[:120]}, which no known version prints there."
            )
        return value

    def text(self, key: str) -> str | None:
        """A string, or None."""
        value: str | None = self._get(key, str)
        return value

    def number(self, key: str) -> int | None:
        """An integer, or None."""
        value: int | None = self._get(key, int)
        return value

    def flag(self, key: str) -> bool:
        """A boolean; null and missing are False."""
        return bool(self._get(key, bool))

    def any(self, key: str) -> Any:
        """The raw value, where more than one type is legal."""
        return self._value.get(key)

    def object(self, key: str) -> Fields | None:
        """A nested object, or None."""
        value = self._get(key, dict)
        return None if value is None else Fields(self._tool, f"{self._path}{key}.", value)

    def objects(self, key: str) -> list[Fields]:
        """A list of objects; null and missing are empty."""
        values = self._get(key, list) or []
        for index, value in enumerate(values):
            if not isinstance(value, dict):
                raise StatusNotUnderstood(f"{self._tool}: {self._path}{key}[{index}] is not an object.")
        return [Fields(self._tool, f"{self._path}{key}[{index}].", value) for index, value in enumerate(values)]

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings; null and missing are empty."""
        values = self._get(key, list) or []
        if not all(isinstance(value, str) for value in values):
            raise StatusNotUnderstood(f"{self._tool}: {self._path}{key} is not a list of strings.")
        return tuple(values)

    def complain(self, key: str, what: str) -> StatusNotUnderstood:
        """An error about one field, for the caller to raise."""
        return StatusNotUnderstood(f"{self._tool}: {self._path}{key} {what}")
