# SPDX-License-Identifier: GPL-3.0-or-later
"""The units of a node's systemd: transient services, which have processes, and a few others, which merely run or do not."""

from __future__ import annotations

import os
import sys

from lab.simulators.host import Host, read_json, write_json
from lab.simulators.transient_unit import TransientUnit, signal_of
from lab.simulators.unit_files import UnitFiles

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

RUNNING_AT_BOOT = ("sshd.service", "systemd-journald.service", "dbus-broker.service", "multi-user.target")
# The timers that update a host by themselves, and the tool that brings each.
UPDATE_TIMERS = {"bootc-fetch-apply-updates.timer": "bootc", "rpm-ostreed-automatic.timer": "rpm-ostree"}
WANTS = "/etc/systemd/system/timers.target.wants"
INACTIVE, UNKNOWN, NOT_LOADED = 3, 4, 5
# The order in which `systemctl show` answers, whatever the order of the question (recorded, systemd 262).
SHOWN = (
    *("Id", "Description", "LoadState", "ActiveState", "SubState", "UnitFileState", "ConditionResult", "InvocationID"),
    *("RemainAfterExit", "MainPID", "Result", "ExecMainExitTimestamp", "ExecMainPID", "ExecMainCode"),
    *("ExecMainStatus", "Environment", "KillSignal"),
)
DEFAULTS = {
    "InvocationID": "",
    "RemainAfterExit": "no",
    "MainPID": "0",
    "Result": "success",
    "ExecMainExitTimestamp": "",
    "ExecMainPID": "0",
    "ExecMainCode": "0",
    "ExecMainStatus": "0",
    "Environment": "",
    "KillSignal": "15",
}


