# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The action behind rollout_slot: runs on the controller, in the worker of the node it is about."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core import rollout_arguments
from ansible_collections.imagemode.nodes.plugins.module_utils._core.duration import parse_duration
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_decision import (
    Decision,
    Request,
    Verdict,
    predict,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_plan import denied_text
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_progress import tally
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import PoolState, SlotState
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state_json import slot_as_dict
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_transitions import (
    deny,
    fail,
    keep,
    owned,
    release,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_wording import spoken
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_action import (
    ControllerAction,
    GuardError,
    play_strategy,
    pool_members,
    require_forks,
)
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_controller import Controller
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_line import Announcer, WaitingLine
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_waiting import (
    ControllerGone,
    SlotWaiter,
    WaitTimeout,
)
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store import Store, transact
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_line import open_line
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_selection import platform_job, select_store

# Others wait in a blocking task while this node works; only this strategy lets a node finish without them.
_HELD_PHASE = "out of service"
_STRATEGIES = ("host_pinned", "ansible.builtin.host_pinned")


class ActionModule(ControllerAction):
    """Takes, gives back or shows one node's slot."""

    SPEC = rollout_arguments.SLOT

    def act(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """See the module's documentation."""
        node = str(task_vars["inventory_hostname"])
        if node not in pool_members(options["pool"], task_vars):
            raise GuardError(f"{node} is not in the group {options['pool']}, so it has no slot there.")
        store = select_store(options, task_vars, self)
        controller = Controller(platform_job(task_vars))
        if options["state"] == "held":
            return self._hold(options, task_vars, node, store, controller)
        if options["state"] == "status":
            state, _version = store.read()
            digests = options["expected_digests"] or (state.target_digests if state else ())
            return {
                "changed": False,
                **_described(state, node),
                "denied": denied_text(state, digests) if state else "",
                "msg": _status_line(state, node, options["pool"]),
            }
        return self._end(options, node, store, controller)

    def _hold(
        self, options: dict[str, Any], task_vars: dict[str, Any], node: str, store: Store, controller: Controller
    ) -> dict[str, Any]:
        before = self._guarded(task_vars, store)
        request = Request(
            node=node,
            holder=controller.holder,
            now=time.time(),
            phase=options["phase"] or _HELD_PHASE,
            zone=options["zone"],
            from_digest=options["from_digest"],
            from_checksum=options["from_checksum"],
            boot_id=options["boot_id"],
            target_digests=tuple(options["expected_digests"]),
            take_over=options["take_over"],
        )
        if self.check_mode:
            return self._predicted(options["pool"], node, before, request, controller)
        timeout = parse_duration(options["wait_timeout"], "wait_timeout")
        began = time.time()
        waiter = SlotWaiter(store, controller)
        try:
            queue = list(map(str, task_vars["ansible_play_hosts_all"]))
            position = queue.index(node)
            with contextlib.closing(WaitingLine(open_line(options["pool"]), controller.holder, position)) as line:
                ahead = queue[position - 1] if position else None
                decision = waiter.wait(request, timeout, line, Announcer(self.say), ahead)
        except ControllerGone:
            # Nobody reads a result any more, and the worker's own clean-up would wait for somebody who does.
            os._exit(1)
        except WaitTimeout as error:
            return {
                "failed": True,
                "msg": f"{error} (waited {spoken(timeout)}, which is wait_timeout)",
                "halted": False,
                "awaiting_approval": False,
                "denied": "",
                "slot_state": "waiting",
                "waited": round(time.time() - began, 1),
                "changed": False,
            }
        if options["deny"] and decision.verdict is Verdict.GRANTED:
            decision = replace(decision, state=self._deny(options, node, store))
        return {**self._answered(node, before, decision, request), "waited": round(time.time() - began, 1)}

    def _deny(self, options: dict[str, Any], node: str, store: Store) -> PoolState:
        """Before anything is undone: a run that dies in a rollback must leave it known that the image is bad."""

        def change(state: PoolState | None) -> tuple[PoolState | None, PoolState]:
            if state is None:
                raise GuardError(f"{store.place} does not exist any more, so nothing can be denied there.")
            digests = options["expected_digests"] or state.target_digests
            after = deny(state, digests, f"{node}: {options['reason'] or 'its update failed'}", time.time())
            return after, after

        return transact(store, change)

    def _predicted(
        self, pool: str, node: str, before: PoolState | None, request: Request, controller: Controller
    ) -> dict[str, Any]:
        decision = predict(before or PoolState(pool, 1), request, controller.liveness)
        if decision.verdict is Verdict.HALTED:
            return {**self._answered(node, before, decision, request), "waited": 0.0}
        after = decision.state
        changed = before is None or before.nodes.get(node) != after.nodes.get(node)
        return {
            "changed": changed,
            **_described(after if before else None, node),
            **_held(decision, request),
            "waited": 0.0,
            "msg": f"{pool}: {node} would go out of service in its turn",
            "diff": _diff(before, after, node),
        }

    def _answered(self, node: str, before: PoolState | None, decision: Decision, request: Request) -> dict[str, Any]:
        state = decision.state
        if decision.verdict is Verdict.HALTED:
            return {
                "failed": True,
                "changed": False,
                "halted": True,
                "awaiting_approval": False,
                "slot_state": "refused",
                "denied": "",
                "reason": decision.reason,
                "msg": (
                    f"{state.pool}: {node} stays in service on its old image: {decision.reason}. Set that right, then run the "
                    "same command again; it carries on where this one stopped."
                ),
            }
        if decision.verdict is Verdict.UNAPPROVED:
            return {
                "changed": False,
                "halted": False,
                "awaiting_approval": True,
                "slot_state": "unapproved",
                "denied": "",
                "reason": decision.reason,
                "msg": f"{state.pool}: {node} stays in service on its old image: {decision.reason}.",
            }
        old, new = before.nodes.get(node) if before else None, state.nodes.get(node)
        changed = old != new or (before is not None and before.denied != state.denied)
        out = state.out_of_service
        adopted = f", {decision.reason}" if decision.reason else ""
        line = f"{state.pool}: {node} goes now{adopted} ({len(out)} of {state.window} out of service; {tally(state)})"
        if (
            new is not None
            and old is not None
            and request.holder.is_same_process(old.holder)
            and not decision.phase_before
        ):
            # It is out of service already, and only does something else now.
            line = f"{state.pool}: {node}: {new.phase}"
        if changed:
            self.say(line)
        return {
            "changed": changed,
            **_described(state, node),
            **_held(decision, request),
            "msg": line,
            "diff": _diff(before, state, node),
        }

    def _guarded(self, task_vars: dict[str, Any], store: Store) -> PoolState | None:
        """What is stored, if the play is one in which nodes can wait for each other. Raises GuardError."""
        strategy = play_strategy(self._task)
        if strategy not in _STRATEGIES:
            raise GuardError(
                f"the play's strategy is {strategy or 'unknown'}. A node that waits for its slot blocks its worker, and under any "
                "strategy but host_pinned the nodes that hold the slots would wait for it in turn, for ever. Write "
                "'strategy: ansible.builtin.host_pinned' into the play."
            )
        state, _version = store.read()
        if state is not None:
            require_forks(state.window, len(task_vars.get("ansible_play_hosts_all") or ()), task_vars)
        return state

    def _end(self, options: dict[str, Any], node: str, store: Store, controller: Controller) -> dict[str, Any]:
        now = time.time()
        ended = (
            SlotState.FAILED if options["state"] == "failed" else SlotState.KEPT if options["state"] == "kept" else None
        )
        reason = options["reason"] or "its update failed"

        def change(state: PoolState | None) -> tuple[PoolState | None, tuple[PoolState | None, PoolState | None]]:
            if state is None:
                return None, (None, None)
            if self.check_mode:
                state = owned(state, node, controller.holder)
            if ended is SlotState.FAILED:
                new = fail(state, node, controller.holder, now, reason)
            elif ended is SlotState.KEPT:
                new = keep(state, node, controller.holder, now, reason, options["phase"])
            else:
                new = release(state, node, controller.holder, now)
            if ended and options["deny"] and new is not state:
                new = deny(new, options["expected_digests"] or state.target_digests, f"{node}: {reason}", now)
            return (None if self.check_mode else new), (state, new)

        before, after = transact(store, change)
        if before is None and not self.check_mode:
            raise GuardError(
                f"{store.place} does not exist: no rollout of this pool was planned, so {node} has no slot to end."
            )
        held = before.nodes.get(node) if before else None
        changed = after is not before
        seconds = round(now - held.since, 1) if held and changed else None
        result = {
            "changed": changed,
            **_described(after, node),
            "slot_state": options["state"],
            "seconds": seconds,
            "diff": _diff(before, after, node),
        }
        if ended:
            result["reason"] = reason
        result["msg"] = _end_line(options["pool"], node, ended, reason, seconds, after)
        if changed and not self.check_mode:
            self.say(result["msg"])
        return result


def _held(decision: Decision, request: Request) -> dict[str, Any]:
    """What is returned about a slot that was granted."""
    slot = decision.state.nodes[request.node]
    return {
        "slot_state": "held",
        "at": slot.phase_since,
        "phase_before": decision.phase_before,
        "from_digest": slot.from_digest,
        "from_checksum": slot.from_checksum,
        "denied": denied_text(decision.state, request.target_digests or decision.state.target_digests),
        "halted": False,
        "awaiting_approval": False,
    }


def _end_line(
    pool: str, node: str, ended: SlotState | None, reason: str, seconds: float | None, state: PoolState | None
) -> str:
    counts = f"; {tally(state)}" if state else ""
    reason = reason.removeprefix(f"{pool}: ").rstrip(
        "."
    )  # it stands in the middle of a line which says the pool already
    if seconds is None:
        return f"{pool}: {node} held no slot{counts}"
    if ended is SlotState.FAILED:
        return f"{pool}: {node} failed after {spoken(seconds)} and keeps its place in the window: {reason}{counts}"
    if ended is SlotState.KEPT:
        return f"{pool}: {node} is back in service on its old image after {spoken(seconds)}: {reason}{counts}"
    return f"{pool}: {node} is back in service, out of service {spoken(seconds)}{counts}"


def _described(state: PoolState | None, node: str) -> dict[str, Any]:
    slot = state.nodes.get(node) if state else None
    return {
        "slot": slot_as_dict(slot) if slot else None,
        "out_of_service": list(state.out_of_service) if state else [],
        "window": state.window if state else None,
    }


def _status_line(state: PoolState | None, node: str, pool: str) -> str:
    if state is None:
        return f"{pool}: no rollout was ever planned"
    slot = state.nodes.get(node)
    told = f"{slot.state.value}, {slot.phase} for {spoken(time.time() - slot.since)}" if slot else "in service"
    return f"{pool}: {node} is {told}; {tally(state)}"


def _diff(before: PoolState | None, after: PoolState | None, node: str) -> dict[str, Any]:
    def text(state: PoolState | None) -> str:
        slot = state.nodes.get(node) if state else None
        return f"{slot.state.value}: {slot.phase}\n" if slot else "in service\n"

    return {
        "before_header": f"{node} slot",
        "after_header": f"{node} slot",
        "before": text(before),
        "after": text(after),
    }
