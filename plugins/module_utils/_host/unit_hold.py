# SPDX-License-Identifier: GPL-3.0-or-later
"""Holding units of a node back, and letting them go: one round trip where nothing is to be done, two where something is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.held_units import (
    DROP_IN,
    DROP_IN_TEXT,
    MARK,
    UNIT_DIRECTORY,
    UnitsView,
    check_units,
    drop_in_path,
    parse_units,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_file import WantedFile
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._host.failure import HostFailure
from ansible_collections.imagemode.nodes.plugins.module_utils._host.host_files import HostFiles
from ansible_collections.imagemode.nodes.plugins.module_utils._host.observe import ObservationFailed
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Outcome, Runner, Step

_STEP_SECONDS = 60

_LOOK = r"""
directory=$1 drop_in=$2; shift 2
for file in "$directory"/*.d/"$drop_in"; do
  [ -e "$file" ] || continue
  unit=${file%/*}; unit=${unit##*/}; unit=${unit%.d}
  echo "held $unit"
  set -- "$@" "$unit"
done
for unit; do
  echo "unit $unit"
  systemctl show --property=LoadState,ActiveState,ConditionResult -- "$unit" || exit
done
echo complete
"""
# The mark lets the units start although their drop-ins are still there, and those stay until the start is over:
# whoever dies in between leaves a node on which the next run sees what is left to do.
_MARK = r"""
if [ -n "$2" ] && [ "$(cat /proc/sys/kernel/random/boot_id)" != "$2" ]; then exit 65; fi
mkdir -p "${1%/*}" && : >"$1"
"""
_OTHER_BOOT = 65
_REMOVE = r"""
for file; do rm -f -- "$file" || exit; rmdir -- "${file%/*}" 2>/dev/null || :; done
systemctl daemon-reload
"""

_NOTHING = Step(("true",), timeout=10)


class HoldState(str, Enum):
    """Whether units are held back."""

    HELD = "held"
    RELEASED = "released"


class ActivePolicy(str, Enum):
    """What to do about a unit that runs when it is to be held."""

    FAIL = "fail"
    ALLOW = "allow"


UNIT_HOLD_SPEC: dict[str, Any] = {
    "units": {"type": "list", "elements": "str", "required": True},
    "state": {"type": "str", "choices": [one.value for one in HoldState], "default": HoldState.HELD.value},
    "active": {"type": "str", "choices": [one.value for one in ActivePolicy], "default": ActivePolicy.FAIL.value},
    "boot_id": {"type": "str"},
    "start_timeout": {"type": "int", "default": 300},
}


@dataclass(frozen=True)
class UnitHold:
    """One run of unit_hold on one node. `boot_id`: release in this boot only. `start_timeout` in seconds."""

    runner: Runner
    units: tuple[str, ...]
    state: HoldState
    active: ActivePolicy = ActivePolicy.FAIL
    boot_id: str | None = None
    start_timeout: int = 300
    directory: str = UNIT_DIRECTORY
    notify: Callable[[str], None] = lambda _sentence: None

    def run(self, *, check_mode: bool) -> dict[str, Any]:
        """The module's result. Raises Refusal, HostFailure, ObservationFailed, NodeUnreachable."""
        if self.state is HoldState.HELD:
            return self._hold(check_mode=check_mode)
        return self._release(check_mode=check_mode)

    # hold

    def _hold(self, *, check_mode: bool) -> dict[str, Any]:
        wanted = [WantedFile(drop_in_path(self.directory, unit), DROP_IN_TEXT.encode()) for unit in self.units]
        files = HostFiles(self.runner, wanted, timeout=_STEP_SECONDS)
        plan, (looked,) = files.look(also=[self._look_step()])
        before = _parse(looked)
        running = [unit.name for unit in before.of(self.units) if unit.running]
        if running and self.active is ActivePolicy.FAIL:
            raise Refusal(_in_service(running))
        commands = [["systemctl", "daemon-reload"]] if plan.changed else []
        after = before.with_hold([*before.held, *self.units])
        if plan.changed and not check_mode:
            written = files.write(
                plan,
                then=[
                    Step(("rm", "-f", MARK), timeout=_STEP_SECONDS),
                    Step(("systemctl", "daemon-reload"), timeout=_STEP_SECONDS),
                ],
            )
            failed = next((outcome for outcome in written.then if not outcome.ok), None)
            if failed is not None:
                raise HostFailure(
                    f"The drop-ins are written, but `{' '.join(failed.argv)}` failed: {_words(failed)}.",
                    self._result(before, after, plan.changed, commands),
                )
        msg = f"{_names(self.units)} held back" if self.units else "nothing to hold back"
        return {**self._result(before, after, plan.changed, commands), "msg": msg}

    # release

    def _release(self, *, check_mode: bool) -> dict[str, Any]:
        before = _parse(self.runner.run_one(self._look_step()))
        start, held = before.to_start, before.held
        after = before.released(start)
        commands = self._release_commands(start, held)
        if not (held or start):
            return {**self._result(before, after, False, []), "msg": _released_already(before)}
        if not check_mode:
            after = self._let_go(before, commands)
        warnings = [*_missing(before, held), *_not_running(after, start if not check_mode else ())]
        msg = f"released {_names(held)}" if held else f"started {_names(start)} again"
        return {**self._result(before, after, True, commands), "msg": msg, "warnings": warnings}

    def _release_commands(self, start: Sequence[str], held: Sequence[str]) -> list[list[str]]:
        commands = [["systemctl", "start", "--", *start]] if start else []
        return [*commands, ["systemctl", "daemon-reload"]] if held else commands

    def _let_go(self, before: UnitsView, commands: list[list[str]]) -> UnitsView:
        start, held = before.to_start, before.held
        if start:
            self.notify(f"starts {_names(start)}")
        files = [drop_in_path(self.directory, unit) for unit in held]
        steps = [Step(("sh", "-c", _MARK, "sh", MARK, self.boot_id or ""), timeout=10, gate=True)]
        starting = Step(("systemctl", "start", "--", *start), timeout=self.start_timeout) if start else _NOTHING
        removing = Step(("sh", "-c", _REMOVE, "sh", *files), timeout=_STEP_SECONDS) if held else _NOTHING
        steps += [starting, removing, Step(("rm", "-f", MARK), timeout=10), self._look_step()]
        marked, started, removed, _unmarked, looked = self.runner.run(steps)
        if not marked.ok:
            raise HostFailure(self._why_not(marked), self._result(before, before, False, []))
        after = _parse(looked)
        result = self._result(before, after, True, commands)
        if not removed.ok or after.held:
            left = _names(after.held or held)
            raise HostFailure(
                f"{left} could not be released, and will not start at the next boot: {_words(removed)}.", result
            )
        failed = [unit.name for unit in after.of(start) if unit.active_state == "failed"]
        if not started.ok or failed:
            raise HostFailure(_not_started(failed or start, started, self.start_timeout), result)
        return after

    def _why_not(self, outcome: Outcome) -> str:
        if outcome.rc == _OTHER_BOOT:
            return "The node has rebooted since it was proven, so nothing was released. Run the same command again."
        return f"{MARK} could not be written, so nothing was released: {_words(outcome)}."

    # both

    def _look_step(self) -> Step:
        return Step(("sh", "-c", _LOOK, "sh", self.directory, DROP_IN, *self.units), timeout=_STEP_SECONDS, always=True)

    def _result(self, before: UnitsView, after: UnitsView, changed: bool, commands: list[list[str]]) -> dict[str, Any]:
        return {
            "changed": changed,
            "units": [unit.as_dict() for unit in after.units],
            "was_running": [unit.name for unit in before.of(self.units) if unit.running],
            "commands": commands,
            "diff": {
                "before_header": "held units",
                "after_header": "held units",
                "before": before.text(),
                "after": after.text(),
            },
            "warnings": [],
        }


