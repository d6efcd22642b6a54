# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds a slot: the identity of a controller, so that a later one can tell whether it is still there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Liveness(Enum):
    """What can be known about the process behind a slot."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Holder:
    """One controller process.

    `machine` tells machines of one host name apart. `boot` and `pid_namespace` say in which life of the machine, and in
    which container, `pid` means something; `start_time` (clock ticks since that boot) tells the process from a later one
    with the same number. The four are empty where the operating system does not tell. `user` and `job` are only for people.
    """

    host: str
    pid: int
    boot: str = ""
    pid_namespace: str = ""
    start_time: str = ""
    user: str = ""
    job: str = ""
    machine: str = ""

    @property
    def identity(self) -> str:
        """What tells this process from any other one, as text."""
        return "\n".join(str(part) for part in self._process())

    def is_same_process(self, other: Holder | None) -> bool:
        """Whether both are the same process, whatever the fields for people say."""
        return other is not None and self._process() == other._process()

    def _process(self) -> tuple[str, str, int, str, str, str]:
        return (self.host, self.machine, self.pid, self.boot, self.pid_namespace, self.start_time)

    def __str__(self) -> str:
        user = f" of {self.user}" if self.user else ""
        job = f" (job {self.job})" if self.job else ""
        return f"process {self.pid}{user} on {self.host}{job}"
