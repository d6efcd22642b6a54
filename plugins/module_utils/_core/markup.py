# SPDX-License-Identifier: GPL-3.0-or-later
"""HTML that is safe by the way it is made: text becomes markup in one place only, which escapes it. Pure."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Union

# What HTML does not allow as a character, beside the halves of surrogate pairs, which no file can hold.
_NO_CHARACTER = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# Elements without an end tag.
_VOID = frozenset({"meta", "br", "col"})


class Markup(str):
    """Text that is HTML already. Only this file and constants make it."""

    __slots__ = ()


Child = Union[str, Markup, None]


def text(value: str) -> Markup:
    """Any text, as text."""
    return Markup(html.escape(_NO_CHARACTER.sub("\N{REPLACEMENT CHARACTER}", value)))


def element(tag: str, /, *children: Child, **attributes: object) -> Markup:
    """`<tag …>children</tag>`. Names of attributes that Python does not allow end in `_`, or have `_` for `-`.

    An attribute that is None or False is left out; one that is True has no value.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items() if value not in (None, False))
    if tag in _VOID:
        return Markup(f"<{tag}{written}>")
    return Markup(f"<{tag}{written}>{together(children)}</{tag}>")


def together(children: Iterable[Child]) -> Markup:
    """One after the other; what is no markup yet is escaped."""
    return Markup("".join(one if isinstance(one, Markup) else text(one) for one in children if one is not None))


def _attribute(key: str, value: object) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{text(str(value))}"'
