# SPDX-License-Identifier: GPL-3.0-or-later
"""What the verbs of `rpm-ostree` share: transactions, staging, and the words at the end."""

from __future__ import annotations

import os
import signal
import sys

from lab.simulators import sysroot
from lab.simulators.rpm_ostree_transaction import RpmOstreeError, attach, refuse_if_busy, run
from lab.simulators.state import Deployment

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lab.simulators.host import Host
    from lab.simulators.rpm_ostree_arguments import Arguments

UNCHANGED = 77
QUEUED = 'Changes queued for next boot. Run "systemctl reboot" to start a reboot'
REBOOT = ("--reboot", "-r")


class Client:
    """One call of rpm-ostree. ``title`` is the command line, by which its transaction goes."""

    def __init__(self, host: Host, argv: list[str]) -> None:
        self.host = host
        self.title = " ".join(argv)

    def transaction(self, method: str, work: Callable[[], int]) -> int:
        """Run ``work`` in the daemon. Checks first, so that a busy host is an error of the client.

        The same call again, while the first is at work, watches that one instead (rpm-ostree 2026.2,
        rpmostreed-transaction.cxx).
        """
        if os.geteuid() != 0:
            raise RpmOstreeError(f"rpmostreed OS operation {method} not allowed for user")
        attached = attach(self.host, method, self.title)
        if attached is not None:
            return attached
        os.close(refuse_if_busy(self.host))
        return run(self.host, method, self.title, work)

    def stage(self, checksum: str, base: str, origin: dict[str, Any], arguments: list[str], given: Arguments) -> None:
        """Stage a deployment of the booted stateroot and clean up. Raises RpmOstreeError."""
        osname = self.host.booted.osname
        locked = "--lock-finalization" in given.flags
        print("Staging deployment...done")
        until_done = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # being cancelled has to wait
        try:
            serial = sysroot.next_serial(self.host, checksum)
            new = Deployment(osname, checksum, serial, origin, arguments, base=base, locked=locked)
            sysroot.stage(self.host, new)
            self._set_legacy_lock(locked)
            self.prune()
        except sysroot.SysrootError as error:
            raise RpmOstreeError(f"Staging deployment: Initializing deployment: {error}") from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, until_done)

    def _set_legacy_lock(self, locked: bool) -> None:
        """Before 2024.6 the lock was a file of its own, which status still looks for (rpm-ostree 2026.2, daemon.rs)."""
        if locked and self.host.version("rpm-ostree") < (2024, 6):
            with open(self.host.path("run", "ostree", "staged-deployment-locked"), "w", encoding="ascii"):
                pass

    def prune(self) -> None:
        pruned = sysroot.prune(self.host)
        if pruned:
            print(f"Pruned images: {pruned.images} (layers: {pruned.layers})")
            print(f"Freed: {sysroot.format_size(pruned.size)} (pkgcache branches: 0)")

    def queued(self, given: Arguments) -> int:
        """The end of a call that staged something: reboot if that was asked for, or say how."""
        if not self.reboots(given):
            print(QUEUED)
        return 0

    def reboots(self, given: Arguments) -> bool:
        """Begin a reboot if the call asks for one. Raises RpmOstreeError when something inhibits it; what was staged stays."""
        if not given.flags & set(REBOOT):
            return False
        from lab.simulators.systemd import Systemd

        sys.stdout.flush()
        if self.host.fault("reboot-inhibited") is not None:
            self.host.journal.append("fault", fault="reboot-inhibited", action="fire")
            raise RpmOstreeError("Reboot blocked by a systemd inhibitor lock in `block` mode")
        if Systemd(self.host).request("reboot") != 0:
            raise RpmOstreeError("Reboot blocked by a systemd inhibitor lock in `block` mode")
        return True
