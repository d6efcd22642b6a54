# SPDX-License-Identifier: GPL-3.0-or-later
"""Soft reboots in the lab, held to what was recorded of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from recorded import row
from recorded_world import HostUnderTest
from test_observed import booted_image, status

MakeHost = Callable[..., HostUnderTest]
FILE = "44-soft-reboot"
COUNT = "systemctl show -p SoftRebootsCount"


def restart(host: HostUnderTest, command: str) -> None:
    """Run a command that takes the host down, and wait until it is back."""
    before = len(host.node.journal.read("boot")) + len(host.node.journal.read("soft-boot"))
    host.ok(command)
    host.wait_until(
        lambda: (
            host.node.is_up()
            and len(host.node.journal.read("boot")) + len(host.node.journal.read("soft-boot")) > before
        )
    )


def real_image(host: HostUnderTest) -> str:
    """What /usr is, whatever the tools say."""
    return host.ok("cat /usr/share/lab/version 2>/dev/null || sed -n 's/^VERSION_ID=//p' /usr/lib/os-release").strip()


def prepared(make_host: MakeHost, *, composefs: bool = True) -> HostUnderTest:
    host = make_host(composefs=composefs)
    host.sh(f"bootc switch --soft-reboot=auto {host.world.open}/os:v2")
    return host


def test_without_composefs_it_is_refused_and_the_deployment_stays_staged(make_host: MakeHost) -> None:
    host = make_host()
    recorded = row(FILE, "02-switch-soft-reboot-auto", "44-soft-reboot")
    done = host.sh(f"bootc switch --soft-reboot=auto {host.world.open}/os:v2")
    assert done.returncode == recorded.rc
    assert done.stderr.splitlines()[-2:] == recorded.stderr.splitlines()[-2:]
    assert done.stdout.splitlines()[-1] == recorded.stdout.splitlines()[-1]
    assert status(host)["staged"]["softRebootCapable"] is True
    assert host.sh("test -e /run/nextroot").returncode == 1


def test_a_prepared_root_is_shown_and_can_be_dropped(make_host: MakeHost) -> None:
    host = prepared(make_host)
    assert host.sh("test -e /run/nextroot/usr").returncode == 0
    recorded = row(FILE, "04-prepare", "44g-plain-reboot-with-nextroot").stdout
    assert "(staged) (soft-reboot)" in recorded
    assert "(staged) (soft-reboot)" in host.ok("ostree admin status")
    host.ok("ostree admin prepare-soft-reboot --reset")
    assert "(soft-reboot)" not in host.ok("ostree admin status")
    assert host.sh("test -e /run/nextroot/usr").returncode == 1


@pytest.mark.parametrize("command", ["systemctl soft-reboot", "systemctl reboot", "/usr/bin/reboot", "shutdown -r now"])
def test_once_prepared_every_reboot_is_soft(make_host: MakeHost, command: str) -> None:
    host = prepared(make_host)
    boot_id = host.node.boot_id
    host.ok("touch /run/reboot-required")
    restart(host, command)
    assert (host.node.boot_id, host.ok(COUNT)) == (boot_id, "SoftRebootsCount=1\n")
    assert (booted_image(host), status(host)["staged"]) == ("os:v2", None)
    assert host.sh("test -e /run/reboot-required").returncode == 0


@pytest.mark.parametrize("command", ["SYSTEMCTL_SKIP_AUTO_SOFT_REBOOT=1 systemctl reboot", "shutdown -r 0"])
def test_what_makes_it_a_full_one_nevertheless(make_host: MakeHost, command: str) -> None:
    host = prepared(make_host)
    boot_id = host.node.boot_id
    restart(host, command)
    assert host.node.boot_id != boot_id
    assert (booted_image(host), host.ok(COUNT)) == ("os:v2", "SoftRebootsCount=0\n")


def test_a_soft_reboot_without_a_root_finalizes_and_restarts_the_old_one(make_host: MakeHost) -> None:
    host = make_host()
    host.ok(f"bootc switch {host.world.open}/os:v2")
    restart(host, "systemctl soft-reboot")
    assert (booted_image(host), status(host)["rollbackQueued"], status(host)["staged"]) == ("os:v1", True, None)


def test_after_a_second_soft_reboot_the_tools_name_the_wrong_deployment(make_host: MakeHost) -> None:
    host = prepared(make_host)
    first = real_image(host)
    restart(host, "systemctl soft-reboot")
    second = real_image(host)
    assert first != second
    host.ok("bootc rollback --soft-reboot=required")
    restart(host, "systemctl soft-reboot")
    assert (real_image(host), booted_image(host)) == (first, "os:v2")
    assert host.ok(COUNT) == "SoftRebootsCount=2\n"
    assert "SoftRebootsCount=2" in row(FILE, "10-after", "44b-soft-reboot-composefs").stdout
    restart(host, "SYSTEMCTL_SKIP_AUTO_SOFT_REBOOT=1 systemctl reboot")
    assert booted_image(host) == "os:v1"
