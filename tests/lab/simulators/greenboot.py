# SPDX-License-Identifier: GPL-3.0-or-later
"""greenboot on a node: it judges each boot, and reboots a bad one by itself until it goes back (greenboot-rs 0.16.4).

Its programs are not run: what an image has in /usr/share/lab/greenboot (see ``lab.greenboot``) is the verdict. A shutdown that
finalizes an update arms the counter of boots in grub's environment; grub counts down at each boot that was not called good
(grub2/08_greenboot.cfg), and a bad boot with the counter at 0 is rolled back.
"""

from __future__ import annotations

import os
import time

from lab.simulators.host import Host, read_json, write_json

UNIT = "greenboot-healthcheck.service"
VERDICT = "/usr/share/lab/greenboot"
ATTEMPTS = 3  # GREENBOOT_MAX_BOOT_ATTEMPTS
REACTION_SECONDS = 1.0
MOTD = "FALLBACK BOOT DETECTED! Default bootc deployment has been rolled back.\n"


def arm(host: Host) -> None:
    """An update was finalized: its first boots are on trial (greenboot-set-rollback-trigger.service)."""
    if host.resolve(VERDICT) is not None:
        _write(host, {**_read(host), "boot_counter": str(ATTEMPTS), "boot_success": "0"})


def judge(host: Host) -> str:
    """What becomes of the unit in this boot, with what grub and greenboot note on the way."""
    environment = _read(host)
    counter = environment.get("boot_counter")
    if counter is not None and environment.get("boot_success") == "0" and int(counter) > 0:
        environment["boot_counter"] = str(int(counter) - 1)
    environment["boot_success"] = "0"
    if _fell_back(host):
        os.unlink(host.path("greenboot-fell-back"))
        os.makedirs(host.path("run", "motd.d"), exist_ok=True)
        with open(host.path("run", "motd.d", "boot-status"), "w", encoding="utf-8") as handle:
            handle.write(MOTD)
    good = _verdict(host) == "good"
    if good:
        environment["boot_success"] = "1"
        environment.pop("boot_counter", None)
    _write(host, environment)
    if not good:
        write_json(host.path("transient", "greenboot.json"), {"counter": environment.get("boot_counter")})
    return "active" if good else "failed"


def react(host: Host) -> None:
    """What greenboot does about a bad boot; for the one who carries the node on, once it is up."""
    bad = read_json(host.path("transient", "greenboot.json"))
    if bad is None or bad["counter"] is None:
        return
    from lab.simulators import sysroot

    target = sysroot.rollback_of(host)
    if bad["counter"] == "0":
        if target is None:
            return
        others = [one for one in host.state.deployments if one.id != target.id]
        sysroot.replace_deployments(host, [target, *others])
        environment = _read(host)
        environment.pop("boot_counter", None)
        _write(host, environment)
        with open(host.path("greenboot-fell-back"), "w", encoding="utf-8"):
            pass
    host.journal.append("greenboot", counter=bad["counter"], rolled_back=bad["counter"] == "0")
    power = read_json(host.path("power.json"))
    stop_at = time.time() + REACTION_SECONDS
    write_json(host.path("power.json"), {**power, "state": "stopping", "kind": "reboot", "stop_at": stop_at})


def _verdict(host: Host) -> str:
    path = host.resolve(VERDICT)
    if path is None:
        return "bad"
    with open(path, encoding="utf-8") as handle:
        return handle.read().strip()


def _fell_back(host: Host) -> bool:
    return os.path.exists(host.path("greenboot-fell-back"))


def _grubenv(host: Host) -> str:
    return host.path("boot", "grub2", "grubenv")


def _read(host: Host) -> dict[str, str]:
    try:
        with open(_grubenv(host), encoding="utf-8") as handle:
            pairs = (line.rstrip("\n").partition("=") for line in handle if "=" in line and not line.startswith("#"))
            return {name: value for name, _equals, value in pairs}
    except FileNotFoundError:
        return {}


def _write(host: Host, environment: dict[str, str]) -> None:
    """As grub writes it: a block of 1024 bytes, filled with hashes."""
    text = "# GRUB Environment Block\n" + "".join(f"{name}={value}\n" for name, value in environment.items())
    os.makedirs(os.path.dirname(_grubenv(host)), exist_ok=True)
    with open(_grubenv(host), "w", encoding="utf-8") as handle:
        handle.write(text.ljust(1024, "#"))
