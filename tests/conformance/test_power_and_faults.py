# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that reboot, fail to, and come back differently; and every fault that can be injected."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from lab import faults
from lab.node import Node
from recorded_world import HostUnderTest
from test_observed import booted_image, status

MakeHost = Callable[..., HostUnderTest]


def staged(make_host: MakeHost, **options: float) -> HostUnderTest:
    """A host on os:v1 with os:v2 staged."""
    host = make_host(**options)
    host.ok(f"bootc switch {host.world.open}/os:v2")
    return host


def last_shutdown(host: HostUnderTest) -> str | None:
    """Why the last shutdown lost what was staged; None when it did not."""
    reason: str | None = host.node.journal.read("shutdown")[-1]["lost"]
    return reason


def test_a_reboot_finalizes_takes_its_time_and_gives_a_new_boot_id(make_host: MakeHost) -> None:
    host = staged(make_host, boot_seconds=1.0)
    before = host.ok("cat /proc/sys/kernel/random/boot_id")
    host.ok("systemctl reboot")
    host.wait_until(lambda: not host.node.is_up())
    went_down = time.monotonic()
    host.wait_until(host.node.is_up)
    assert 0.7 < time.monotonic() - went_down < 3
    assert host.ok("cat /proc/sys/kernel/random/boot_id") != before
    assert (booted_image(host), status(host)["staged"]) == ("os:v2", None)
    assert host.sh("ls /run/reboot-required").returncode == 1
    assert [entry["event"] for entry in host.node.journal.read() if entry["event"] in ("shutdown", "boot")] == [
        *("boot", "shutdown", "boot"),
    ]


@pytest.mark.parametrize("command", ["/usr/bin/reboot", "shutdown -r now", "systemctl reboot"])
def test_every_way_to_reboot(make_host: MakeHost, command: str) -> None:
    host = staged(make_host)
    before = host.node.boot_id
    host.ok(command)
    host.wait_until(lambda: host.node.is_up() and host.node.boot_id != before)
    assert booted_image(host) == "os:v2"


def test_a_powered_off_host_stays_off_until_it_is_switched_on(make_host: MakeHost) -> None:
    host = staged(make_host)
    host.ok("systemctl poweroff")
    host.wait_until(lambda: not host.node.is_up())
    time.sleep(0.3)
    assert not host.node.is_up()
    host.node.boot()
    assert booted_image(host) == "os:v2"


def test_a_reboot_ends_what_runs_on_the_host_however_detached(make_host: MakeHost) -> None:
    host = make_host()
    for command in ("sleep 600", "(trap '' TERM HUP; sleep 600 & wait) & sleep 600"):
        running = host.start(command)
        host.reboot()
        assert running.wait(10) != 0


def test_bootc_switch_apply_never_exits_0_and_what_it_staged_is_booted(make_host: MakeHost) -> None:
    host = make_host()
    before = host.node.boot_id
    done = host.sh(f"bootc switch --apply {host.world.open}/os:v2")
    assert done.returncode != 0
    assert "Queued for next boot" in done.stdout
    host.wait_until(lambda: host.node.is_up() and host.node.boot_id != before)
    assert booted_image(host) == "os:v2"


def test_a_power_cut_loses_what_is_staged_and_keeps_what_was_booted(make_host: MakeHost) -> None:
    host = staged(make_host)
    host.ok("echo kept > /etc/kept; echo gone > /run/gone")
    host.power_cycle()
    assert (booted_image(host), status(host)["staged"]) == ("os:v1", None)
    assert host.ok("cat /etc/kept") == "kept\n"
    assert host.sh("cat /run/gone").returncode == 1


def test_fault_power_cut_strikes_the_next_reboot_once(make_host: MakeHost) -> None:
    host = staged(make_host)
    host.node.inject("power-cut")
    host.reboot()
    assert (booted_image(host), last_shutdown(host), dict(host.node.faults)) == ("os:v1", "power", {})
    host.ok(f"bootc switch {host.world.open}/os:v2")
    host.reboot()
    assert booted_image(host) == "os:v2"


def test_fault_boots_old_deployment(make_host: MakeHost) -> None:
    host = staged(make_host)
    host.node.inject("boots-old-deployment")
    host.reboot()
    now = status(host)
    assert (booted_image(host), now["rollbackQueued"]) == ("os:v1", True)
    assert now["rollback"]["image"]["image"]["image"].endswith("os:v2")
    host.reboot()
    assert booted_image(host) == "os:v2"


def test_fault_boot_hangs(make_host: MakeHost) -> None:
    host = staged(make_host)
    host.node.inject("boot-hangs")
    host.ok("systemctl reboot")
    host.wait_until(lambda: not host.node.is_up())
    time.sleep(0.5)
    assert not host.node.is_up()
    host.node.clear("boot-hangs")
    host.node.boot()
    assert booted_image(host) == "os:v2"


