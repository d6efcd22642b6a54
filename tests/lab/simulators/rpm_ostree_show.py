# SPDX-License-Identifier: GPL-3.0-or-later
"""`rpm-ostree status`: its options, and which of the two forms is printed."""

from __future__ import annotations

import sys

from lab.simulators import sysroot
from lab.simulators.rpm_ostree_arguments import Arguments
from lab.simulators.rpm_ostree_client import UNCHANGED, Client


def status(client: Client, argv: list[str]) -> int:
    given = Arguments(argv, ("--json", "-b", "--booted", "-v", "--verbose", "-a", "--advisories", "--pending-exit-77"))
    host, booted_only = client.host, bool(given.flags & {"-b", "--booted"})
    if "--json" in given.flags:
        from lab.simulators.rpm_ostree_status import as_json, document

        sys.stdout.write(as_json(document(host, booted_only=booted_only)))
    else:
        from lab.simulators.rpm_ostree_status_text import for_people

        sys.stdout.write(for_people(host, booted_only=booted_only))
    pending = sysroot.pending(host).id != host.state.booted
    return UNCHANGED if pending and "--pending-exit-77" in given.flags else 0
