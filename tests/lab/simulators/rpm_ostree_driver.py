# SPDX-License-Identifier: GPL-3.0-or-later
"""Update drivers such as Zincati: who registered to decide about updates, and whom that stops (recorded, rpm-ostree 2026.2)."""

from __future__ import annotations

import os
import re

from lab.simulators.rpm_ostree_transaction import RpmOstreeError

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from lab.simulators.host import Host
    from lab.simulators.rpm_ostree_arguments import Arguments

STATE = ("run", "rpm-ostree", "update-driver.gv")
LOGIN = "sshd.service"  # where commands of a session run; the processes of other units say so in their environment


class Driver:
    """A registered driver: its name, and the systemd unit that registered it."""

    def __init__(self, name: str, unit: str) -> None:
        self.name = name
        self.unit = unit


def registered(host: Host) -> Driver | None:
    """The registered driver. Registrations end with the boot, but a driver that is installed registers at each."""
    try:
        with open(host.path(*STATE), "rb") as handle:
            content = handle.read()
    except FileNotFoundError:
        installed = host.fault("update-driver")
        return Driver(installed["driver"], installed["unit"]) if installed else None
    return Driver(_value(content, b"driver-name"), _value(content, b"driver-sd-unit"))


def _value(content: bytes, key: bytes) -> str:
    found = re.search(key + rb"\0+([^\0]+)\0\0s", content)
    return found[1].decode() if found else ""


def caller_unit() -> str:
    """The systemd unit of whoever runs this command."""
    return os.environ.get("LAB_UNIT") or LOGIN


def register(host: Host, name: str) -> None:
    """Record the caller's unit as the driver, as a GVariant of type a{sv}."""
    from lab.simulators.staged_record import strings

    path = host.path(*STATE)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as handle:
        handle.write(strings({"driver-sd-unit": caller_unit(), "driver-name": name}))


def state(host: Host, driver: Driver) -> str:
    """Whether the driver's unit runs: ``active``, ``inactive``, …"""
    from lab.simulators.units import Units

    units = Units(host)
    installed = host.fault("update-driver")
    if installed and installed["unit"] == driver.unit and driver.unit not in units.changed:
        return "active" if installed["active"] else "inactive"
    return units.state(driver.unit)


def refuse(host: Host, given: Arguments) -> None:
    """Raises RpmOstreeError when a driver is registered whose unit is active and is not the caller's own."""
    driver = registered(host)
    if driver is None or "--bypass-driver" in given.flags or caller_unit() == driver.unit:
        return
    if state(host, driver) == "active":
        raise RpmOstreeError(
            f"Updates and deployments are driven by {driver.name} ({driver.unit})\n"
            f"See {driver.name}'s documentation{_manuals(host, driver.unit)}\n"
            f"Use --bypass-driver to bypass {driver.name} and perform the operation anyways"
        )


def _manuals(host: Host, unit: str) -> str:
    for place in ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system"):
        text = (host.read(f"{place}/{unit}") or b"").decode("utf-8", "replace")
        found = re.search(r"^Documentation=(.+)$", text, re.MULTILINE)
        if found:
            return " at " + ", ".join(found[1].split())
    return ""
