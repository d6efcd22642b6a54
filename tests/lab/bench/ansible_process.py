# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of ansible-playbook as a process of its own, with what it cost: seconds, processor time, and when it said what."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lab import inventory
from lab.bench.task_cost import BenchFailure
from lab.playbook_run import Play, Project


@dataclasses.dataclass(frozen=True)
class AnsibleProcess:
    """A run that ended well. ``began`` and ``ended`` are seconds since 1970.

    ``cpu`` are seconds of the processor, of the run and of all that it waited for: commands on the lab's nodes as well.
    ``lines`` are what it said, each with its moment. ``machine_busy`` is the share of the machine's processors that
    anybody used meanwhile, 0 to 1.
    """

    began: float
    ended: float
    cpu: float
    machine_busy: float
    lines: tuple[tuple[float, str], ...]

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    @property
    def cpu_share(self) -> float:
        """The share of the machine's processors that this run used, 0 to 1."""
        return self.cpu / (self.seconds * (os.cpu_count() or 1))

    def said_at(self, words: str) -> float:
        """When a line with these words came first. Raises BenchFailure if none did."""
        for moment, line in self.lines:
            if words in line:
                return moment
        raise BenchFailure(f"no line said {words!r}:\n" + "".join(line for _moment, line in self.lines))


def run(
    project: Project,
    playbook: Path | str | Iterable[Play],
    *,
    extra_vars: Mapping[str, Any] | None = None,
    programs: Path | None = None,
) -> AnsibleProcess:
    """Run a playbook; ``programs`` is the directory of the Ansible to take, else that of this virtual environment.

    Raises BenchFailure with the output if it does not end with status 0.
    """
    programs = programs or Path(inventory.program("ansible-playbook")).parent
    argv = [
        str(programs / "ansible-playbook"),
        *("-i", str(project.directory / "inventory" / "hosts.yml")),
        *(("-e", json.dumps(dict(extra_vars))) if extra_vars else ()),
        str(project.playbook(playbook)),
    ]
    variables = project.environment()
    variables["PATH"] = f"{programs}{os.pathsep}{variables['PATH']}"
    busy_before, all_before = _machine()
    began = time.time()
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=variables,
        cwd=project.directory,
    )
    assert process.stdout is not None
    with process.stdout:
        lines = tuple((time.time(), line) for line in process.stdout)
    # Popen's own wait would drop the usage, and RUSAGE_CHILDREN has that of whatever else ended meanwhile.
    _pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    ended = time.time()
    busy_after, all_after = _machine()
    if process.returncode != 0:
        said = "".join(line for _moment, line in lines)
        raise BenchFailure(f"a run ended with status {process.returncode}:\n{said}")
    machine_busy = (busy_after - busy_before) / max(1, all_after - all_before)
    return AnsibleProcess(began, ended, usage.ru_utime + usage.ru_stime, machine_busy, lines)


def _machine() -> tuple[int, int]:
    """Ticks that all processors worked, and that passed, since the machine started."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return sum(ticks) - idle, sum(ticks)
