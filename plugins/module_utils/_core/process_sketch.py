# SPDX-License-Identifier: GPL-3.0-or-later
"""A process in a few words, from what Linux tells about it in /proc."""

from __future__ import annotations

from dataclasses import dataclass

_START_TIME = 19  # field 22 of proc(5)'s stat, counted from behind the name's closing bracket
_TICKS_PER_SECOND = 100  # USER_HZ, the same on every architecture that Linux tells times for
_MINUTE, _HOUR = 60, 3600


@dataclass(frozen=True)
class ProcessSketch:
    """Name and number of a process; `age` in seconds, `unit` the systemd unit that it belongs to, where they are known."""

    pid: int
    name: str
    age: int | None = None
    unit: str | None = None

    def describe(self) -> str:
        """Such as "bootc (process 812, running for 3 min, in bootc-fetch-apply-updates.service)"."""
        facts = [f"process {self.pid}"]
        if self.age is not None:
            facts.append(f"running for {_duration(self.age)}")
        if self.unit:
            facts.append(f"in {self.unit}")
        return f"{self.name} ({', '.join(facts)})"


def sketch(pid: int, stat: str, uptime: str, cgroup: str) -> ProcessSketch | None:
    """From the texts of /proc/PID/stat, /proc/uptime and /proc/PID/cgroup; None if `stat` is none (the process has ended)."""
    _pid, opening, rest = stat.partition("(")
    name, closing, fields = rest.rpartition(")")
    if not opening or not closing or not name:
        return None
    return ProcessSketch(pid, name, _age(fields.split(), uptime.split()), unit_of(cgroup))


def unit_of(cgroup: str) -> str | None:
    """The innermost unit in a control group's path (`/system.slice/NAME.service`): a service, or a login's scope."""
    for line in cgroup.splitlines():
        for part in reversed(line.rpartition(":")[2].split("/")):
            if part.endswith((".service", ".scope")):
                return part
    return None


def _age(fields: list[str], uptime: list[str]) -> int | None:
    try:
        return max(0, int(float(uptime[0]) - int(fields[_START_TIME]) / _TICKS_PER_SECOND))
    except (IndexError, ValueError, OverflowError):
        return None


def _duration(seconds: int) -> str:
    if seconds < 2 * _MINUTE:
        return f"{seconds} s"
    if seconds < 2 * _HOUR:
        return f"{seconds // _MINUTE} min"
    return f"{seconds // _HOUR} h"
