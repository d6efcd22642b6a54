# SPDX-License-Identifier: GPL-3.0-or-later
"""`bootc`, held to recordings of 1.16.9 and 1.1.6: its command line, and status, rollback and usr-overlay."""

from __future__ import annotations

import os
import sys

from lab.simulators import bootc_status, command_line, sysroot
from lab.simulators.bootc_session import BootcError
from lab.simulators.bootc_staging import Staging

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from collections.abc import Callable

HELP = """Deploy and transactionally in-place with bootable container images

Usage: bootc <COMMAND>

Commands:
  upgrade      Download and queue an updated container image to apply
  switch       Target a new container image reference to boot
  rollback     Change the bootloader entry ordering; the deployment under `rollback` will be queued
  status       Display status
  usr-overlay  Add a transient overlayfs on `/usr`
  help         Print this message or the help of the given subcommand(s)

Options:
  -h, --help     Print help
  -V, --version  Print version
"""


class Bootc(Staging):
    """One run of bootc on one host."""

    def run(self, argv: list[str]) -> int:
        if not argv or argv[0] in ("-h", "--help", "help"):
            (sys.stdout if argv else sys.stderr).write(HELP)
            return 0 if argv else command_line.BAD_USAGE
        if argv[0] in ("-V", "--version"):
            print(f"bootc {'.'.join(map(str, self.version))}")
            return 0
        command, rest = argv[0], argv[1:]
        commands = self._commands()
        if command not in commands:
            command_line.fail(f"unrecognized subcommand '{command}'", "bootc <COMMAND>")
        title, method = commands[command]
        try:
            return method(rest)
        except (BootcError, sysroot.SysrootError) as error:
            self._error(f"{title}: {error}" if title else str(error))
            return 1

    def _commands(self) -> dict[str, tuple[str, Callable[[list[str]], int]]]:
        """What this version knows: the prefix of its errors, and what runs it."""
        upgrade = ("Upgrading", self._upgrade)
        overlay = ("", self.usr_overlay)
        found: dict[str, tuple[str, Callable[[list[str]], int]]] = {
            "status": ("Status", self.status),
            "switch": ("Switching", self._switch),
            "upgrade": upgrade,
            "update": upgrade,
            "usr-overlay": overlay,
            "usroverlay": overlay,
        }
        if self.version >= (0, 1, 10):
            found["rollback"] = ("Rollback", self.rollback)
        if self.version >= (1, 15, 2):
            found["loader-entries"] = ("", self._loader_entries)
        return found

    def _switch(self, argv: list[str]) -> int:
        from lab.simulators.bootc_switch import Switch

        return Switch(self.host).run(argv)

    def _upgrade(self, argv: list[str]) -> int:
        from lab.simulators.bootc_upgrade import Upgrade

        return Upgrade(self.host).run(argv)

    def _loader_entries(self, argv: list[str]) -> int:
        from lab.simulators.bootc_loader_entries import LoaderEntries

        return LoaderEntries(self.host).run(argv)

    def _error(self, text: str) -> None:
        # ≤1.3 logs through tracing, with colours even without a terminal (recorded, bootc 1.1.6)
        start = "error:" if self.version >= (1, 4) else "\x1b[31mERROR\x1b[0m"
        sys.stdout.flush()
        sys.stderr.write(f"{start} {text}\n")

    # status

    def status(self, argv: list[str]) -> int:
        verbose = ("--verbose", "-v") if self.version >= (1, 5) else ()
        forms = ("humanreadable", "yaml", "json") if self.version >= (1, 1) else ("yaml", "json")
        options = command_line.parse(
            argv,
            usage="bootc status [OPTIONS]",
            flags=("--json", "--booted", *verbose),
            options={
                **({"--format": forms} if self.version >= (0, 1, 13) else {}),
                **({"--format-version": None} if self.version >= (0, 1, 14) else {}),
            },
        )
        if options.value("--format-version") not in (None, "0", "1"):
            raise BootcError(f"Unsupported format version: {options.value('--format-version')}")
        if self.host.is_ostree:
            self.require_root()
            lock = self.lock()
            document = bootc_status.host_document(self.host, booted_only=options.has("--booted"))
            os.close(lock)
        else:
            document = bootc_status.host_document(self.host)
        default = "humanreadable" if sys.stdout.isatty() and self.version >= (1, 1) else "yaml"
        form = "json" if options.has("--json") else options.value("--format") or default
        if form == "json":
            sys.stdout.write(bootc_status.as_json(document, self.version))
        elif form == "yaml":
            sys.stdout.write(bootc_status.as_yaml(document))
        else:
            sys.stdout.write(bootc_status.for_people(document, verbose=bool(options.flags & {"--verbose", "-v"})))
        return 0

    # rollback, usr-overlay

    def rollback(self, argv: list[str]) -> int:
        apply = ("--apply",) if self.version >= (1, 1, 7) else ()
        options = command_line.parse(
            argv,
            usage="bootc rollback [OPTIONS]" if apply else "bootc rollback",
            flags=apply,
            options=self.soft_reboot_option(),
        )
        self.require_booted()
        lock = self.lock()
        prefix = self.prefix("Rollback")
        target = sysroot.rollback_of(self.host)
        if target is None:
            raise BootcError(f"{prefix}No rollback available")
        if target.incompatible or sysroot.image_of(self.host, target) is None:
            raise BootcError(f"{prefix}Rollback is not container image based")
        undo = sysroot.rollback_queued(self.host)
        first = self.host.booted if undo else target
        self.host.write_staged(None)
        others = [one for one in self.host.state.deployments if one.id != first.id]
        sysroot.replace_deployments(self.host, [first, *others])
        if undo:
            print("notice: Reverting queued rollback state")
        if not self.host.is_composefs:
            print(f"Next boot: {'current' if undo else 'rollback'} deployment")
        if options.value("--soft-reboot") and bootc_status.soft_reboot_capable(self.host, first):
            print("Rollback deployment is soft-reboot capable, preparing for soft-reboot...", flush=True)
            self.prepare_soft_reboot(first, f"{prefix}Handling soft reboot: Soft reboot rollback deployment: ")
        if options.has("--apply"):
            self.reboot(lock)
        return 0

    def usr_overlay(self, argv: list[str]) -> int:
        read_only = ("--read-only",) if self.version >= (1, 15) else ()
        options = command_line.parse(argv, usage="bootc usr-overlay [OPTIONS]", flags=read_only)
        self.require_booted()
        if self.host.is_composefs:
            raise BootcError("the lab does not know what usr-overlay says on a composefs host")
        from lab.simulators.ostree import unlock

        return unlock(self.host, transient=options.has("--read-only"))
