# SPDX-License-Identifier: GPL-3.0-or-later
"""A few units of a node's systemd: whether they run, and starting and stopping them. They have no processes."""

from __future__ import annotations

import os
import sys

from lab.simulators.host import Host, read_json, write_json

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from collections.abc import Collection

RUNNING_AT_BOOT = ("sshd.service", "systemd-journald.service", "dbus-broker.service", "multi-user.target")
INACTIVE, UNKNOWN = 3, 4


class Units:
    """Units are files of the image or of /etc. What was started or stopped since the boot is in ``transient/``."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.path = host.path("transient", "units.json")
        self.changed: dict[str, str] = read_json(self.path) or {}

    def run(self, verb: str, names: list[str], options: Collection[str]) -> int:
        units = [name if "." in name else f"{name}.service" for name in names]
        if verb == "daemon-reload":
            return 0
        if verb == "is-active":
            return self._is_active(units, quiet=bool({"-q", "--quiet"} & set(options)))
        if verb in ("start", "restart", "stop", "reload"):
            return self._change(verb, units)
        sys.stderr.write(f"Unknown command verb '{verb}' (in the lab's systemctl).\n")
        return 1

    def state(self, unit: str) -> str:
        default = "active" if unit in RUNNING_AT_BOOT else "inactive"
        return self.changed.get(unit, default)

    def exists(self, unit: str) -> bool:
        places = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system")
        if unit in RUNNING_AT_BOOT or unit == "rpm-ostreed.service":
            return True
        return any(self.host.resolve(os.path.join(place, unit)) is not None for place in places)

    def _is_active(self, units: list[str], *, quiet: bool) -> int:
        states = [self.state(unit) for unit in units]
        if not quiet:
            print("\n".join(states))
        if any(state == "active" for state in states):
            return 0
        return INACTIVE if any(self.exists(unit) for unit in units) else UNKNOWN

    def _change(self, verb: str, units: list[str]) -> int:
        failed = 0
        for unit in units:
            if not self.exists(unit):
                word = {"restart": "restart", "reload": "reload"}.get(verb, verb)
                sys.stderr.write(f"Failed to {word} {unit}: Unit {unit} not found.\n")
                failed = 5
                continue
            if unit == "rpm-ostreed.service" and verb in ("stop", "restart"):
                from lab.simulators.rpm_ostree_transaction import cancel

                cancel(self.host)
            self.changed[unit] = "inactive" if verb == "stop" else "active"
        write_json(self.path, self.changed)
        return failed
