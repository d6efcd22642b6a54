# SPDX-License-Identifier: GPL-3.0-or-later
"""make test-hosts: the checks on the hosts of an inventory. Reads only, unless images or reboots are allowed.

    python -m hosts --inventory hosts.yml [--limit PATTERN] [--images IMAGE,IMAGE] [--allow-reboot] [-- ANSIBLE ARGUMENTS]

Exit status 0 if nothing failed, 1 if something did, 2 if there was nothing to test.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from pathlib import Path

from hosts import suite
from hosts.fleet import Fleet, Host, SuiteFailed


def main() -> int:
    parser = argparse.ArgumentParser(prog="make test-hosts", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inventory", type=Path, required=True)
    parser.add_argument("--limit", default="all", help="a pattern of hosts")
    parser.add_argument("--images", default="", help="comma-separated: images that hosts may be switched between")
    parser.add_argument("--allow-reboot", action="store_true", help="with images: reboot into another image, and back")
    parser.add_argument("arguments", nargs="*", help="further arguments of ansible-playbook")
    options = parser.parse_args()
    images = [image for image in options.images.replace(",", " ").split() if image]
    if not options.inventory.exists():
        print(f"there is no inventory {options.inventory}", file=sys.stderr)
        return 2
    printing = threading.Lock()

    def say(row: suite.Row) -> None:
        with printing:
            print(row.line(), flush=True)

    with tempfile.TemporaryDirectory(prefix="imagemode-test-hosts-") as work:
        fleet = Fleet(options.inventory.absolute(), Path(work), options.limit, tuple(options.arguments))
        try:
            names = fleet.hosts()
        except SuiteFailed as failure:
            print(failure, file=sys.stderr)
            return 2
        print(f"{len(names)} hosts; {_allowed(images, options.allow_reboot)}\n\n{suite.HEADING}", flush=True)
        rows = suite.run([Host(name, fleet, images, options.allow_reboot) for name in names], say)
    failed = [row for row in rows if row.verdict is suite.Verdict.FAILED]
    if failed:
        print("\nwhat failed:\n" + "\n".join(row.line() for row in failed))
    print(f"\n{suite.summary(rows)}")
    return 1 if failed else 0


def _allowed(images: list[str], may_reboot: bool) -> str:
    if not images:
        return "nothing on them is changed (IMAGES and ALLOW_REBOOT=1 allow more)"
    reboots = "each is rebooted twice for each tool" if may_reboot else "none is rebooted"
    return f"{' and '.join(images)} are staged and discarded again, {reboots}"


if __name__ == "__main__":
    sys.exit(main())
