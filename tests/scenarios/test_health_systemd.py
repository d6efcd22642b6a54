# SPDX-License-Identifier: GPL-3.0-or-later
"""The health gate's loop under a real systemd: what it says of units, and that a restart is a break."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.health_checks import parse_checks
from ansible_collections.imagemode.nodes.plugins.module_utils._host.failure import HostFailure
from ansible_collections.imagemode.nodes.plugins.module_utils._host.health import HealthGate
from ansible_collections.imagemode.nodes.plugins.module_utils._host.health_options import HealthWish
from lab import systemd_manager
from lab.systemd_manager import Manager
from systemd_runner import ManagerRunner

pytestmark = pytest.mark.skipif(systemd_manager.missing() is not None, reason=str(systemd_manager.missing()))

UNIT = "[Unit]\nDefaultDependencies=no\n[Service]\n{service}\n"
NUMBERS = itertools.count(1)


class Systemd:
    """A systemd, the directory of its units, and the gate in front of both."""

    def __init__(self, manager: Manager, directory: Path) -> None:
        self.manager = manager
        self.directory = directory

    def unit(self, service: str = "ExecStart=/bin/sleep 600", *, start: bool = True) -> str:
        """A new unit."""
        name = f"app{next(NUMBERS)}.service"
        (self.directory / name).write_text(UNIT.format(service=service))
        self.manager.sh(f"systemctl daemon-reload; {f'systemctl start {name}' if start else ':'}")
        return name

    def look(
        self, *checks: Any, deadline: float = 15.0, stable_for: float = 0.0
    ) -> tuple[bool, list[str], float | None]:
        """Whether all is well, what was told, and since when the last one is right."""
        gate = HealthGate(ManagerRunner(self.manager), HealthWish(parse_checks(list(checks)), deadline, stable_for))
        try:
            result = gate.run()
        except HostFailure as failure:
            result = failure.result
        return result["healthy"], [check["told"] for check in result["checks"]], result["checks"][-1]["seconds"]


@pytest.fixture(scope="module")
def systemd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Systemd]:
    directory = tmp_path_factory.mktemp("systemd")
    try:
        with systemd_manager.running(directory) as manager:
            yield Systemd(manager, directory / "units")
    except systemd_manager.NotComing as reason:
        pytest.skip(f"no systemd can run here: {reason}")


def test_units_as_they_are(systemd: Systemd) -> None:
    running, stopped = systemd.unit(), systemd.unit(start=False)
    done = systemd.unit("Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true")
    healthy, told, _since = systemd.look({"unit": running}, {"unit": done}, {"unit": stopped, "state": "inactive"})
    assert healthy
    assert told == [f"{running} is active (running)", f"{done} is active (exited)", f"{stopped} is inactive (dead)"]


def test_a_unit_that_crashes_and_one_that_does_not_exist(systemd: Systemd) -> None:
    crashing = systemd.unit("ExecStart=/bin/false\nRestart=always\nRestartSec=600")
    healthy, told, _since = systemd.look({"unit": crashing}, {"unit": "appp1"}, deadline=30)
    assert not healthy
    assert told[0].startswith(f"{crashing} is activating (auto-restart), wanted active")
    assert told[1].startswith("there is no appp1.service on this node")
    systemd.manager.sh(f"systemctl stop {crashing}")


def test_failed_units_are_named_and_some_may_fail(systemd: Systemd) -> None:
    healthy, told, _since = systemd.look({"failed_units": {}}, deadline=3)
    assert (healthy, told) == (True, ["no unit has failed"])
    failing = systemd.unit("ExecStart=/bin/false", start=False)
    systemd.manager.sh(f"systemctl start {failing}; while systemctl is-active -q {failing}; do sleep 0.1; done")
    try:
        healthy, told, _since = systemd.look({"failed_units": {}}, {"unit": failing}, deadline=3)
        assert not healthy
        assert told[0] == f"{failing} has failed. `systemctl status {failing}` on the node says why"
        assert told[1].startswith(f"{failing} is failed (exit-code), wanted active")
        healthy, told, _since = systemd.look({"failed_units": {"ignore": ["app*.service"]}}, deadline=3)
        assert (healthy, told) == (True, [f"no unit has failed but {failing}, which may"])
    finally:
        systemd.manager.sh(f"systemctl reset-failed {failing}")


def test_an_open_job_keeps_the_boot_unfinished(systemd: Systemd) -> None:
    """Only while systemd calls itself starting: a job that comes later, such as a restart, is no boot."""
    slow = systemd.unit("Type=oneshot\nExecStart=/bin/sleep 600", start=False)
    systemd.manager.sh(f"systemctl start --no-block {slow}")
    try:
        state = systemd.manager.sh("systemctl show -p SystemState --value").strip()
        healthy, told, _since = systemd.look({"failed_units": {}}, deadline=3)
        assert healthy is (state != "starting"), told
        if state == "starting":
            assert told == [
                f"the boot is not finished, 1 jobs are open, the first for {slow}. `systemctl list-jobs` on the node names them"
            ]
    finally:
        systemd.manager.sh(f"systemctl stop {slow}")


def test_a_restart_is_a_break(systemd: Systemd) -> None:
    """Each look finds it active; but not the same process."""
    nervous = systemd.unit("ExecStart=/bin/sleep 2\nRestart=always\nRestartSec=0")
    healthy, told, _since = systemd.look({"unit": nervous}, deadline=12, stable_for=5)
    assert not healthy, told
    systemd.manager.sh(f"systemctl stop {nervous}")
    calm = systemd.unit()
    healthy, _told, since = systemd.look({"unit": calm}, deadline=12, stable_for=3)
    assert healthy
    assert since is not None
    assert since < 2
