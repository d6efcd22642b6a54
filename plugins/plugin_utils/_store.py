# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a pool's state lives: a compare-and-swap object, whatever it is kept in."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import PoolState

Result = TypeVar("Result")


class StoreError(Exception):
    """The store cannot be used. The message says where it is, what was seen, and what to do."""


class Store(Protocol):
    """One pool's state. Implementations differ in where it is, never in what it means."""

    @property
    def place(self) -> str:
        """Where the state is, for people."""

    @property
    def is_shared(self) -> bool:
        """Whether controllers with other inventories use it, so that it may name nodes which this one does not know."""

    @property
    def poll_seconds(self) -> float:
        """How long to wait between two looks. Where a look is a round trip, only the head of the line should take it."""

    @property
    def changed_here(self) -> object:
        """Something that differs after a process of this play changed the state, for nothing but a look at a local file.

        Where every look is as cheap it never differs."""

    def check_usable(self) -> None:
        """Raises StoreError, without trying for long, unless the state can be read and replaced. Stores nothing."""

    def read(self) -> tuple[PoolState | None, int]:
        """The state and its version; `(None, 0)` when there is none yet. Raises StoreError."""

    def swap(self, state: PoolState, version: int) -> bool:
        """Store `state` if the version is still `version`; False if somebody else was faster. Raises StoreError."""

    def stamp(self) -> object:
        """Something cheap that differs after a change of the state. Raises StoreError."""


def transact(
    store: Store,
    change: Callable[[PoolState | None], tuple[PoolState | None, Result]],
    deadline: float = 60.0,
) -> Result:
    """Apply `change` to what is stored, again on top of whatever somebody else stored in between.

    `change` returns the new state (the same object, or None: nothing to store) and a result, and must be free of side
    effects: it may run several times. Raises StoreError after `deadline` seconds of losing the race.
    """
    until = time.monotonic() + deadline
    pause = 0.05
    while True:
        state, version = store.read()
        new, result = change(state)
        if new is None or new is state or store.swap(new, version):
            return result
        if time.monotonic() > until:
            raise StoreError(
                f"{store.place} is changed by others all the time: no change got in within {deadline:.0f} s."
            )
        time.sleep(random.uniform(pause / 10, pause))  # noqa: S311 - only spreads the retries
        pause = min(2 * pause, store.poll_seconds)
