# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents that are almost what a tool prints: one recorded document, changed here and there, and spelled badly."""

from __future__ import annotations

import json
from typing import Any

from fuzz.choices import Choices

MEGABYTE = 1 << 20


def mutated(document: Any, choices: Choices, at_most: int = 4) -> Any:
    """The document with up to so many changes. It is changed in place."""
    for _turn in range(choices.number(at_most + 1)):
        places = list(_places(document))
        if not places:
            break
        container, key = choices.of(places)
        _change(container, key, choices, places)
    return document


def spelled(document: Any, choices: Choices) -> str:
    """The document as text, sometimes the way a tool, a shell or an attacker spoils it."""
    text = json.dumps(document, indent=choices.of((None, 2)), ensure_ascii=choices.number(2) == 0)
    way = choices.number(12)
    if way == 1:
        return text[: choices.number(len(text) + 1)]
    if way == 2:
        return choices.text() + text
    if way == 3:
        return "Waiting for sysroot lock..." + text + choices.text()
    if way == 4:
        at = choices.number(len(text) + 1)
        return text[:at] + choices.text() + text[at:]
    if way == 5:
        return text.replace("{", '{"status": null, "booted": true,', choices.number(4))
    if way == 6:
        depth = choices.of((10, 900, 5_000, 100_000))
        return choices.of(('{"status":', "[")) * depth + text
    if way == 7 and choices.chance(16):
        return '{"filler": "' + "x" * MEGABYTE + '",' + text[1:]
    if way == 8:
        return text.replace("true", "NaN", choices.number(3)).replace(": 0", ": " + "9" * 5000, choices.number(2))
    if way == 9:
        return text.replace('"', '"\\ud800', choices.number(3))
    return text


def foreign(choices: Choices) -> Any:
    """A value of any type that JSON, or what passes for it, can have."""
    kind = choices.number(10)
    if kind < 3:
        return choices.text()
    plain: tuple[Any, ...] = (
        None,
        True,
        False,
        0,
        -1,
        1 << 63,
        10**30,
        10**400,
        1.5,
        float("nan"),
        [],
        {},
        [[]],
        [None],
        {"image": None},
    )
    return choices.of(plain)


def _places(value: Any) -> Any:
    """Every (container, key or index) below a value."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in entries:
        yield value, key
        yield from _places(below)


def _change(container: Any, key: Any, choices: Choices, places: list[tuple[Any, Any]]) -> None:
    way = choices.number(6)
    if way == 0:
        del container[key]
    elif way == 1:
        other, name = choices.of(places)
        container[key] = json.loads(json.dumps(other.get(name) if isinstance(other, dict) else None))
    elif way == 2:
        container[key] = [container[key]]
    elif way == 3 and isinstance(container[key], str):
        text = container[key]
        at = choices.number(len(text) + 1)
        container[key] = text[:at] + choices.text() + text[at + choices.number(8) :]
    else:
        container[key] = foreign(choices)
