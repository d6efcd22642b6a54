# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be broken on a node, by name.

A fault stays until it is cleared, except where its parameter ``times`` says how often it strikes (0: always).
"""

from __future__ import annotations

import time

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Fault:
    """One kind of fault: its name, what it does, and its parameters with their defaults."""

    def __init__(self, name: str, effect: str, **parameters: Any) -> None:
        self.name = name
        self.effect = effect
        self.parameters = parameters

    def __repr__(self) -> str:
        return f"Fault({self.name!r})"


_ALL = (
    Fault(
        "disk-full",
        "Pulling an image finds too little space (`Insufficient free space …` from bootc before the pull, "
        "`min-free-space-percent … would be exceeded` from rpm-ostree and older bootc after it). `available` is what "
        "is left, in bytes. With `at_shutdown` a staged deployment is lost when the host goes down, as on a full disk.",
        available=0,
        at_shutdown=False,
    ),
    Fault(
        "transaction-stuck",
        "An rpm-ostree transaction that never ends holds the sysroot lock: bootc blocks, rpm-ostree writes fail with "
        "`Transaction in progress`. `rpm-ostree cancel` or a reboot ends it.",
        title="upgrade",
        method="Upgrade",
    ),
    Fault(
        "lock-held",
        "Another process holds the sysroot lock for `seconds` from now: bootc blocks, rpm-ostree writes fail with "
        "`System transaction in progress`, and a host that goes down meanwhile loses what is staged.",
        seconds=30.0,
    ),
    Fault("boot-hangs", "The host goes down for a reboot and never comes back (until cleared and booted by hand)."),
    Fault(
        "boots-old-deployment",
        "The staged deployment is finalized at shutdown, but the host comes back on the deployment it was on.",
        times=1,
    ),
    Fault(
        "power-cut",
        "The next reboot is a loss of power: nothing is finalized, what is staged is lost.",
        times=1,
    ),
    Fault("reboot-ignored", "`systemctl reboot` and its relatives exit 0 and nothing happens."),
    Fault("reboot-inhibited", "`systemctl reboot` and its relatives exit 1: an inhibitor blocks them.", who="backup"),
    Fault(
        "registry-stalls",
        "A pull begins and never progresses, without a timeout, as with a registry that stops sending.",
    ),
    Fault(
        "slow-pull",
        "Pulling layers takes `seconds` longer; or, with `bytes_per_second`, layers arrive at no more than that.",
        seconds=5.0,
        bytes_per_second=0,
    ),
    Fault(
        "podman-prune-fails",
        "bootc stages what it pulled, then fails while it removes old images: exit 1 with something staged.",
        times=1,
    ),
    Fault("sysroot-read-only", "/sysroot is on a read-only block device: bootc shows it (1.16.7) and changes nothing."),
    Fault(
        "layered-packages",
        "`packages` are layered on the booted deployment, so that bootc calls the host incompatible. Clearing takes "
        "them away again.",
        packages=("labtool",),
    ),
    Fault(
        "update-driver",
        "An update driver such as Zincati is installed: it registers with rpm-ostree at every boot, and while its "
        "`unit` is `active`, upgrade, rebase and deploy of everybody else are refused unless they bypass it. "
        "`systemctl stop` of the unit holds until the next boot.",
        driver="Zincati",
        unit="zincati.service",
        active=True,
    ),
    Fault(
        "package-repository-down",
        "The RPM repository does not answer: local changes cannot be assembled, so that an update or a rebase that "
        "carries packages fails, unless the repository's metadata is cached.",
    ),
    Fault(
        "packages-missing",
        "The RPM repository has none of `packages` any more: `Packages not found` for whoever has them layered.",
        packages=("labtool",),
    ),
    Fault(
        "units-in-trouble",
        "`units` are in the `state` failed, activating or inactive, whatever was started.",
        units=("lab-agent.service",),
        state="failed",
    ),
    Fault(
        "boot-unfinished",
        "The boot waits for `units`: systemd calls the host `starting`, as it does while any job is open.",
        units=("lab-agent.service",),
    ),
    Fault("unreachable", "No connection to the host succeeds; the host itself carries on."),
    Fault("connection-drops", "The connection is lost `seconds` after a command began.", seconds=1.0, times=1),
)

FAULTS: dict[str, Fault] = {fault.name: fault for fault in _ALL}


class UnknownFault(Exception):
    """No such fault, or no such parameter of it. The text lists what there is."""


def prepared(name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters to store for a fault that begins now: defaults filled in. Raises UnknownFault."""
    fault = FAULTS.get(name)
    if fault is None:
        raise UnknownFault(f"there is no fault {name!r}; there are: {', '.join(sorted(FAULTS))}")
    unknown = sorted(set(parameters) - set(fault.parameters))
    if unknown:
        known = ", ".join(fault.parameters) or "none"
        raise UnknownFault(f"fault {name!r} has no parameter {', '.join(unknown)}; its parameters: {known}")
    stored = {**fault.parameters, **parameters, "since": time.time()}
    for name in ("packages", "units"):
        if isinstance(stored.get(name), str):
            stored[name] = stored[name].split(",")
    return stored


def as_table() -> str:
    """Every fault with its parameters, for a person: one fault per paragraph."""
    lines = []
    for fault in _ALL:
        parameters = " ".join(f"{name}={default!r}" for name, default in fault.parameters.items())
        lines.append(f"{fault.name}  {parameters}".rstrip() + f"\n    {fault.effect}")
    return "\n".join(lines)
