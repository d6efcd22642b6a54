# SPDX-License-Identifier: GPL-3.0-or-later
"""What `systemctl` says of the manager itself: its state, the units that have failed, and the jobs that are open."""

from __future__ import annotations

from lab.simulators import power
from lab.simulators.host import Host, read_json
from lab.simulators.transient_unit import TransientUnit
from lab.simulators.units import Units

PROPERTIES = ("NFailedUnits", "NJobs", "SystemState")  # in the order of systemd 252's answer


def show(host: Host, asked: set[str], *, bare: bool) -> None:
    """`systemctl show` without a unit; only what a test may need is known."""
    answers = {
        "NFailedUnits": str(len(failed_units(host))),
        "NJobs": str(len(jobs(host))),
        "SystemState": state(host),
    }
    for name in PROPERTIES:
        if not asked or name in asked:
            print(answers[name] if bare else f"{name}={answers[name]}")


def state(host: Host) -> str:
    """As `is-system-running` says it."""
    if power.read(host)["state"] != "up":
        return "stopping"
    if jobs(host):
        return "starting"
    return "degraded" if failed_units(host) else "running"


def jobs(host: Host) -> list[str]:
    """The units that a boot still waits for."""
    unfinished = host.fault("boot-unfinished")
    return [] if unfinished is None else list(unfinished["units"])


def failed_units(host: Host) -> list[str]:
    units = Units(host)
    record: dict[str, str] = read_json(units.path) or {}
    broken = host.fault("units-in-trouble")
    known = {*record, *(broken["units"] if broken else ()), *TransientUnit.names(host)}
    return sorted(unit for unit in known if units.state(unit) == "failed")


def list_failed(host: Host) -> None:
    """`systemctl list-units --state=failed --plain --no-legend`."""
    for unit in failed_units(host):
        print(f"{unit} loaded failed failed {unit}")


def list_jobs(host: Host) -> None:
    """`systemctl list-jobs --plain --no-legend`."""
    for number, unit in enumerate(jobs(host), start=101):
        print(f"{number} {unit} start {'running' if number == 101 else 'waiting'}")
