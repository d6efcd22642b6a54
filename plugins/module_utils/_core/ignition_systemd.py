# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd.units of an Ignition config."""

from __future__ import annotations

import re

from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_config import DropInEntry, UnitEntry
from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_fields import (
    Fields,
    require_no_duplicates,
    shown,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config import Origin

_UNIT_NAME = re.compile(
    r"[A-Za-z0-9:_.\\@-]{1,243}\.(?:service|socket|device|mount|automount|swap|target|path|timer|snapshot|slice|scope)\Z"
)
_DROP_IN_NAME = re.compile(r"[^/\s]{1,250}\.conf\Z")


def read_units(systemd: Fields) -> tuple[UnitEntry, ...]:
    """systemd.units. Raises InvalidConfig."""
    units = tuple(
        _read_unit(fields) for fields in systemd.objects("units", ("name", "enabled", "mask", "contents", "dropins"))
    )
    require_no_duplicates((unit.name, unit.origin.below("name")) for unit in units)
    return units


def _read_unit(fields: Fields) -> UnitEntry:
    name = fields.required_text("name")
    if not _UNIT_NAME.match(name):
        raise fields.origin.below("name").error(
            f"{shown(name)} is not the name of a unit: it ends in .service, .timer, .socket or another kind of unit, "
            "and has no path"
        )
    dropins = []
    for dropin in fields.objects("dropins", ("name", "contents")):
        text = dropin.required_text("name")
        if not _DROP_IN_NAME.match(text) or not text.isprintable():
            raise dropin.origin.below("name").error(
                f"{shown(text)} is not the name of a drop-in: it ends in .conf, and has no path"
            )
        dropins.append((DropInEntry(text, _read_contents(dropin)), dropin.origin.below("name")))
    require_no_duplicates((dropin.name, origin) for dropin, origin in dropins)
    return UnitEntry(
        name,
        _read_contents(fields),
        fields.boolean("enabled"),
        fields.boolean("mask"),
        tuple(dropin for dropin, _origin in dropins),
        fields.origin,
    )


def _read_contents(fields: Fields) -> str | None:
    text = fields.text("contents")
    if text:
        _require_unit_syntax(text, fields.origin.below("contents"))
    return text


def _require_unit_syntax(text: str, place: Origin) -> None:
    """Refuses what Ignition's own parser refuses (go-systemd unit/deserialize.go): a section header without its end, and
    a line of a section without `=`. Messages give the line's number, as a unit can hold secrets.
    """
    if "\x00" in text:
        raise place.error("the unit contains a NUL character; is it a binary file?")
    in_section = continued = False
    for number, line in enumerate(text.split("\n"), 1):
        start, was_continued = line.lstrip(), continued
        continued = line.rstrip("\r").endswith("\\") and (was_continued or in_section)
        if was_continued or not start or start[0] in "#;":
            continue
        if start[0] == "[":
            if not start.rstrip().endswith("]"):
                raise place.error(f"line {number} of the unit opens a section with [ and does not end in ]")
            in_section, continued = True, False
        elif in_section and "=" not in start:
            raise place.error(f"line {number} of the unit is neither a section nor Name=value nor a comment")
