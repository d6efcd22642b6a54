# SPDX-License-Identifier: GPL-3.0-or-later
"""`systemctl`, `reboot`, `shutdown` and `poweroff`, as far as a host that reboots and runs a few units needs them."""

from __future__ import annotations

import os
import sys

from lab.simulators import power
from lab.simulators.host import Host

VERSION = "systemd 257 (257.7-1.lab)\n+PAM +AUDIT +SELINUX default-hierarchy=unified\n"
UNKNOWN = 4
INACTIVE = 3

# Options of systemctl that take a value; a short one may have it glued on (-pMainPID).
_VALUED = {"-p": "--property", "-P": "--property", "-s": "--signal"}
_LONG_VALUED = ("--property", "--signal", "--kill-who", "--kill-whom", "--type", "--state", "--check-inhibitors")


class Systemd:
    """systemd of one node."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def request(self, kind: str, *, force: bool = False) -> int:
        """An orderly reboot or poweroff; exit status as systemctl's."""
        if self.host.fault("reboot-ignored") is not None:
            self.host.journal.append("fault", fault="reboot-ignored", action="fire")
            return 0
        inhibited = self.host.fault("reboot-inhibited")
        if inhibited is not None and not force:
            who = inhibited["who"]
            self.host.journal.append("fault", fault="reboot-inhibited", action="fire")
            sys.stderr.write(
                f'Operation inhibited by "{who}" (PID 812 "{who}", user root), reason is "{who} is running".\n'
                "Please retry operation after closing inhibitors and logging out other users.\n"
                "'systemd-inhibit' can be used to list active inhibitors.\n"
                f"Alternatively, ignore inhibitors and users with 'systemctl {kind} -i'.\n"
            )
            return 1
        power.request(self.host, kind)
        return 0

    def systemctl(self, argv: list[str]) -> int:
        words, options, values = _parse(argv)
        if "--version" in options:
            sys.stdout.write(VERSION)
            return 0
        verb, names = (words[0], words[1:]) if words else ("list-units", [])
        force = bool(options & {"-i", "--ignore-inhibitors", "-f", "--force", "-ff", "--check-inhibitors=no"})
        if verb == "reboot":
            return self.reboot(force=force)
        if verb in ("soft-reboot", "poweroff", "halt"):
            return self.request("soft-reboot" if verb == "soft-reboot" else "poweroff", force=force)
        if verb == "show" and not names and "SoftRebootsCount" in (values.get("--property") or ()):
            return self._show_count(value_only="--value" in options)
        if verb in ("is-system-running", "list-units", "list-jobs") or (verb == "show" and not names):
            return self._manager(verb, options, values)
        from lab.simulators.units import Units

        return Units(self.host).run(verb, names, options, values)

    def reboot(self, *, force: bool = False, scheduled: bool = False) -> int:
        """What is called a reboot is a soft one where a root is prepared (recorded, systemd 262).

        Not so with the variable, nor when it was scheduled for some time, be it at once: `shutdown -r 0`.
        """
        from lab.simulators import soft_reboot

        skips = os.environ.get(soft_reboot.SKIP_AUTO) in ("1", "true", "yes")
        softly = soft_reboot.prepared(self.host) is not None and not (skips or scheduled)
        return self.request("soft-reboot" if softly else "reboot", force=force)

    def _show_count(self, *, value_only: bool) -> int:
        from lab.simulators import soft_reboot

        number = soft_reboot.count(self.host)
        print(number if value_only else f"SoftRebootsCount={number}")
        return 0

    def _manager(self, verb: str, options: set[str], values: dict[str, list[str]]) -> int:
        from lab.simulators import manager

        if verb == "is-system-running":
            state = manager.state(self.host)
            print(state)
            return 0 if state == "running" else 1
        if verb == "list-jobs":
            manager.list_jobs(self.host)
        elif verb == "show":
            asked = {name for group in values.get("--property", []) for name in group.split(",")}
            manager.show(self.host, asked, bare="--value" in options)
        elif values.get("--state") == ["failed"] and {"--plain", "--no-legend"} <= options:
            manager.list_failed(self.host)
        else:
            sys.stderr.write("the lab's systemctl lists only --state=failed --plain --no-legend\n")
            return 1
        return 0

    def shutdown(self, argv: list[str]) -> int:
        """`shutdown [-r|-h|-P] [now|+0]`: only an immediate one is simulated; -c has nothing to cancel."""
        if "-c" in argv:
            return 0
        times = [word for word in argv if not word.startswith("-")]
        if times and times[0] not in ("now", "+0", "0"):
            sys.stderr.write(f"the lab's shutdown knows only `now`, not {times[0]}\n")
            return 1
        if not {"-r", "--reboot"} & set(argv):
            return self.request("poweroff")
        return self.reboot(scheduled=bool(times) and times[0] != "now")


def _parse(argv: list[str]) -> tuple[list[str], set[str], dict[str, list[str]]]:
    """Words, options as they were written, and the values of those that have one, by their long names."""
    words: list[str] = []
    options: set[str] = set()
    values: dict[str, list[str]] = {}
    todo = list(argv)
    while todo:
        word = todo.pop(0)
        name, separator, value = word.partition("=")
        if word[:2] in _VALUED and not word.startswith("--"):
            if word[:2] == "-P":
                options.add("--value")
            values.setdefault(_VALUED[word[:2]], []).append(word[2:] or (todo.pop(0) if todo else ""))
        elif name in _LONG_VALUED:
            options.add(word)
            values.setdefault(name, []).append(value if separator else (todo.pop(0) if todo else ""))
        elif word.startswith("-"):
            options.add(word)
        else:
            words.append(word)
    return words, options, values
