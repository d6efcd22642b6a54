# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits in a worker until a node's slot is granted, or will not be."""

from __future__ import annotations

import math
import time
from dataclasses import replace

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_decision import (
    Decision,
    Request,
    Verdict,
    decide,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_progress import waiting_line
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import PoolState
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_controller import Controller
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_line import Announcer, WaitingLine
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store import Store, StoreError, transact

_POLL = 0.5
# Whether the process of another slot died shows in no file, so the store is asked at times without having changed.
_LOOK_ANYWAY = 5.0
# How long a worker that was started after another one may come to the line before it: on a busy machine that happens.
_ARRIVAL = 3.0


class ControllerGone(Exception):
    """The play's process died; this worker must not take a slot that nobody would give back."""


class WaitTimeout(Exception):
    """The slot was not granted in the time that the caller has. The message says who was waited for."""


class SlotWaiter:
    """Asks the store for one node's slot until there is an answer."""

    def __init__(self, store: Store, controller: Controller) -> None:
        self._store = store
        self._controller = controller

    def wait(
        self, request: Request, timeout: float, line: WaitingLine, announcer: Announcer, before: str | None = None
    ) -> Decision:
        """The decision GRANTED (stored), HALTED or UNAPPROVED. `timeout` in seconds, 0: none. `before`: the node whose turn in the
        play is just before this one's. Raises ControllerGone, WaitTimeout."""
        started = time.monotonic()
        watch = _Watch(self._store)
        waits_for_itself = False
        until = math.inf
        while True:
            if self._controller.is_gone:
                raise ControllerGone
            if watch.shows_change(line.is_head, waits_for_itself, time.time() >= until):
                arrival = started + _ARRIVAL - time.monotonic()
                asked = replace(request, now=time.time(), is_first_in_line=line.is_head)
                decision = self.ask(asked, before if arrival > 0 else None)
                if decision.verdict is not Verdict.WAIT:
                    return decision
                until = math.inf if decision.until is None else decision.until
                if before and arrival > 0:
                    until = min(until, time.time() + arrival)
            waits_for_itself = decision.behind == (request.node,)
            (line.step_aside if waits_for_itself else line.join)()
            if waits_for_itself or line.is_head:
                _announce(announcer, request.node, decision)
            if timeout and time.monotonic() - started > timeout:
                raise WaitTimeout(
                    waiting_line(decision.state, request.node, decision.behind, decision.reason, time.time())
                )
            time.sleep(_POLL)

    def ask(self, request: Request, before: str | None = None) -> Decision:
        """One question; a grant is stored. Nobody overtakes `before`, of which nothing has been heard yet."""

        def change(state: PoolState | None) -> tuple[PoolState | None, Decision]:
            if state is None:
                raise StoreError(
                    f"{self._store.place} does not exist, so this pool has no plan: run rollout_plan with state planned before."
                )
            if self._controller.is_gone:
                raise ControllerGone
            is_overtaking = before is not None and before not in state.nodes and before not in state.returned
            asked = replace(request, is_first_in_line=False) if is_overtaking else request
            decision = decide(state, asked, self._controller.liveness)
            return decision.state, decision

        return transact(self._store, change)


class _Watch:
    """When one waiting worker looks at the store again. Where a look is a round trip, those behind the head do without:
    they could not go first whatever they saw."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: object = None
        self._here: object = None
        self._was_head = False
        self._looked = self._asked = -math.inf

    def shows_change(self, is_head: bool, waits_for_itself: bool, time_has_come: bool) -> bool:
        """Whether the store is to be asked: at first, as the new head, after a change, and at times without one."""
        now, here = time.monotonic(), self._store.changed_here
        becomes_head = is_head and not self._was_head
        self._was_head = is_head
        if time_has_come and (is_head or waits_for_itself):
            self._known = None
        elif self._asked > -math.inf and not becomes_head:
            may_look = is_head or waits_for_itself or self._store.poll_seconds <= _POLL
            is_due = here != self._here or now - self._looked >= self._store.poll_seconds
            if not (may_look and is_due):
                return False
        self._looked, self._here = now, here
        seen = (self._store.stamp(), is_head)
        if seen == self._known and now - self._asked <= _LOOK_ANYWAY:
            return False
        self._known, self._asked = seen, now
        return True


def _announce(announcer: Announcer, node: str, decision: Decision) -> None:
    state = decision.state

    def line() -> str:
        return waiting_line(state, node, decision.behind, decision.reason, time.time())

    announcer.tell((decision.behind, state.progress.done, state.failures), line, decision.until)
