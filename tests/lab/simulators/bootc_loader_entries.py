# SPDX-License-Identifier: GPL-3.0-or-later
"""`bootc loader-entries set-options-for-source`: kernel arguments tracked by who asked for them, with its defects."""

from __future__ import annotations

import os

from lab.simulators import command_line, sysroot
from lab.simulators.bootc_session import BootcError, Session
from lab.simulators.state import Deployment

NAMES = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
USAGE = "bootc loader-entries set-options-for-source [OPTIONS] --source <SOURCE>"
NEEDED_OSTREE = (2026, 1)


class LoaderEntries(Session):
    """One `bootc loader-entries`, of 1.15.2 and newer."""

    def run(self, argv: list[str]) -> int:
        if not argv or argv[0] != "set-options-for-source":
            given = argv[0] if argv else ""
            command_line.fail(f"unrecognized subcommand '{given}'", "bootc loader-entries <COMMAND>")
        options = command_line.parse(argv[1:], usage=USAGE, options={"--source": None, "--options": None})
        source = options.value("--source")
        if source is None:
            command_line.fail("the following required arguments were not provided:\n  --source <SOURCE>", USAGE)
        self.require_booted()
        lock = self.lock()
        what = f"Setting options for source '{source}' (staged): "
        if self.host.is_composefs:
            raise BootcError(f"{what}the lab does not know loader-entries on a composefs host")
        if not source or set(source) - NAMES:
            raise BootcError(f"{what}Source name must contain only alphanumeric characters, hyphens, or underscores")
        if self.host.version("ostree") < NEEDED_OSTREE:
            raise BootcError(f"{what}This requires libostree 2026.1 or newer")
        self._set(source, " ".join((options.value("--options") or "").split()))
        os.close(lock)
        return 0

    def _set(self, source: str, wanted: str) -> None:
        """Stage a deployment in which the source asks for ``wanted``, or do nothing where it already does.

        What the source asked for before goes away even where another source or the host itself wants it too, what is
        there already is not added again, and the key of a source that is removed stays, empty (recorded, bootc 1.16.9).
        Whether the arguments are really there is not looked at.
        """
        base = self.host.staged or self.host.booted
        sources = dict(base.sources or {})
        before = sources.get(source, "")
        if before == wanted:
            return
        arguments = list(base.kargs)
        for token in before.split():
            if token in arguments:
                arguments.remove(token)
        arguments += [token for token in wanted.split() if token not in arguments]
        sources[source] = wanted
        serial = sysroot.next_serial(self.host, base.checksum)
        sysroot.stage(
            self.host,
            Deployment(
                base.osname, base.checksum, serial, dict(base.origin), arguments, base=base.base, sources=sources
            ),
        )
