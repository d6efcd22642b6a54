# SPDX-License-Identifier: GPL-3.0-or-later
"""Entry point of every simulated tool: ``main.py TOOL ARGUMENT…`` with the node's directory in LAB_NODE.

Runs isolated and without site (``python -I -S``), because each command of a node pays for the start.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from lab.simulators.host import Host

COMMAND_NOT_FOUND = 127


def run(host: Host, tool: str, argv: list[str]) -> int:
    """The exit status of one tool."""
    if tool == "bootc":
        from lab.simulators.bootc import Bootc

        return Bootc(host).run(argv)
    if tool == "rpm-ostree":
        from lab.simulators.rpm_ostree import RpmOstree

        return RpmOstree(host).run(argv)
    if tool == "ostree":
        from lab.simulators.ostree import run as ostree

        return ostree(host, argv)
    if tool == "skopeo":
        from lab.simulators.skopeo import run as skopeo

        return skopeo(host, argv)
    if tool == "systemd-run":
        from lab.simulators.systemd_run import run as systemd_run

        return systemd_run(host, argv)
    from lab.simulators.systemd import Systemd

    if tool == "systemctl":
        return Systemd(host).systemctl(argv)
    if tool == "shutdown":
        return Systemd(host).shutdown(argv)
    if tool == "systemd-inhibit":
        from lab.simulators.soft_reboot import list_inhibitors

        list_inhibitors(host)
        return 0
    if tool == "reboot":
        return Systemd(host).reboot(force=bool({"-f", "--force"} & set(argv)))
    if tool == "poweroff":
        return Systemd(host).request(tool, force=bool({"-f", "--force"} & set(argv)))
    sys.stderr.write(f"{tool}: the lab does not simulate this\n")
    return COMMAND_NOT_FOUND


def _call_oneself(tool: str) -> None:
    """Take the tool's name, so that the process list of a node shows `bootc` and not the interpreter."""
    with contextlib.suppress(OSError), open("/proc/self/comm", "w", encoding="ascii") as name:
        name.write(tool)


def main() -> int:
    began = time.monotonic()
    tool, argv = sys.argv[1], sys.argv[2:]
    _call_oneself(tool)
    host = Host(os.environ["LAB_NODE"])

    def note(rc: int) -> None:
        host.journal.append("tool", tool=tool, argv=argv, rc=rc, seconds=round(time.monotonic() - began, 4))

    def stop(number: int, _unused: object) -> None:
        """End as the signal would have ended us, with nothing staged that was not staged before."""
        note(-number)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        rc = run(host, tool, argv)
    except SystemExit as end:
        rc = int(end.code or 0)
    note(rc)
    sys.stdout.flush()
    return rc


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # nothing is left to tidy up, and the interpreter's own tidying takes time
