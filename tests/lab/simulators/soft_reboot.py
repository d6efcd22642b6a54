# SPDX-License-Identifier: GPL-3.0-or-later
"""Soft reboots: a root prepared in /run/nextroot, and what systemd and ostree make of it.

Recorded with bootc 1.16.9, ostree 2026.4 and systemd 262. Only nodes with ``composefs`` can prepare one. A second soft
reboot within one boot mounts the right root, but the tools go on naming the deployment that was booted before.
"""

from __future__ import annotations

import os
import shutil

from lab.simulators.host import Host, read_json, write_json

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from lab.simulators.state import Deployment

NO_COMPOSEFS = "soft reboot not supported without composefs"
SKIP_AUTO = "SYSTEMCTL_SKIP_AUTO_SOFT_REBOOT"


class NotPrepared(Exception):
    """ostree refuses. ``str()`` is its text."""


def _note(host: Host) -> str:
    return host.path("transient", "soft-reboot.json")


def count(host: Host) -> int:
    """Soft reboots since the kernel was started."""
    return int((read_json(_note(host)) or {}).get("count", 0))


def prepared(host: Host) -> str | None:
    """The id of the deployment whose root stands in /run/nextroot."""
    found = (read_json(_note(host)) or {}).get("prepared")
    return str(found) if found else None


def prepare(host: Host, deployment: Deployment) -> None:
    """Put a deployment's root into /run/nextroot, in place of any other. Raises NotPrepared."""
    if not host.node.get("composefs"):
        raise NotPrepared(NO_COMPOSEFS)
    reset(host)
    os.makedirs(host.path("run", "nextroot", "usr", "lib"))
    write_json(_note(host), {"count": count(host), "prepared": deployment.id})


def reset(host: Host) -> None:
    """Empty /run/nextroot. What else is staged or queued stays."""
    shutil.rmtree(host.path("run", "nextroot"), ignore_errors=True)
    write_json(_note(host), {"count": count(host), "prepared": None})


def begin_userspace(host: Host, root: str | None) -> None:
    """The root is switched; ``root`` is the id of the prepared deployment, None where none was."""
    number = count(host) + 1
    shutil.rmtree(host.path("run", "nextroot"), ignore_errors=True)
    state = host.state
    state.unlocked, state.live_replaced = "none", None
    if root is not None and number == 1:
        state.booted = root
    host.save()
    power = read_json(host.path("power.json"))
    write_json(host.path("power.json"), {**power, "root": root or power.get("root")})
    write_json(_note(host), {"count": number, "prepared": None})


def root_of(host: Host) -> Deployment:
    """The deployment that is really mounted, whatever the tools say is booted."""
    mounted = (read_json(host.path("power.json")) or {}).get("root")
    return next((one for one in host.state.deployments if one.id == mounted), host.booted)


def admin(host: Host, argv: list[str]) -> None:
    """`ostree admin prepare-soft-reboot INDEX|--reset [--reboot]`. Raises NotPrepared."""
    from lab.simulators import power, sysroot

    if "--reset" in argv:
        reset(host)
        return
    words = [word for word in argv if not word.startswith("-")]
    deployments = sysroot.all_deployments(host)
    if len(words) != 1 or not words[0].isdigit():
        raise NotPrepared("INDEX must be specified")
    if int(words[0]) >= len(deployments):
        raise NotPrepared(f"Out of range deployment index {words[0]}, expected < {len(deployments)}")
    prepare(host, deployments[int(words[0])])
    if "--reboot" in argv:
        power.request(host, "soft-reboot")


def list_inhibitors(host: Host) -> None:
    """`systemd-inhibit --list --no-legend`."""
    lock = host.fault("reboot-inhibited", fresh=True)
    if lock is not None:
        print(f"{lock['who']} 0 root 812 {lock['who']} shutdown {lock['who']} is running block")
    print("NetworkManager 0 root 700 NetworkManager sleep NetworkManager needs to turn off networks delay")
