# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The action behind rollout_plan: runs once per play, on the controller."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core import rollout_arguments
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import short_digest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_plan import (
    PlanRequest,
    RolloutPlan,
    guard_other_target,
    live_others,
    plan_rollout,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_staging import (
    StagingOutcome,
    staging_from_result,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import Policy, PoolState
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state_json import state_as_dict
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_transitions import allow, forget
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_window import MaxUnavailable
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_wording import names
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_action import (
    ControllerAction,
    GuardError,
    pool_members,
    require_forks,
)
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_controller import Controller
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store import Store, transact
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_selection import platform_job, select_store


class ActionModule(ControllerAction):
    """Checks a rollout before anything is touched, plans its order, pauses it and lets it go on."""

    SPEC = rollout_arguments.PLAN

    def act(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """See the module's documentation."""
        members = pool_members(options["pool"], task_vars)
        store = select_store(options, task_vars, self)
        if options["state"] in ("paused", "resumed"):
            return self._pause(options, store, paused=options["state"] == "paused")
        policy = _policy(options)
        _guard_nodes(options, members, task_vars)
        size = options["pool_size"] or len(members)
        window = policy.max_unavailable.window(size)
        require_forks(window, len(task_vars["ansible_play_hosts_all"]), task_vars)
        if options["state"] == "checked":
            store.check_usable()
            self._guard_target(options, task_vars, store)
            return {
                "changed": False,
                "at": time.time(),
                "pool_size": size,
                "window": window,
                "store_path": store.place,
                "msg": f"{options['pool']}: {size} nodes, window {window}, state in {store.place}",
            }
        return self._plan(options, task_vars, members, policy, store)

    def _guard_target(self, options: dict[str, Any], task_vars: dict[str, Any], store: Store) -> None:
        """Staging comes before planning, and what it stages boots at the next reboot, whoever asks for that one."""
        state, _version = store.read()
        if state is not None and options["expected_digests"]:
            controller = Controller(platform_job(task_vars))
            others = live_others(state, controller.holder, options["take_over"], controller.liveness)
            guard_other_target(state, options["expected_digests"], others)

    def _plan(
        self,
        options: dict[str, Any],
        task_vars: dict[str, Any],
        members: tuple[str, ...],
        policy: Policy,
        store: Store,
    ) -> dict[str, Any]:
        controller = Controller(platform_job(task_vars))
        targets = tuple(options["expected_digests"])
        hostvars = task_vars["hostvars"]
        request = PlanRequest(
            pool=options["pool"],
            members=members,
            stagings=tuple(
                staging_from_result(node, hostvars[node].get(options["staging"]), targets, self.check_mode)
                for node in map(str, task_vars["ansible_play_hosts_all"])
            ),
            policy=policy,
            target_digests=targets,
            holder=controller.holder,
            now=time.time(),
            since=options["since"],
            canaries=tuple(options["canaries"]),
            pool_size=options["pool_size"],
            shared=store.is_shared,
            take_over=options["take_over"],
        )

        def change(state: PoolState | None) -> tuple[PoolState | None, tuple[RolloutPlan, bool]]:
            kept = allow(forget(state, options["forget"], controller.liveness), options["allow"]) if state else None
            plan = plan_rollout(kept, request, controller.liveness)
            changed = plan.changed or kept is not state
            return (plan.state if changed and not self.check_mode else None), (replace(plan, before=state), changed)

        plan, changed = transact(store, change)
        lines = _lines(plan, request)
        for line in lines:
            self.say(line)
        return {**_result(plan, changed), "store_path": store.place, "msg": lines[0]}

    def _pause(self, options: dict[str, Any], store: Store, paused: bool) -> dict[str, Any]:
        def change(state: PoolState | None) -> tuple[PoolState | None, PoolState]:
            if state is None:
                raise GuardError(f"{store.place} does not exist: no rollout of this pool was ever planned.")
            if state.paused == paused:
                return None, state
            return (None if self.check_mode else replace(state, paused=paused)), state

        before = transact(store, change)
        word = "paused: no further node goes out of service" if paused else "free to go on: run the rollout again"
        return {
            "changed": before.paused != paused,
            "store_path": store.place,
            "msg": f"{options['pool']} is {word}",
            "diff": {"before": f"paused: {before.paused}\n", "after": f"paused: {paused}\n"},
        }


def _policy(options: Mapping[str, Any]) -> Policy:
    if options["max_failures"] < 1:
        raise GuardError(
            f"max_failures is {options['max_failures']}. Give 1 or more: the failure that stops the rollout."
        )
    if options["pool_size"] is not None and options["pool_size"] < 1:
        raise GuardError(f"pool_size is {options['pool_size']}. Give the number of nodes in the whole pool.")
    return Policy(MaxUnavailable.parse(options["max_unavailable"]), options["max_failures"])


def _guard_nodes(options: Mapping[str, Any], members: tuple[str, ...], task_vars: Mapping[str, Any]) -> None:
    outside = tuple(str(node) for node in task_vars["ansible_play_hosts_all"] if node not in members)
    if outside:
        raise GuardError(
            f"the play also runs on {names(outside)}, which the group {options['pool']} does not have. Run it on the pool alone: "
            "the window counts its nodes."
        )
    unknown = tuple(node for node in options["canaries"] if node not in members)
    if unknown:
        raise GuardError(f"imagemode_canaries names {names(unknown)}, which the group {options['pool']} does not have.")


# A pool whose registry is down has one reason per node, and they are all the same.
_REASONS_SHOWN = 6


def _result(plan: RolloutPlan, changed: bool) -> dict[str, Any]:
    before = state_as_dict(plan.before) if plan.before else {}
    return {
        "changed": changed,
        "order": list(plan.order),
        "window": plan.state.window,
        "pool_size": plan.state.pool_size,
        "resumed_nodes": list(plan.resumed),
        "retried_nodes": list(plan.retried),
        # A result with a key "unreachable" would itself be an unreachable host to Ansible.
        "unreachable_nodes": list(plan.unreachable),
        "unstaged_nodes": list(plan.unstaged),
        "right_nodes": list(plan.right),
        "halted": bool(plan.halted),
        "reason": plan.halted,
        "diff": {
            "before_header": "rollout state",
            "after_header": "rollout state",
            "before": before,
            "after": state_as_dict(plan.state) if changed else before,
        },
    }


def _lines(plan: RolloutPlan, request: PlanRequest) -> list[str]:
    state, pool = plan.state, request.pool
    target = f" to {short_digest(request.target_digests[0])}" if request.target_digests else ""
    held_back = [
        item for item in request.stagings if item.outcome is StagingOutcome.READY and item.node not in plan.order
    ]
    right = [node for node in plan.right if node not in plan.order]
    waiting = f", {len(held_back)} staged and held back" if held_back else ""
    lines = [
        f"{pool}: {state.pool_size} nodes, {len(request.stagings)} in this run; {len(plan.order)} to update{target}{waiting}, "
        f"{len(right)} already right; window {state.window}"
    ]
    told = (
        (plan.resumed, "out of service already, to be finished first"),
        (plan.retried, "failed before, tried again"),
        (plan.unreachable, "not reachable: counts as out of service"),
        (plan.unstaged, "not staged: in service on the old image"),
    )
    lines += [f"{pool}: {names(nodes)}: {what}" for nodes, what in told if nodes]
    for name in state.failures[:_REASONS_SHOWN]:
        lines.append(f"{pool}: {name} failed: {state.nodes[name].reason or state.nodes[name].phase}")
    if plan.halted:
        finish = f" Only {names(plan.order)} will be finished." if plan.order else " No node is taken out of service."
        lines.append(f"{pool}: stopped: {plan.halted}.{finish} Set that right, then run the same command again.")
    return lines
