# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes of the lab as nodes of the cluster: Ready while they are up, with the boot id that they have."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable
from typing import Protocol

from cluster.api import ApiError

LOOKS_EVERY = 0.2  # seconds


class LabNode(Protocol):
    """What is asked of a lab.node.Node."""

    name: str

    @property
    def boot_id(self) -> str: ...

    def is_up(self) -> bool: ...


class Following:
    """Says what becomes of nodes, in a thread, until ``stop``. ``tell(name, ready, boot_id)`` tells the cluster."""

    def __init__(
        self, nodes: Iterable[LabNode], tell: Callable[[str, bool, str], None], ready_after: float = 0.5
    ) -> None:
        self._nodes = tuple(nodes)
        self._tell = tell
        self._ready_after = ready_after
        self._told: dict[str, tuple[bool, str]] = {}
        self._ended = threading.Event()
        self._look()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(LOOKS_EVERY):
            self._look()

    def _look(self) -> None:
        for node in self._nodes:
            # A node that is destroyed, or an API that is down: look again the next time.
            with contextlib.suppress(OSError, ApiError):
                now = (node.is_up(), node.boot_id)
                before = self._told.get(node.name)
                if now == before:
                    continue
                if before is not None and now[0]:
                    self._ended.wait(self._ready_after)  # kubelet and network come up after the node
                self._tell(node.name, *now)
                self._told[node.name] = now
