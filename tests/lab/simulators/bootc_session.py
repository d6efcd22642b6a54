# SPDX-License-Identifier: GPL-3.0-or-later
"""What all commands of a simulated bootc share: its version, its preconditions, the lock, and how it reboots."""

from __future__ import annotations

import os
import sys
import time

from lab.simulators import sysroot_lock
from lab.simulators.host import Host

SOFT_REBOOT = ("required", "auto")
READ_ONLY = "Cannot perform this operation: /sysroot is on a read-only block device"


class BootcError(Exception):
    """bootc gives up. ``str()`` is the text after the command's own prefix."""


class Session:
    """One run of bootc on one host."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.version = host.version("bootc")
        self.is_new = self.version >= (1, 11)

    @property
    def backend(self) -> str:
        """What the error texts of 1.11 and newer call the kind of host."""
        return "composefs" if self.host.is_composefs else "ostree"

    def prefix(self, title: str) -> str:
        """The second part of an error's prefix, which 1.11 brought."""
        return f"{title} ({self.backend}): " if self.is_new else ""

    def soft_reboot_option(self) -> dict[str, tuple[str, ...] | None]:
        return {"--soft-reboot": SOFT_REBOOT} if self.version >= (1, 7) else {}

    def require_root(self) -> None:
        if os.geteuid() != 0:
            older = "Initializing storage: Acquiring sysroot: "
            text = "must be executed as the root user" if self.version >= (1, 1, 3) else "requires root privileges"
            raise BootcError(
                f"{'' if self.is_new else older}Preparing for write: Querying root privilege: This command {text}"
            )

    def require_booted(self) -> None:
        """A host that bootc can change, and root. Raises BootcError."""
        if not self.host.is_ostree:
            new, old = "System not booted via bootc", "This command requires an ostree-booted host system"
            raise BootcError(new if self.is_new else old)
        self.require_root()
        if self.host.fault("sysroot-read-only") is not None:
            raise BootcError(READ_ONLY if self.version >= (1, 16, 7) else "Read-only file system (os error 30)")

    def lock(self) -> int:
        return sysroot_lock.acquire(self.host, announce=self.version <= (1, 6, 0))

    def reboot(self, lock: int) -> None:
        """`systemctl reboot`, then sleep until it kills us, still holding the lock: --apply never exits 0."""
        from lab.simulators import systemd

        if systemd.Systemd(self.host).reboot() != 0:
            raise BootcError("Rebooting: Initiating reboot: Subprocess failed: ExitStatus(unix_wait_status(256))")
        sys.stdout.flush()
        while lock >= 0:
            time.sleep(3600)
