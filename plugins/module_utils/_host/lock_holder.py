# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds the system lock of a node: the kernel knows, where the tools do not say.

ostree locks `/sysroot/ostree/lock` (libostree, ostree-sysroot.c). Since that is an open file description lock where the kernel
has such, /proc/locks names no process; but each process shows the locks of its open files in /proc/PID/fdinfo.
"""

from __future__ import annotations

from ansible_collections.imagemode.nodes.plugins.module_utils._core.process_sketch import ProcessSketch, sketch
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Runner, Step

_LOCK = "/sysroot/ostree/lock"
_SECONDS = 15

# Arguments: LOCK PROC. Prints `PID 1` for a process that holds the lock and `PID 0` for one that merely has the file open,
# because it waits for it; then its stat, its control group and the node's uptime. A name that merely looks like the lock's
# (a container has such a file, too) is told by the file's number.
_SEARCH = r"""
lock=$1 proc=$2
number() { number_is=$(ls -Lid "$1" 2>/dev/null) || return 1; set -- $number_is; number_is=$1; }
number "$lock" || exit 0
wanted=$number_is
ls -l "$proc"/[0-9]*/fd 2>/dev/null | sed -n \
  -e "s|^$proc/\([0-9]*\)/fd:\$|\1|" -e '/^[0-9]*$/h' -e '/-> .*lock$/{G;s/^.* \([0-9]*\) -> .*\n\([0-9]*\)$/\2 \1/p;}' |
  while read -r pid fd; do
    number "$proc/$pid/fd/$fd" && [ "$number_is" = "$wanted" ] || continue
    holds=0
    if grep -q '^lock:' "$proc/$pid/fdinfo/$fd" 2>/dev/null; then holds=1; fi
    echo "process $pid $holds"
    echo "stat $(cat "$proc/$pid/stat" 2>/dev/null)"
    echo "uptime $(cat "$proc/uptime" 2>/dev/null)"
    sed 's/^/cgroup /' "$proc/$pid/cgroup" 2>/dev/null
  done
"""


def lock_holder_step(lock: str = _LOCK, proc: str = "/proc") -> Step:
    """The question, to be put in a batch of others; see `parse_lock_holder`."""
    return Step(("sh", "-c", _SEARCH, "sh", lock, proc), timeout=_SECONDS)


def parse_lock_holder(answer: str) -> ProcessSketch | None:
    """The process that holds the lock; or, if none can be seen to hold it, the one that has had it open for longest."""
    holders: list[ProcessSketch] = []
    waiting: list[ProcessSketch] = []
    for block in answer.split("process ")[1:]:
        head, *lines = block.splitlines()
        pid, _space, holds = head.partition(" ")
        facts: dict[str, str] = {}
        for line in lines:
            key, _blank, value = line.partition(" ")
            facts[key] = f"{facts[key]}\n{value}" if key in facts else value
        found = (
            sketch(int(pid), *(facts.get(key, "") for key in ("stat", "uptime", "cgroup"))) if pid.isdigit() else None
        )
        if found is not None:
            (holders if holds == "1" else waiting).append(found)
    return max(holders or waiting, key=lambda process: process.age or 0, default=None)


def holder(runner: Runner) -> str | None:
    """Who holds the lock, such as "bootc (process 812, running for 3 min, in bootc-fetch-apply-updates.service)"; None if unknown.

    One round trip. Raises NodeUnreachable, ShellFailed.
    """
    outcome = runner.run_one(lock_holder_step())
    found = parse_lock_holder(outcome.stdout) if outcome.ok else None
    return found.describe() if found else None
