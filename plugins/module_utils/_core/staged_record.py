# SPDX-License-Identifier: GPL-3.0-or-later
"""/run/ostree/staged-deployment: what ostree itself noted about the staged deployment, for its own use at shutdown.

It tells two things that no tool tells on every host: whether the deployment is locked (rpm-ostree's status stopped
showing that in 2024.6), and its kernel arguments (bootc shows none, and boot entries are written at shutdown only).

The file is a GVariant of type `a{sv}` (ostree src/libostree/ostree-sysroot-deploy.c); the few types in it are read here
by the rules of the format: https://docs.gtk.org/glib/gvariant-specification-1.0.html.
"""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.imagemode.nodes.plugins.module_utils._core.status_json import StatusNotUnderstood


class StagedRecordNotUnderstood(StatusNotUnderstood):
    """The file is no GVariant dictionary, or a field has another type than ostree gives it."""


@dataclass(frozen=True)
class StagedRecord:
    """`kargs` is None where whoever staged left the arguments to ostree, which then takes those of the booted entry.

    `boot_entry_keys`: further keys of the future boot entry, such as `x-options-source-NAME`.
    """

    locked: bool = False
    kargs: tuple[str, ...] | None = None
    boot_entry_keys: tuple[tuple[str, str], ...] = ()


def parse_staged_record(data: bytes) -> StagedRecord:
    """Raises StagedRecordNotUnderstood."""
    fields: dict[str, tuple[str, bytes]] = {}
    for entry in _elements(data, alignment=8):
        key, value = _pair(entry, alignment=8)
        content, _nul, type_name = value.rpartition(b"\0")
        fields[_string(key)] = (type_name.decode("ascii", "replace"), content)
    locked = _field(fields, "locked", "b")
    kargs = _field(fields, "kargs", "as")
    keys = _field(fields, "bootconfig-extra", "a{ss}")
    pairs = [] if keys is None else [_pair(entry, alignment=1) for entry in _elements(keys, alignment=1)]
    return StagedRecord(
        locked=locked is not None and locked != b"\0",
        kargs=None if kargs is None else tuple(_string(word) for word in _elements(kargs, alignment=1)),
        boot_entry_keys=tuple((_string(key), _string(value)) for key, value in pairs),
    )


def _field(fields: dict[str, tuple[str, bytes]], name: str, type_name: str) -> bytes | None:
    if name not in fields:
        return None
    found, content = fields[name]
    if found != type_name:
        raise StagedRecordNotUnderstood(
            f"/run/ostree/staged-deployment: {name} has the type {found!r} instead of {type_name!r}."
        )
    return content


def _elements(data: bytes, alignment: int) -> list[bytes]:
    """The elements of an array of variable size: their ends stand behind them, in numbers just wide enough."""
    if not data:
        return []
    width = _offset_width(len(data))
    first = int.from_bytes(data[-width:], "little")
    count, rest = divmod(len(data) - first, width)
    if rest or count < 1 or first > len(data):
        raise StagedRecordNotUnderstood("/run/ostree/staged-deployment is not a GVariant dictionary.")
    elements = []
    start = 0
    for index in range(count):
        at = first + index * width
        end = int.from_bytes(data[at : at + width], "little")
        start = -(-start // alignment) * alignment
        if not start <= end <= first:
            raise StagedRecordNotUnderstood(
                "/run/ostree/staged-deployment is damaged: an element ends before it begins."
            )
        elements.append(data[start:end])
        start = end
    return elements


def _pair(entry: bytes, alignment: int) -> tuple[bytes, bytes]:
    """Key and value of a dictionary entry; where the key ends stands at the end."""
    width = _offset_width(len(entry))
    end = int.from_bytes(entry[-width:], "little") if entry else -1
    start = -(-end // alignment) * alignment
    if not 0 < end <= start <= len(entry) - width:
        raise StagedRecordNotUnderstood("/run/ostree/staged-deployment is damaged: an entry has no value.")
    return entry[:end], entry[start : len(entry) - width]


def _string(data: bytes) -> str:
    if not data.endswith(b"\0"):
        raise StagedRecordNotUnderstood("/run/ostree/staged-deployment is damaged: a string does not end.")
    return data[:-1].decode("utf-8", "surrogateescape")


def _offset_width(size: int) -> int:
    return next(width for width in (1, 2, 4, 8) if size < 1 << (8 * width))
