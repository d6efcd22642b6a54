# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for a node that goes down and comes back, and saying in which state it is when it does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import HostState
from ansible_collections.imagemode.nodes.plugins.module_utils._core.status_json import StatusNotUnderstood
from ansible_collections.imagemode.nodes.plugins.module_utils._core.usr_proof import UsrWitness, parse_usr_witness
from ansible_collections.imagemode.nodes.plugins.module_utils._host.boot_questions import USR_WITNESS
from ansible_collections.imagemode.nodes.plugins.module_utils._host.observe import (
    GateClosed,
    ObservationFailed,
    Observer,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import (
    NodeUnreachable,
    Runner,
    ShellFailed,
    Step,
)

_SHORTEST_PAUSE, _LONGEST_PAUSE = 1.0, 5.0
# A look costs a connection; a node that is back and was not seen is out of service for nothing. So this part of the time it was away.
_PAUSE_SHARE = 0.05


class Seen(Enum):
    """What a node that did not come back was last seen doing, and what to type next."""

    NOTHING = (
        "it does not answer",
        "It hangs in its shutdown or boot, or came back without network: look at its console, and power-cycle it if nothing moves there.",
    )
    NO_SHELL = (
        "it answers, but runs no commands",
        "Log in to see whether sshd lets nobody in yet (`/run/nologin`), or the login has lost its rights.",
    )
    OLD_BOOT = (
        "it still answers in the old boot",
        "Its shutdown hangs or never began: `systemctl list-jobs` and `systemd-inhibit --list` on the node name what it waits for.",
    )
    NO_STATUS = (
        "it is back in the new boot and runs commands, but its state cannot be read",
        "Type `systemctl --failed` and `bootc status` (or `rpm-ostree status`) on the node.",
    )

    @property
    def words(self) -> str:
        """Half a sentence."""
        return self.value[0]

    @property
    def advice(self) -> str:
        """A sentence."""
        return self.value[1]


class NotBack(Exception):
    """The deadline passed. The message is one sentence about the state, and one about what to do."""

    def __init__(self, message: str, waited: float) -> None:
        super().__init__(message)
        self.waited = waited


@dataclass
class RebootWait:
    """One wait, of at most `limit` seconds. `reconnect` forgets the connection: a kept one leads nowhere after a reboot."""

    runner: Runner
    observer: Observer
    limit: int
    reconnect: Callable[[], None]
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def until(self, gate: Step, started: float) -> tuple[HostState, UsrWitness]:
        """Poll until `gate` is open and the state can be read, which also asks what /usr is. Raises NotBack."""
        seen, detail, last_answer = Seen.NOTHING, "", started
        for pause in self._pauses(started):
            self.sleep(pause)
            self.reconnect()
            try:
                state, (_gate, witness) = self.observer.with_any_tool([gate, USR_WITNESS], gated=True)
            except GateClosed:
                seen, detail = Seen.OLD_BOOT, ""
            except NodeUnreachable as failure:
                seen, detail = Seen.NOTHING, str(failure)
                continue
            except ShellFailed as failure:
                seen, detail = Seen.NO_SHELL, str(failure)
            except (ObservationFailed, StatusNotUnderstood) as failure:
                seen, detail = Seen.NO_STATUS, str(failure)
            else:
                return state, parse_usr_witness(witness.stdout if witness.ok else "")
            last_answer = self.clock()
        waited = self.clock() - started
        because = f" ({detail.rstrip('.')})" if detail else ""
        raise NotBack(
            f"{seen.words}{because}; it last answered {last_answer - started:.0f} s after the order. {seen.advice}",
            waited,
        )

    def _pauses(self, started: float) -> Iterator[float]:
        while (away := self.clock() - started) < self.limit:
            yield min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, _PAUSE_SHARE * away))
