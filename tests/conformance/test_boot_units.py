# SPDX-License-Identifier: GPL-3.0-or-later
"""Units that a boot starts, and the conditions that keep them from it: observed with systemd 252, and systemd.unit(5)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from recorded_world import HostUnderTest

MakeHost = Callable[..., HostUnderTest]

PLACE = "/etc/systemd/system"
UNIT = "[Unit]\\n[Service]\\n{service}\\n[Install]\\nWantedBy=multi-user.target\\n"


def install(host: HostUnderTest, name: str, service: str = "ExecStart=/usr/bin/sh -c true") -> None:
    """An enabled unit; the boot after this starts it."""
    wants = f"{PLACE}/multi-user.target.wants"
    host.ok(f"mkdir -p {wants} {PLACE}/{name}.d; printf '{UNIT.format(service=service)}' > {PLACE}/{name}")
    host.ok(f"ln -s {PLACE}/{name} {wants}/{name}")


def drop_in(host: HostUnderTest, unit: str, name: str, *lines: str) -> None:
    text = "".join(f"{line}\\n" for line in ("[Unit]", *lines))
    host.ok(f"printf '{text}' > {PLACE}/{unit}.d/{name}.conf")


def active(host: HostUnderTest, unit: str) -> str:
    state: str = host.sh(f"systemctl is-active {unit}").stdout.strip()
    return state


def test_a_boot_starts_what_its_target_wants(make_host: MakeHost) -> None:
    host = make_host()
    install(host, "agent.service")
    assert active(host, "agent.service") == "inactive"
    host.reboot()
    assert active(host, "agent.service") == "active"
    assert host.ok("systemctl show -p LoadState,ActiveState,UnitFileState,ConditionResult agent.service").split() == [
        *("LoadState=loaded", "ActiveState=active", "UnitFileState=enabled", "ConditionResult=yes"),
    ]


@pytest.mark.parametrize(
    ("drop_ins", "state"),
    [
        ({"hold": ["ConditionPathExists=/run/proven"]}, "inactive"),
        ({"hold": ["ConditionPathExists=!/run/proven"]}, "active"),
        ({"hold": ["ConditionPathExists=/run/proven", "ConditionPathExists=/etc"]}, "inactive"),
        ({"hold": ["ConditionPathExists=|/run/proven", "ConditionPathExists=|/etc"]}, "active"),
        ({"10-hold": ["ConditionPathExists=/run/proven"], "20-image": ["ConditionPathExists="]}, "active"),
        ({"zz-hold": ["ConditionPathExists=/run/proven"], "20-image": ["ConditionPathExists="]}, "inactive"),
    ],
)
def test_conditions_of_drop_ins(make_host: MakeHost, drop_ins: dict[str, list[str]], state: str) -> None:
    host = make_host()
    install(host, "agent.service")
    for name, lines in drop_ins.items():
        drop_in(host, "agent.service", name, *lines)
    host.reboot()
    assert active(host, "agent.service") == state


def test_a_start_that_a_condition_forbids_is_no_failure(make_host: MakeHost) -> None:
    host = make_host()
    install(host, "agent.service")
    drop_in(host, "agent.service", "hold", "ConditionPathExists=/run/proven")
    host.reboot()
    assert host.sh("systemctl start agent.service").returncode == 0
    assert active(host, "agent.service") == "inactive"
    assert host.ok("systemctl show -p ConditionResult --value agent.service") == "no\n"
    host.ok("touch /run/proven; systemctl start agent.service")
    assert active(host, "agent.service") == "active"


def test_what_was_loaded_counts_until_daemon_reload(make_host: MakeHost) -> None:
    host = make_host()
    install(host, "agent.service")
    drop_in(host, "agent.service", "hold", "ConditionPathExists=/run/proven")
    host.reboot()
    host.ok(f"rm {PLACE}/agent.service.d/hold.conf; systemctl start agent.service")
    assert active(host, "agent.service") == "inactive"
    host.ok("systemctl daemon-reload; systemctl start agent.service")
    assert active(host, "agent.service") == "active"


@pytest.mark.parametrize(("kind", "rc"), [("simple", 0), ("notify", 1)])
def test_only_some_types_wait_for_their_program(make_host: MakeHost, kind: str, rc: int) -> None:
    host = make_host()
    install(host, "agent.service", f"Type={kind}\\nExecStart=/usr/bin/nope")
    done = host.sh("systemctl start agent.service")
    assert done.returncode == rc
    assert ("Job for agent.service failed" in done.stderr) == (rc == 1)
    assert active(host, "agent.service") == "failed"


def test_a_masked_unit(make_host: MakeHost) -> None:
    host = make_host()
    host.ok(f"mkdir -p {PLACE}; ln -s /dev/null {PLACE}/agent.service")
    assert host.ok("systemctl show -p LoadState --value agent.service") == "masked\n"
    done = host.sh("systemctl start agent.service")
    assert (done.returncode, done.stderr) == (1, "Failed to start agent.service: Unit agent.service is masked.\n")