def test_fault_reboot_ignored(make_host: MakeHost) -> None:
    host = staged(make_host)
    host.node.inject("reboot-ignored")
    before = host.node.boot_id
    host.ok("systemctl reboot")
    time.sleep(0.6)
    assert (host.node.is_up(), host.node.boot_id) == (True, before)
    assert status(host)["staged"] is not None


def test_fault_reboot_inhibited(make_host: MakeHost) -> None:
    host = staged(make_host)
    host.node.inject("reboot-inhibited", who="nightly-backup")
    done = host.sh("systemctl reboot")
    assert (done.returncode, "nightly-backup" in done.stderr) == (1, True)
    time.sleep(0.4)
    assert host.node.is_up()


def test_fault_lock_held_loses_the_staged_deployment_at_shutdown(make_host: MakeHost) -> None:
    host = staged(make_host)
    host.node.inject("lock-held", seconds=30)
    host.reboot()
    host.node.clear("lock-held")
    assert (booted_image(host), last_shutdown(host)) == ("os:v1", "another process kept the sysroot lock")


def test_fault_transaction_stuck_ends_with_a_reboot(make_host: MakeHost) -> None:
    host = staged(make_host)
    host.node.inject("transaction-stuck")
    assert "Transaction in progress: upgrade" in host.sh("rpm-ostree kargs --append=x").stderr
    host.reboot()
    assert booted_image(host) == "os:v2"
    assert host.ok("rpm-ostree status").startswith("State: idle")


def test_fault_disk_full_at_shutdown(make_host: MakeHost) -> None:
    host = staged(make_host)
    host.node.inject("disk-full", at_shutdown=True)
    host.reboot()
    assert (booted_image(host), last_shutdown(host)) == (
        "os:v1",
        "Copying passwd: regfile copy: No space left on device",
    )
    assert "failed to finalize previous deployment" in host.ok("rpm-ostree status")


def test_fault_slow_pull(make_host: MakeHost) -> None:
    host = make_host()
    host.node.inject("slow-pull", seconds=0.8)
    began = time.monotonic()
    host.ok(f"bootc switch {host.world.open}/os:multi")
    assert time.monotonic() - began > 0.8


def test_fault_registry_stalls_holds_the_lock_and_clearing_it_lets_the_pull_finish(make_host: MakeHost) -> None:
    host = make_host()
    host.node.inject("registry-stalls")
    pulling = host.start(f"bootc switch {host.world.open}/os:v2")
    time.sleep(0.5)
    assert pulling.poll() is None
    host.node.clear("registry-stalls")
    assert pulling.wait(20) == 0


def test_fault_unreachable_hides_a_host_that_carries_on(make_host: MakeHost) -> None:
    host = make_host()
    before = host.node.boot_id
    host.node.inject("unreachable")
    assert not host.node.is_up()
    host.node.clear("unreachable")
    assert (host.node.is_up(), host.node.boot_id) == (True, before)


def test_a_fault_and_its_parameters_must_exist(make_host: MakeHost) -> None:
    host = make_host()
    with pytest.raises(faults.UnknownFault, match=r"there is no fault 'disk-ful'; there are: .*disk-full"):
        host.node.inject("disk-ful")
    with pytest.raises(faults.UnknownFault, match="has no parameter size; its parameters: available, at_shutdown"):
        host.node.inject("disk-full", size=3)


def test_every_fault_is_documented_in_the_table() -> None:
    table = faults.as_table()
    assert all(name in table and fault.effect in table for name, fault in faults.FAULTS.items())
    assert len(faults.FAULTS) >= 10


def test_a_tool_is_in_the_journal_with_its_exit_status(make_host: MakeHost) -> None:
    host = make_host()
    host.ok("bootc status --json")
    host.sh("bootc switch")
    calls = [(entry["tool"], entry["argv"], entry["rc"]) for entry in host.node.journal.read("tool")]
    assert calls == [("bootc", ["status", "--json"], 0), ("bootc", ["switch"], 2)]


def test_a_node_without_a_tool_does_not_have_it(make_host: MakeHost) -> None:
    host = make_host(versions={"bootc": None})
    done = host.sh("bootc status")
    assert (done.returncode, "not found" in done.stderr) == (127, True)
    assert json.loads(host.ok("rpm-ostree status --json"))["deployments"]


def test_two_nodes_share_a_tree_and_nothing_else(make_host: MakeHost) -> None:
    one, other = make_host(), make_host()
    assert one.node.mounts().tree == other.node.mounts().tree
    one.ok("echo one > /etc/one; echo one > /var/one")
    assert other.sh("cat /etc/one").returncode == other.sh("cat /var/one").returncode == 1
    assert one.sh("echo x > /usr/x").returncode != 0


def test_destroying_a_node_ends_what_runs_on_it(make_host: MakeHost) -> None:
    host = make_host()
    running = host.start("sleep 600")
    time.sleep(0.2)
    lab = host.node.lab
    host.node.destroy()
    assert running.wait(10) != 0
    with pytest.raises(FileNotFoundError):
        Node.load(lab, host.node.name)
