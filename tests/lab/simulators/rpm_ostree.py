# SPDX-License-Identifier: GPL-3.0-or-later
"""`rpm-ostree` 2026.2 and 2024.6: which part of the simulator answers which command."""

from __future__ import annotations

import sys

from lab.simulators.rpm_ostree_transaction import RpmOstreeError

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from lab.simulators.host import Host

# Parts are imported only when they are needed, because every command pays for the start.
PARTS = {
    "status": "show",
    "kargs": "kargs",
    **dict.fromkeys(("rebase", "upgrade", "update", "deploy"), "images"),
    **dict.fromkeys(("rollback", "cleanup", "cancel", "finalize-deployment"), "order"),
    **dict.fromkeys(("install", "uninstall", "override", "reset", "refresh-md"), "packages"),
    **dict.fromkeys(("initramfs", "initramfs-etc"), "packages"),
    "apply-live": "live",
}
ALIASES = {"update": "upgrade", "remove": "uninstall", "pkg-add": "install", "pkg-remove": "uninstall"}


class RpmOstree:
    """One run of rpm-ostree on one host."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def run(self, argv: list[str]) -> int:
        if argv[:1] == ["--version"]:
            version = self.host.node["versions"]["rpm-ostree"]
            features = "\n".join(f"  - {feature}" for feature in ("rust", "compose", "container"))
            print(f"rpm-ostree:\n Version: '{version}'\n Git: v{version}\n Features:\n{features}")
            return 0
        if not self.host.is_ostree:
            sys.stderr.write("error: This system was not booted via libostree.\n")
            return 1
        try:
            return self._command(argv)
        except RpmOstreeError as error:
            sys.stdout.flush()
            sys.stderr.write(f"error: {error}\n")
            return 1

    def _command(self, argv: list[str]) -> int:
        import importlib

        from lab.simulators.rpm_ostree_client import Client

        command = ALIASES.get(argv[0], argv[0]) if argv else ""
        if command not in PARTS:
            raise RpmOstreeError(f"Unknown command '{command}' (in the lab's rpm-ostree)")
        part = importlib.import_module(f"lab.simulators.rpm_ostree_{PARTS[command]}")
        status: int = getattr(part, command.replace("-", "_"))(Client(self.host, argv), argv[1:])
        return status
