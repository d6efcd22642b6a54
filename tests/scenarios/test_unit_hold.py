# SPDX-License-Identifier: GPL-3.0-or-later
"""unit_hold under a real systemd: a drop-in holds a unit, and letting go of it leaves nothing behind."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._host.failure import HostFailure
from ansible_collections.imagemode.nodes.plugins.module_utils._host.unit_hold import ActivePolicy, HoldState, UnitHold
from lab import systemd_manager
from lab.systemd_manager import Manager
from systemd_runner import ManagerRunner

pytestmark = pytest.mark.skipif(systemd_manager.missing() is not None, reason=str(systemd_manager.missing()))

UNIT = "[Unit]\nDefaultDependencies=no\n[Service]\n{service}\n"
NUMBERS = itertools.count(1)


class Systemd:
    """A systemd, the directory of its units, and unit_hold on both."""

    def __init__(self, manager: Manager, directory: Path) -> None:
        self.runner = ManagerRunner(manager)
        self.directory = directory

    def unit(self, service: str = "ExecStart=/bin/sleep 600") -> str:
        """A new unit."""
        name = f"agent{next(NUMBERS)}.service"
        (self.directory / name).write_text(UNIT.format(service=service))
        self.ask("systemctl daemon-reload")
        return name

    def ask(self, script: str) -> str:
        return self.runner.manager.sh(script).strip()

    def active(self, unit: str) -> str:
        return self.ask(f"systemctl is-active {unit}")

    def run(self, state: HoldState, *units: str, check_mode: bool = False, **options: Any) -> dict[str, Any]:
        hold = UnitHold(self.runner, units, state, directory=str(self.directory), **options)
        return hold.run(check_mode=check_mode)

    def hold(self, *units: str, **options: Any) -> dict[str, Any]:
        return self.run(HoldState.HELD, *units, **options)

    def release(self, *units: str, **options: Any) -> dict[str, Any]:
        return self.run(HoldState.RELEASED, *units, **options)

    def has_drop_ins(self, unit: str) -> bool:
        return (self.directory / f"{unit}.d").exists()


@pytest.fixture(scope="module")
def systemd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Systemd]:
    directory = tmp_path_factory.mktemp("systemd")
    try:
        with systemd_manager.running(directory) as manager:
            yield Systemd(manager, directory / "units")
    except systemd_manager.NotComing as reason:
        pytest.skip(f"no systemd can run here: {reason}")


def test_held_and_released(systemd: Systemd) -> None:
    unit = systemd.unit()
    trips = systemd.runner.trips
    assert systemd.hold(unit)["changed"] is True
    assert systemd.runner.trips - trips == 2
    assert systemd.hold(unit)["changed"] is False
    assert systemd.runner.trips - trips == 3
    assert systemd.ask(f"systemctl start {unit}; echo $?") == "0"
    assert systemd.active(unit) == "inactive"

    result = systemd.release(unit)
    assert (result["changed"], result["warnings"]) == (True, [])
    assert result["units"] == [{"name": unit, "load_state": "loaded", "active_state": "active", "held": False}]
    assert (systemd.has_drop_ins(unit), systemd.ask("ls /run/imagemode")) == (False, "")
    assert systemd.release(unit)["changed"] is False
    assert systemd.ask(f"systemctl restart {unit}; systemctl is-active {unit}") == "active"
    assert systemd.ask(f"systemctl show -p NeedDaemonReload --value {unit}") == "no"


def test_check_mode_tells_what_a_real_run_returns(systemd: Systemd) -> None:
    unit = systemd.unit()
    predicted = systemd.hold(unit, check_mode=True)
    assert not systemd.has_drop_ins(unit)
    assert systemd.hold(unit) == predicted
    predicted = systemd.release(unit, check_mode=True)
    assert systemd.active(unit) == "inactive"
    assert systemd.release(unit) == predicted


def test_a_condition_of_the_image_cannot_undo_the_hold(systemd: Systemd) -> None:
    unit = systemd.unit()
    (systemd.directory / f"{unit}.d").mkdir()
    (systemd.directory / f"{unit}.d/50-image.conf").write_text(
        "[Unit]\nConditionPathExists=\nConditionPathExists=|/etc\n"
    )
    systemd.hold(unit)
    systemd.ask(f"systemctl start {unit}")
    assert systemd.active(unit) == "inactive"
    systemd.release(unit)
    assert systemd.active(unit) == "active"
    assert (systemd.directory / f"{unit}.d/50-image.conf").exists()


def test_a_unit_that_runs_is_refused_or_goes_on(systemd: Systemd) -> None:
    unit = systemd.unit()
    systemd.ask(f"systemctl start {unit}")
    with pytest.raises(Refusal, match=f"{unit} runs on this node, so it is in service"):
        systemd.hold(unit)
    assert not systemd.has_drop_ins(unit)
    assert systemd.hold(unit, active=ActivePolicy.ALLOW)["was_running"] == [unit]
    assert systemd.active(unit) == "active"
    result = systemd.release(unit)
    assert (result["changed"], result["commands"]) == (True, [["systemctl", "daemon-reload"]])


def test_what_is_not_there_yet_can_be_held(systemd: Systemd) -> None:
    systemd.hold("later.service")
    result = systemd.release("later.service")
    assert result["changed"] is True
    assert "not in the image" in result["warnings"][0]
    assert not systemd.has_drop_ins("later.service")


def test_a_unit_that_is_listed_no_more_is_released_all_the_same(systemd: Systemd) -> None:
    unit, other = systemd.unit(), systemd.unit()
    systemd.hold(unit, other)
    systemd.release(unit)
    assert (systemd.active(unit), systemd.active(other)) == ("active", "active")


def test_what_somebody_stopped_stays_stopped(systemd: Systemd) -> None:
    unit = systemd.unit()
    result = systemd.release(unit)
    assert result["changed"] is False
    assert "left alone" in result["msg"]
    assert systemd.active(unit) == "inactive"


def test_another_boot_than_the_proven_one(systemd: Systemd) -> None:
    unit = systemd.unit()
    systemd.hold(unit)
    with pytest.raises(HostFailure, match="has rebooted since it was proven"):
        systemd.release(unit, boot_id="00000000-0000-0000-0000-000000000000")
    assert systemd.active(unit) == "inactive"
    boot_id = systemd.ask("cat /proc/sys/kernel/random/boot_id")
    assert systemd.release(unit, boot_id=boot_id)["changed"] is True
    assert systemd.active(unit) == "active"


@pytest.mark.parametrize("service", ["Type=notify\nExecStart=/bin/false", "Type=exec\nExecStart=/usr/bin/nothing"])
def test_a_unit_that_fails_to_start_is_released_and_tried_again(systemd: Systemd, service: str) -> None:
    unit = systemd.unit(service)
    systemd.hold(unit)
    with pytest.raises(HostFailure, match=f"{unit} is not held any more, but did not start") as caught:
        systemd.release(unit)
    assert caught.value.result["changed"] is True
    with pytest.raises(HostFailure, match="journalctl -b -u"):
        systemd.release(unit)
    (systemd.directory / unit).write_text(UNIT.format(service="ExecStart=/bin/sleep 600"))
    systemd.ask("systemctl daemon-reload")
    assert systemd.release(unit)["msg"] == f"started {unit} again"
    assert systemd.active(unit) == "active"


def test_a_start_that_never_ends_has_a_deadline(systemd: Systemd) -> None:
    unit = systemd.unit("Type=notify\nExecStart=/bin/sleep 600")
    systemd.hold(unit)
    with pytest.raises(HostFailure, match=r"not within 2 s \(start_timeout\)"):
        systemd.release(unit, start_timeout=2)
    assert systemd.active(unit) == "activating"
    assert systemd.release(unit)["changed"] is False


def test_a_condition_of_its_own_is_told(systemd: Systemd) -> None:
    unit = systemd.unit()
    path = systemd.directory / unit
    path.write_text("[Unit]\nConditionPathExists=/nowhere\n" + UNIT.format(service="ExecStart=/bin/sleep 600"))
    systemd.ask("systemctl daemon-reload")
    systemd.hold(unit)
    assert systemd.release(unit)["warnings"] == [
        f"{unit} was started and does not run: a condition of its own is not met."
    ]
