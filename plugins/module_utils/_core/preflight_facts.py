# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node tells of itself before a rollout, beyond its deployments: space, units, credentials, the registry's answer."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

GREENBOOT = "greenboot-healthcheck.service"
OUR_STAGING = "imagemode-stage.service"


class FactsNotUnderstood(ValueError):
    """The node's answer breaks off, or is something else."""


@dataclass(frozen=True)
class Space:
    """One file system. Sizes in bytes; `device` tells file systems apart. `inodes` is None where they are not counted."""

    total: int
    available: int
    device: str
    inodes: int | None = None


@dataclass(frozen=True)
class NodeFacts:
    """`space` by path, where `repository` stands for the place of the image data. `kernel_bytes`: kernel and initramfs of what runs.

    `time`: the node's clock, seconds since 1970. `read_only`: directories that cannot be written to. `reserve`: ostree's
    `min-free-space-…` settings. `units`: by unit its `enabled` and `active` state. `shutdown_at`: when a shutdown is
    scheduled, seconds since 1970. `auth_registries`: by auth file the registries it names, never what for. `missing_keys`:
    keys that a signature policy names and that cannot be read. `layering_locked`: `LockLayering=true`.
    """

    time: float | None = None
    machine: str = ""
    space: Mapping[str, Space] = field(default_factory=dict)
    kernel_bytes: int | None = None
    read_only: tuple[str, ...] = ()
    reserve: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    failed_units: tuple[str, ...] = ()
    shutdown_at: float | None = None
    auth_registries: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dangling: tuple[str, ...] = ()
    missing_keys: tuple[str, ...] = ()
    layering_locked: bool = False

    def enabled(self, unit: str) -> bool:
        """Whether a unit starts at boot."""
        return self.units.get(unit, ("", ""))[0].startswith("enabled")

    def active(self, unit: str) -> str:
        """A unit's state, such as `active` or `failed`; empty where nothing is known of it."""
        return self.units.get(unit, ("", ""))[1]


@dataclass(frozen=True)
class RegistryAnswer:
    """What the registry said to the node. `by`: the program that asked, None if the node has none that could.

    `status`: of HTTP, where a program asked that knows no credentials.
    """

    by: str | None
    ok: bool = False
    timed_out: bool = False
    status: int | None = None
    message: str = ""
    authfile: str | None = None


def parse_facts(text: str) -> NodeFacts:
    """From lines `WORD FIELD…`, in which text from the node is base64. Raises FactsNotUnderstood."""
    lines = [line.split(" ") for line in text.splitlines() if line.strip()]
    if not lines or lines[-1] != ["end"]:
        raise FactsNotUnderstood("the answer breaks off")
    try:
        return _facts(lines[:-1])
    except (IndexError, ValueError, binascii.Error) as problem:
        raise FactsNotUnderstood(f"the answer was not understood ({type(problem).__name__})") from problem


def _facts(lines: list[list[str]]) -> NodeFacts:
    values: dict[str, list[list[str]]] = {}
    for kind, *fields in lines:
        values.setdefault(kind, []).append(fields)

    def texts(kind: str) -> tuple[str, ...]:
        return tuple(_text(fields[0]) for fields in values.get(kind, []))

    def number(kind: str) -> int | None:
        found = values.get(kind, [[""]])[0][0]
        return int(found) if found.isdigit() else None

    auth: dict[str, tuple[str, ...]] = {}
    for path, name in values.get("auth", []):
        auth[_text(path)] = (*auth.get(_text(path), ()), *([_text(name)] if name else []))
    usec = number("shutdown_usec")
    return NodeFacts(
        time=number("time"),
        machine=values.get("machine", [[""]])[0][0],
        space={name: _space(rest) for name, *rest in values.get("space", [])},
        kernel_bytes=number("kernel"),
        read_only=texts("read_only"),
        reserve=dict(text.partition("=")[::2] for text in texts("reserve")),
        units=_units(" ".join(fields) for fields in values.get("show", [])),
        failed_units=texts("failed"),
        shutdown_at=None if usec is None else usec / 1_000_000,
        auth_registries=auth,
        dangling=texts("dangling"),
        missing_keys=texts("missing_key"),
        layering_locked="locked" in values,
    )


def _units(lines: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Enablement and activity by unit, from blocks of `systemctl show`, which an empty line ends."""
    found: dict[str, tuple[str, str]] = {}
    block: dict[str, str] = {}
    for line in (*lines, ""):
        name, equals, value = line.strip().partition("=")
        if equals:
            block[name] = value
        elif block.get("Id"):
            found[block["Id"]] = (block.get("UnitFileState", ""), block.get("ActiveState", ""))
            block = {}
    return found


def _space(fields: list[str]) -> Space:
    """Block size, blocks, available blocks, inodes, free inodes, device: as `stat -f` and `stat` of the path tell."""
    size, blocks, available, inodes, free = (int(field) for field in fields[:5])
    return Space(size * blocks, size * available, fields[5], free if inodes else None)


def _text(field: str) -> str:
    return base64.b64decode(field[1:], validate=True).decode(errors="replace")