def unit_hold(
    runner: Runner, params: Mapping[str, Any], notify: Callable[[str], None] = lambda _sentence: None
) -> UnitHold:
    """From the options of the module. Raises Refusal."""
    return UnitHold(
        runner=runner,
        units=check_units(params["units"]),
        state=HoldState(params["state"]),
        active=ActivePolicy(params["active"]),
        boot_id=params["boot_id"] or None,
        start_timeout=params["start_timeout"],
        notify=notify,
    )


def _parse(outcome: Outcome) -> UnitsView:
    if not outcome.ok:
        raise ObservationFailed(f"systemd on this node did not tell the state of its units: {_words(outcome)}.")
    return parse_units(outcome.stdout)


def _in_service(running: Sequence[str]) -> str:
    return (
        f"{_names(running)} {'runs' if len(running) == 1 else 'run'} on this node, so it is in service, and a reboot without a drain "
        "would take it out. Nothing was changed. Use the playbook imagemode.nodes.rollout, which knows a window. If nothing on the node "
        "would be missed, say so: imagemode_pivot_in_service: true for the playbook imagemode.nodes.pivot, active: allow for this module."
    )


def _released_already(view: UnitsView) -> str:
    idle = [unit.name for unit in view.units if unit.exists and not unit.running]
    if idle:
        return f"nothing is held; {_names(idle)} does not run, which somebody has decided, and was left alone"
    return "nothing is held"


def _missing(view: UnitsView, held: Sequence[str]) -> list[str]:
    return [
        f"{unit.name} was held, but is {'masked' if unit.load_state == 'masked' else 'not in the image'} on this node. "
        "Leave it out of the list of held units if that is how it should be."
        for unit in view.of(held)
        if not unit.exists
    ]


def _not_running(view: UnitsView, started: Sequence[str]) -> list[str]:
    return [
        f"{unit.name} was started and does not run: "
        + ("a condition of its own is not met." if unit.condition == "no" else "it has ended again.")
        for unit in view.of(started)
        if not unit.running
    ]


def _not_started(names: Sequence[str], outcome: Outcome, seconds: int) -> str:
    why = f"not within {seconds} s (start_timeout)" if outcome.timed_out else _words(outcome, "it ended again at once")
    return (
        f"{_names(names)} is not held any more, but did not start: {why}. Look with `journalctl -b -u {names[0]}` on the node. "
        "The same command again tries it once more; the next boot starts it in any case."
    )


def _names(names: Sequence[str]) -> str:
    return ", ".join(names)


def _words(outcome: Outcome, silent: str = "") -> str:
    if outcome.timed_out:
        return "it did not answer in time"
    said = [line for line in outcome.stderr.strip().splitlines() if line.strip()]
    return said[0] if said else silent or f"exit code {outcome.rc}"
