# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stores on other machines share: they are asked again for a while when they do not answer, and a swap whose
answer was lost is looked up instead of guessed."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import PoolState
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state_json import StateError, load_state
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_wording import spoken
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store import StoreError
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_line import last_change, note_change

Result = TypeVar("Result")

# As long as an API server, or the host of a store, takes to restart.
PATIENCE_SECONDS = 300.0
_SPEAK_EVERY = 30.0
_PAUSES = (1.0, 2.0, 5.0)


class StoreLost(StoreError):
    """The store did not answer. The same question may be answered in a while."""


class RemoteStore(ABC):
    """A store that is a round trip away. Subclasses say how to fetch and to replace; both may raise StoreLost."""

    is_shared = True
    poll_seconds: float

    def __init__(self, pool: str, say: Callable[[str], None], patience: float = PATIENCE_SECONDS) -> None:
        self._pool = pool
        self._say = say
        self._patience = patience
        self._ahead: PoolState | None = None

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the state is, for people."""

    @abstractmethod
    def _probe(self) -> None:
        """Raise StoreError unless the state could be replaced."""

    @abstractmethod
    def _fetch(self) -> PoolState | None:
        """What is stored."""

    @abstractmethod
    def _put(self, state: PoolState, version: int) -> bool:
        """Replace the stored state by `state` if its generation is `version`, 0 if there must be none."""

    @abstractmethod
    def _how_to_remove(self) -> str:
        """What a person does to make the pool begin anew."""

    @property
    def changed_here(self) -> object:
        """See Store.changed_here."""
        return last_change(self._pool)

    def check_usable(self) -> None:
        """See Store.check_usable. A mistake in the options must show at once, so a lost store is not waited for."""
        self._probe()
        self._fetch()

    def read(self) -> tuple[PoolState | None, int]:
        """See Store.read. What the last `stamp` brought is used up first: a swap on it fails if it is old by then."""
        state, self._ahead = self._ahead, None
        if state is None:
            state = self._persistently(self._fetch)
        return state, state.generation if state else 0

    def stamp(self) -> object:
        """See Store.stamp. It is a whole read, because a round trip costs more than what it carries."""
        self._ahead = self._persistently(self._fetch)
        return self._ahead.generation if self._ahead else 0

    def swap(self, state: PoolState, version: int) -> bool:
        """See Store.swap. After a lost answer, what is stored tells whether it was done."""
        new = replace(state, generation=version + 1)
        self._ahead = None
        tries = 0

        def put() -> bool:
            nonlocal tries
            tries += 1
            if self._put(new, version):
                return True
            return tries > 1 and self._fetch() == new

        done = self._persistently(put)
        if done:
            note_change(self._pool)
        return done

    def _persistently(self, work: Callable[[], Result]) -> Result:
        """Do `work` until the store answers, or patience ends. Raises StoreLost then."""
        started = time.monotonic()
        spoke = -_SPEAK_EVERY
        number = 0
        while True:
            try:
                return work()
            except StoreLost as error:
                passed = time.monotonic() - started
                pause = min(_PAUSES[min(number, len(_PAUSES) - 1)], max(0.05, self._patience / 5))
                if passed + pause > self._patience:
                    raise StoreLost(f"{error} It was asked again for {spoken(passed)}.") from error
                if passed - spoke >= _SPEAK_EVERY:
                    spoke = passed
                    left = spoken(self._patience - passed)
                    self._say(f"{self._pool}: {error} No node goes meanwhile; asked again for up to {left}.")
            number += 1
            time.sleep(pause)

    def _understood(self, text: str) -> PoolState:
        """The state in what was fetched. Raises StoreError where it cannot be used."""
        try:
            state = load_state(text)
            if state.pool != self._pool:
                raise StateError(f"it is about the pool {state.pool}")
        except StateError as error:
            raise StoreError(
                f"{self.place} is not a state of pool {self._pool} that can be used: {error}. It says which nodes are out of "
                "service, so nothing is done without it. Restore it from a backup; or, if no rollout of this pool is running "
                f"and all its nodes are in service, {self._how_to_remove()} and run again."
            ) from error
        return state
