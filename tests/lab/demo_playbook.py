# SPDX-License-Identifier: GPL-3.0-or-later
"""A playbook of the collection as the demo runs it: the command shown, its output passed through, its recap read."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lab import inventory

RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)")
STOP_SECONDS = 5.0  # Ansible itself sometimes hangs when interrupted: a worker died with the lock of the result queue


class DemoFailure(Exception):
    """The demo did not end as it should. The text says what was seen and what to do."""


@dataclasses.dataclass(frozen=True)
class Recap:
    """The counters of a run's last lines, over all hosts."""

    changed: int
    unreachable: int
    failed: int


def run(directory: Path, playbook: str, pool: str) -> Recap:
    """Run it over the demo's inventory in ``directory``; raises DemoFailure when it fails."""
    words = ["-i", relative(directory / "inventory/hosts.yml"), f"playbooks/{playbook}"]
    words += ["-e", f"imagemode_pool={pool}"]
    configuration = relative(directory / "ansible.cfg")
    program = inventory.program("ansible-playbook")
    print(f"$ ANSIBLE_CONFIG={configuration} {relative(Path(program))} {shlex.join(words)}\n", flush=True)
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", program, *words],  # it ends with us, however we end
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=inventory.CHECKOUT,
        env=_environment(directory),
        start_new_session=True,
    )
    changed = unreachable = failed = 0
    with _ended_with_us(process):
        for line in process.stdout or ():
            print(line, end="", flush=True)
            if recap := RECAP.match(line):
                changed += int(recap[2])
                unreachable += int(recap[3])
                failed += int(recap[4])
        status = process.wait()
    if status != 0:
        raise DemoFailure(f"{playbook} ended with status {status}; what it saw is above")
    return Recap(changed, unreachable, failed)


def _environment(directory: Path) -> dict[str, str]:
    return {
        **os.environ,
        "ANSIBLE_CONFIG": str(directory / "ansible.cfg"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
        # The demo's builds leave nothing in the machine's own storage and cache: it goes with the directory.
        "CONTAINERS_STORAGE_CONF": str(directory / "storage.conf"),
        "XDG_CACHE_HOME": str(directory / "cache"),
    }


@contextlib.contextmanager
def _ended_with_us(process: subprocess.Popen[str]) -> Iterator[None]:
    """Interrupt the run when we are interrupted, as a person's Ctrl-C would, and insist when it does not end."""
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if process.poll() is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)


def relative(path: Path) -> str:
    """As short as it can be typed in the checkout."""
    full = path.absolute()
    return str(full.relative_to(inventory.CHECKOUT) if full.is_relative_to(inventory.CHECKOUT) else full)
