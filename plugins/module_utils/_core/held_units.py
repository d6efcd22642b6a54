# SPDX-License-Identifier: GPL-3.0-or-later
"""Units that must not start before something is proven: the drop-in that holds them, and what a node says of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._core.status_json import StatusNotUnderstood

UNIT_DIRECTORY = "/etc/systemd/system"
MARK = "/run/imagemode/pivot-proven"
# Drop-ins are read in the order of their names, and an empty condition drops those before it: ours comes last.
DROP_IN = "zz-imagemode-hold.conf"
DROP_IN_TEXT = f"""# Written by imagemode.nodes.unit_hold: the unit is held back until the image of this node is proven.
# Run the playbook that put this here again. It removes the file and starts the unit.
[Unit]
ConditionPathExists={MARK}
"""

_NAME = re.compile(
    r"[A-Za-z0-9:_.\\@-]{1,200}\.(?:service|socket|target|timer|path|mount|automount|swap|slice|scope|device)\Z"
)
_STARTABLE = ("service", "socket", "target", "timer", "path")
_RUNNING = frozenset({"active", "activating", "reloading", "refreshing"})


@dataclass(frozen=True)
class HeldUnit:
    """One unit as systemd shows it: LoadState, ActiveState, ConditionResult, and whether our drop-in is there."""

    name: str
    load_state: str
    active_state: str
    condition: str
    held: bool

    @property
    def exists(self) -> bool:
        return self.load_state == "loaded"

    @property
    def running(self) -> bool:
        """Whether it runs or is about to; one that fails and is started again and again counts."""
        return self.active_state in _RUNNING

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "load_state": self.load_state, "active_state": self.active_state, "held": self.held}


@dataclass(frozen=True)
class UnitsView:
    """What a node says of the units that were asked about, and of every other one that is held."""

    units: tuple[HeldUnit, ...]

    @property
    def held(self) -> tuple[str, ...]:
        return tuple(unit.name for unit in self.units if unit.held)

    @property
    def to_start(self) -> tuple[str, ...]:
        """What a release has to start: what was held, and what could not be started by an earlier release.

        A unit that merely does not run was stopped by somebody, and stays so.
        """
        return tuple(
            unit.name
            for unit in self.units
            if unit.exists and not unit.running and (unit.held or unit.active_state == "failed")
        )

    def of(self, names: Sequence[str]) -> tuple[HeldUnit, ...]:
        return tuple(unit for unit in self.units if unit.name in names)

    def with_hold(self, names: Sequence[str]) -> UnitsView:
        """The view once these units, and no others, are held."""
        return replace(self, units=tuple(replace(unit, held=unit.name in names) for unit in self.units))

    def released(self, started: Sequence[str]) -> UnitsView:
        """The view once nothing is held and these units were started, as far as that can be foretold."""
        units = self.with_hold(()).units
        return replace(
            self, units=tuple(replace(unit, active_state="active") if unit.name in started else unit for unit in units)
        )

    def text(self) -> str:
        """For a diff: one held unit a line."""
        return "".join(f"held: {name}\n" for name in sorted(self.held))


def check_units(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once. Raises Refusal for what is no name of a unit that could be held and started."""
    for name in names:
        if not _NAME.match(name) or name.rpartition(".")[2] not in _STARTABLE:
            raise Refusal(
                f"units: {name!r} is no unit that can be held. Write its whole name, such as kubelet.service; "
                f"it may be a {', '.join(_STARTABLE[:-1])} or {_STARTABLE[-1]}."
            )
    return tuple(dict.fromkeys(names))


def drop_in_path(directory: str, unit: str) -> str:
    """Where the drop-in of a unit is."""
    return f"{directory}/{unit}.d/{DROP_IN}"


def parse_units(text: str) -> UnitsView:
    """From the answer of the node: `held NAME`, `unit NAME` with systemd's properties below, `complete`.

    Raises StatusNotUnderstood.
    """
    lines = text.splitlines()
    if not lines or lines[-1] != "complete":
        raise StatusNotUnderstood("The node's answer about its units is not complete.")
    held: set[str] = set()
    found: dict[str, dict[str, str]] = {}
    properties: dict[str, str] = {}
    for line in lines[:-1]:
        word, _space, name = line.partition(" ")
        if word == "held":
            held.add(name)
        elif word == "unit":
            properties = found.setdefault(name, {})
        elif "=" in line:
            key, _equals, value = line.partition("=")
            properties[key] = value
    return UnitsView(tuple(_unit(name, values, name in held) for name, values in found.items()))


def _unit(name: str, values: dict[str, str], held: bool) -> HeldUnit:
    if "LoadState" not in values or "ActiveState" not in values:
        raise StatusNotUnderstood(f"systemd told neither LoadState nor ActiveState of {name}.")
    return HeldUnit(name, values["LoadState"], values["ActiveState"], values.get("ConditionResult", ""), held)
