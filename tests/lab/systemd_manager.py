# SPDX-License-Identifier: GPL-3.0-or-later
"""A real systemd for one test, in namespaces of its own: units, jobs and signals as they are, and nothing of this machine.

It sees a read-only root, an empty /run, and no units but those that are made in it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAM = Path("/lib/systemd/systemd")
CGROUPS = Path("/sys/fs/cgroup")
START_SECONDS = 20.0

_BOOT = r"""
set -e
echo $$ >"$2/cgroup.procs"
exec unshare --pid --fork --kill-child --mount --mount-proc --uts --ipc --cgroup sh -ec '
mount --make-rprivate /
if [ -d /sys/fs/cgroup/systemd ]; then
  mount -t tmpfs tmpfs /sys/fs/cgroup
  mkdir /sys/fs/cgroup/systemd
  mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
else
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/systemd/system
mount --bind "$1" "$1"
mount -o remount,ro,bind /
export container=lab SYSTEMD_UNIT_PATH="$1/units"
exec "$2" --system --unit=default.target --log-target=console --show-status=no
' sh "$1" "$3"
"""


def missing() -> str | None:
    """Why there can be no systemd here, or None."""
    if os.geteuid() != 0:
        return "a systemd of one's own needs root"
    if not PROGRAM.exists():
        return f"there is no {PROGRAM}"
    for tool in ("unshare", "nsenter", "systemd-run"):
        if shutil.which(tool) is None:
            return f"there is no {tool}"
    return None


class Manager:
    """A running systemd."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def command(self, *argv: str) -> list[str]:
        """The argv that runs a command where this systemd is the init process."""
        return ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--uts", "--ipc", "--cgroup", *argv]

    def sh(self, script: str) -> str:
        """Standard output of a shell script there."""
        done = subprocess.run(
            self.command("/bin/sh", "-s"), input=script, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout


class NotComing(Exception):
    """This kernel or this container does not let a systemd start. ``str()`` is what it said."""


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Manager]:
    """A systemd that keeps what it needs in ``directory``, which is writable for its units. Raises NotComing."""
    units = directory / "units"
    units.mkdir(parents=True)
    for name in ("default", "basic", "sysinit", "shutdown"):
        (units / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")
    log = directory / "log"
    group = (CGROUPS / "systemd" if (CGROUPS / "systemd").is_dir() else CGROUPS) / f"lab-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        raise NotComing(str(error)) from error
    argv = ["sh", "-c", _BOOT, "sh", str(directory), str(group), str(PROGRAM)]
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
    try:
        yield _ready(process, log)
    finally:
        process.kill()
        process.wait()
        _remove(group)


def _ready(process: subprocess.Popen[bytes], log: Path) -> Manager:
    end = time.monotonic() + START_SECONDS
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found = children.read_text().split()
            if found and Path(f"/proc/{found[0]}/comm").read_text().strip() == "systemd":
                manager = Manager(int(found[0]))
                if manager.sh("systemctl is-system-running").strip() == "running":
                    return manager
        time.sleep(0.1)
    process.kill()
    raise NotComing(log.read_text(errors="replace").strip()[-500:] or "it said nothing")


def _remove(group: Path) -> None:
    """Remove a control group once its processes are gone."""
    end = time.monotonic() + START_SECONDS
    while group.exists() and time.monotonic() < end:
        for path, _directories, _files in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(path)
        time.sleep(0.05)