class Units:
    """Units are files of the image or of /etc. What was started or stopped since the boot is in ``transient/``."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.path = host.path("transient", "units.json")
        self.changed: dict[str, str] = read_json(self.path) or {}
        self.files = UnitFiles(host)

    def boot(self) -> None:
        """Start what the targets of the boot want, as far as conditions let it; in a soft reboot all else ends."""
        self.files.reload()
        self.changed = {}
        for unit in self.files.wanted():
            if self.files.fragment(unit) and not self.files.masked(unit) and self.files.conditions_met(unit):
                self.changed[unit] = self._started(unit)
        if self.changed or os.path.exists(self.path):
            write_json(self.path, self.changed)

    def run(self, verb: str, names: list[str], options: Collection[str], values: Mapping[str, list[str]]) -> int:
        units = [name if "." in name else f"{name}.service" for name in names]
        quiet = bool({"-q", "--quiet"} & set(options))
        if verb == "daemon-reload":
            self.files.reload()
            return 0
        if verb == "is-active":
            return self._is_active(units, quiet=quiet)
        if verb == "show":
            return self._show(units, values.get("--property", []), bare="--value" in options)
        if verb in ("enable", "disable", "is-enabled"):
            return self._enablement(verb, units, now="--now" in options, quiet=quiet)
        if verb in ("start", "restart", "stop", "reload"):
            return self._change(verb, units)
        if verb == "reset-failed":
            return self._reset_failed(units)
        if verb == "kill":
            return self._kill(units, values)
        sys.stderr.write(f"Unknown command verb '{verb}' (in the lab's systemctl).\n")
        return 1

    def state(self, unit: str) -> str:
        transient = TransientUnit.load(self.host, unit)
        if transient is not None:
            return transient.active
        broken = self.host.fault("units-in-trouble")
        if broken is not None and unit in broken["units"]:
            return str(broken["state"])
        at_boot = unit in RUNNING_AT_BOOT or (unit in UPDATE_TIMERS and self.exists(unit) and self.enabled(unit))
        return self.changed.get(unit, "active" if at_boot else "inactive")

    def enabled(self, unit: str) -> bool:
        """Whether a timer starts with the host."""
        wants = os.path.join(self.host.etc(self.host.booted), *WANTS.split("/")[2:])
        return os.path.lexists(os.path.join(wants, unit))

    def exists(self, unit: str) -> bool:
        if unit in RUNNING_AT_BOOT or unit == "rpm-ostreed.service":
            return True
        if unit in UPDATE_TIMERS:
            return bool(self.host.version(UPDATE_TIMERS[unit]))
        return self.files.fragment(unit) is not None

    def loaded(self, unit: str) -> bool:
        return self.exists(unit) or TransientUnit.load(self.host, unit) is not None

    def _is_active(self, units: list[str], *, quiet: bool) -> int:
        states = [self.state(unit) for unit in units]
        if not quiet:
            print("\n".join(states))
        if any(state == "active" for state in states):
            return 0
        return INACTIVE if any(self.loaded(unit) for unit in units) else UNKNOWN

    # show

    def _show(self, units: list[str], asked: list[str], *, bare: bool) -> int:
        wanted = {name for group in asked for name in group.split(",")} or set(SHOWN)
        blocks = []
        for unit in units:
            properties = self._properties(unit)
            names = [name for name in SHOWN if name in wanted and name in properties]
            blocks.append("".join(f"{'' if bare else f'{name}='}{properties[name]}\n" for name in names))
        sys.stdout.write("\n".join(blocks))
        return 0

    def _properties(self, unit: str) -> dict[str, str]:
        transient = TransientUnit.load(self.host, unit)
        state = self.state(unit)
        timer = unit.endswith(".timer")
        properties = {
            **(DEFAULTS if not timer else {"Result": "success"}),
            **({"Result": "exit-code"} if state == "failed" else {}),
            "Id": unit,
            "Description": unit,
            "LoadState": "masked" if self.files.masked(unit) else "loaded" if self.loaded(unit) else "not-found",
            "ActiveState": state,
            "SubState": {
                "active": "waiting" if timer else "running",
                "failed": "failed",
                "activating": "auto-restart",
            }.get(state, "dead"),
            "UnitFileState": "transient" if transient else self._unit_file_state(unit),
            "ConditionResult": "yes" if state != "inactive" else "no",
        }
        return {**properties, **(transient.properties() if transient else {})}

    def _unit_file_state(self, unit: str) -> str:
        if unit not in UPDATE_TIMERS:
            if not self.files.values(unit, "Install", "WantedBy"):
                return "static" if self.exists(unit) else ""
            return "enabled" if unit in self.files.wanted() else "disabled"
        return ("enabled" if self.enabled(unit) else "disabled") if self.exists(unit) else ""

    # changes

    def _enablement(self, verb: str, units: list[str], *, now: bool, quiet: bool) -> int:
        wants = os.path.join(self.host.etc(self.host.booted), *WANTS.split("/")[2:])
        for unit in units:
            if not self.exists(unit):
                sys.stderr.write(f"Failed to {verb} unit: Unit {unit} does not exist\n")
                return 1
            link = os.path.join(wants, unit)
            if verb == "is-enabled":
                if not quiet:
                    print(self._unit_file_state(unit))
                if not self.enabled(unit):
                    return 1
            elif verb == "enable" and not self.enabled(unit):
                os.makedirs(wants, exist_ok=True)
                os.symlink(f"/usr/lib/systemd/system/{unit}", link)
                sys.stderr.write(f"Created symlink '{WANTS}/{unit}' → '/usr/lib/systemd/system/{unit}'.\n")
            elif verb == "disable" and self.enabled(unit):
                os.unlink(link)
                sys.stderr.write(f"Removed '{WANTS}/{unit}'.\n")
        return self._change("start" if verb == "enable" else "stop", units) if now and verb != "is-enabled" else 0

    def _change(self, verb: str, units: list[str]) -> int:
        failed = 0
        for unit in units:
            transient = TransientUnit.load(self.host, unit)
            if transient is not None:
                if verb == "stop":
                    transient.stop()
                continue
            if verb != "stop" and self.files.masked(unit):
                sys.stderr.write(f"Failed to {verb} {unit}: Unit {unit} is masked.\n")
                failed = 1
                continue
            if not self.exists(unit):
                missing = "not loaded" if verb == "stop" else "not found"
                sys.stderr.write(f"Failed to {verb} {unit}: Unit {unit} {missing}.\n")
                failed = NOT_LOADED
                continue
            if unit == "rpm-ostreed.service" and verb in ("stop", "restart"):
                from lab.simulators.rpm_ostree_transaction import cancel

                cancel(self.host)
            if verb == "start" and self.state(unit) == "active":
                continue
            if verb == "stop" or not self.files.conditions_met(unit):
                self.changed[unit] = "inactive"  # a start that a condition forbids is no failure
                continue
            self.changed[unit] = self._started(unit)
            failed = self._say_failed(unit) or failed
        write_json(self.path, self.changed)
        return failed

    def _started(self, unit: str) -> str:
        """What becomes of a unit that is started: its program is not run, only looked for."""
        programs = [value.split()[0].lstrip("-@:+!") for value in self.files.values(unit, "Service", "ExecStart")]
        state = "active" if all(self.host.resolve(program) for program in programs) else "failed"
        if unit == "greenboot-healthcheck.service":
            from lab.simulators import greenboot

            state = greenboot.judge(self.host)
        self.host.journal.append("unit", unit=unit, state=state)
        return state

    def _say_failed(self, unit: str) -> int:
        """systemctl's words and exit status, for the types whose start waits for the program (observed, systemd 252)."""
        waits = self.files.values(unit, "Service", "Type")[-1:] in (["notify"], ["exec"], ["oneshot"], ["forking"])
        if self.changed[unit] != "failed" or not waits:
            return 0
        sys.stderr.write(
            f"Job for {unit} failed because the control process exited with error code.\n"
            f'See "systemctl status {unit}" and "journalctl -xeu {unit}" for details.\n'
        )
        return 1

    def _reset_failed(self, units: list[str]) -> int:
        for unit in units:
            transient = TransientUnit.load(self.host, unit)
            if transient is None:
                if not self.exists(unit):
                    sys.stderr.write(f"Failed to reset failed state of unit {unit}: Unit {unit} not loaded.\n")
                    return 1
            elif transient.active == "failed":
                transient.unload()
        return 0

    def _kill(self, units: list[str], values: Mapping[str, list[str]]) -> int:
        number = signal_of((values.get("--signal") or ["SIGTERM"])[-1])
        whom = [*values.get("--kill-whom", []), *values.get("--kill-who", []), "all"][0]
        for unit in units:
            transient = TransientUnit.load(self.host, unit)
            if transient is None:
                sys.stderr.write(f"Failed to kill unit {unit}: Unit {unit} not loaded.\n")
                return 1
            if whom == "main":
                os.kill(transient.record["main_pid"], number)
            else:
                transient.signal(number, everybody=True)
        return 0
