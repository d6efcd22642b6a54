# SPDX-License-Identifier: GPL-3.0-or-later
"""What decides how a node can reboot, beyond its deployments: soft reboots, a prepared root, inhibitor locks."""

from __future__ import annotations

import re
from dataclasses import dataclass

# One row of `systemd-inhibit --list --no-legend`: WHO UID USER PID COMM WHAT WHY MODE. WHO and WHY are free text.
_ROW = re.compile(
    r"^(?P<who>.+?)\s+\d+\s+\S+\s+(?P<pid>\d+)\s+.+?\s+"
    r"(?P<what>(?:shutdown|sleep|idle|handle-[a-z-]+)(?::(?:shutdown|sleep|idle|handle-[a-z-]+))*)\s+"
    r"(?P<why>.*?)\s*\b(?P<mode>block-weak|block|delay)$"
)

_LINE = re.compile(r"^(?P<key>[a-z_]+)=(?P<value>.*)$")


@dataclass(frozen=True)
class Inhibitor:
    """A program that asked systemd not to shut the node down while it works. `pid` is None where it was not understood."""

    who: str
    why: str
    pid: int | None

    def describe(self) -> str:
        """A sentence part: who, process id, and the reason given."""
        process = f" (process {self.pid})" if self.pid is not None else ""
        return f"{self.who}{process}" + (f": {self.why}" if self.why else "")

    def as_dict(self) -> dict[str, str | int | None]:
        """The public shape, as documented for `node_reboot`."""
        return {"who": self.who, "why": self.why, "pid": self.pid}


@dataclass(frozen=True)
class BootFacts:
    """`soft_reboots`: how many of them this boot has seen; None where systemd does not say (recorded, systemd 262).

    `prepared`: a root for a soft reboot stands in /run/nextroot, so that a plain `systemctl reboot` would be a soft one
    (recorded, systemd 262 with bootc 1.16.9). `composefs`: the running root is one, without which ostree prepares none.
    """

    soft_reboots: int | None = None
    prepared: bool = False
    composefs: bool = False
    inhibitors: tuple[Inhibitor, ...] = ()


NO_FACTS = BootFacts()


def parse_boot_facts(text: str) -> BootFacts:
    """From lines of `key=value`; what is missing or garbled counts as unknown, as nothing is proven from it."""
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        found = _LINE.match(line.strip())
        if found:
            values.setdefault(found["key"], []).append(found["value"].strip())
    count = values.get("soft_reboots", [""])[0]
    return BootFacts(
        soft_reboots=int(count) if re.fullmatch(r"[0-9]{1,9}", count) else None,
        prepared=values.get("prepared") == ["yes"],
        composefs=values.get("composefs") == ["yes"],
        inhibitors=tuple(filter(None, map(_inhibitor, values.get("inhibitor", [])))),
    )


def _inhibitor(row: str) -> Inhibitor | None:
    """Only what blocks a shutdown for everybody: `delay` ends by itself, and `block-weak` does not bind root."""
    found = _ROW.match(row)
    if found is None:
        # A row in a form that is not known is passed on as it is, rather than overlooked.
        return Inhibitor(row, "", None) if "shutdown" in row and row.endswith("block") else None
    if found["mode"] != "block" or "shutdown" not in found["what"].split(":"):
        return None
    return Inhibitor(found["who"], found["why"], int(found["pid"]))
