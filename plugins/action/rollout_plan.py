# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The action behind rollout_plan: runs once per play, on the controller."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.duration import parse_duration
from ansible_collections.imagemode.nodes.plugins.module_utils._core.health_checks import HealthCheckError, parse_checks
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import short_digest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.maintenance_window import parse_windows
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_arguments import PLAN
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_cluster import ClusterNode, cluster_nodes
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_entries import NOT_READY
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_halting import overdue_text
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_order import Order
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_plan import (
    RolloutPlan,
    denied_text,
    guard_other_target,
    live_others,
    one_at_a_time,
    plan_rollout,
    unfinished,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_request import PlanRequest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_staging import (
    StagingOutcome,
    staging_from_result,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import (
    OutsideWindow,
    Policy,
    PoolState,
    SlotState,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state_json import state_as_dict
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_window import NodeLimit
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_wording import names
from ansible_collections.imagemode.nodes.plugins.module_utils._core.unknown_names import unknown_names
from ansible_collections.imagemode.nodes.plugins.plugin_utils._known_variables import PREFIX, known_variables
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
    """Checks a rollout before anything is touched, and plans its order."""

    SPEC = PLAN

    def act(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """See the module's documentation."""
        members = pool_members(options["pool"], task_vars)
        store = select_store(options, task_vars, self)
        cluster = {name: node for name, node in cluster_nodes(options["cluster"]).items() if name in members}
        policy = _policy(options)
        if _is_control_plane(options, cluster):
            policy = one_at_a_time(policy)
        _guard_nodes(options, members, task_vars)
        zones = _zones(options, cluster)
        size = options["pool_size"] or len(members)
        window = policy.max_unavailable.of(size)
        require_forks(window, len(task_vars["ansible_play_hosts_all"]), task_vars)
        if options["state"] == "checked":
            return self._checked(options, task_vars, store, size, window)
        return self._plan(options, task_vars, members, policy, zones, cluster, store)

    def _checked(
        self, options: dict[str, Any], task_vars: dict[str, Any], store: Store, size: int, window: int
    ) -> dict[str, Any]:
        """Staging comes before planning, and what it stages boots at the next reboot, whoever asks for that one."""
        _guard_variables(options, task_vars)
        store.check_usable()
        state, _version = store.read()
        targets = options["expected_digests"]
        denied, finish = "", []
        if state is not None:
            controller = Controller(platform_job(task_vars))
            others = live_others(state, controller.holder, options["take_over"], controller.liveness)
            if targets:
                guard_other_target(state, targets, others)
            denied = denied_text(state, targets)
            finish = list(unfinished(state, list(map(str, task_vars["ansible_play_hosts_all"])), others))
        told = f"{options['pool']}: {size} nodes, window {window}, state in {store.place}"
        if denied:
            self.say(f"{options['pool']}: {denied}.")
        return {
            "changed": False,
            "at": time.time(),
            "pool_size": size,
            "window": window,
            "denied": denied,
            "finish": finish,
            "store_path": store.place,
            "msg": f"{told}; {denied}" if denied else told,
        }

    def _plan(
        self,
        options: dict[str, Any],
        task_vars: dict[str, Any],
        members: tuple[str, ...],
        policy: Policy,
        zones: Mapping[str, str],
        cluster: Mapping[str, ClusterNode],
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
            order=Order(options["order"]),
            zones=zones,
            cluster=cluster,
            approved=options["approved"],
            pool_size=options["pool_size"],
            shared=store.is_shared,
            take_over=options["take_over"],
        )

        def change(state: PoolState | None) -> tuple[PoolState | None, RolloutPlan]:
            plan = plan_rollout(state, request, controller.liveness)
            return (plan.state if plan.changed and not self.check_mode else None), plan

        plan = transact(store, change)
        lines = _lines(plan, request)
        if _is_control_plane(options, cluster):
            lines.insert(1, f"{options['pool']}: control plane: one node at a time, whatever max_unavailable is")
        for line in lines:
            self.say(line)
        return {**_result(plan, request), "store_path": store.place, "msg": lines[0]}


def _policy(options: Mapping[str, Any]) -> Policy:
    if options["pool_size"] is not None and options["pool_size"] < 1:
        raise GuardError(f"pool_size is {options['pool_size']}. Give the number of nodes in the whole pool.")
    if options["max_zones"] < 0:
        raise GuardError(f"max_zones is {options['max_zones']}. Give 0 for no limit, or 1 or more.")
    return Policy(
        max_unavailable=NodeLimit.parse(options["max_unavailable"]),
        max_failures=NodeLimit.parse(options["max_failures"], "max_failures"),
        max_zones=options["max_zones"],
        soak=parse_duration(options["soak"], "soak"),
        soak_between=parse_duration(options["soak_between"], "soak_between"),
        maintenance_windows=parse_windows(options["maintenance_windows"]),
        outside_window=OutsideWindow(options["outside_window"]),
        approval=options["approval"],
        overdue=parse_duration(options["overdue"], "overdue"),
    )


def _is_control_plane(options: Mapping[str, Any], cluster: Mapping[str, ClusterNode]) -> bool:
    if options["control_plane"] == "auto":
        return any(node.control_plane for node in cluster.values())
    return bool(options["control_plane"] == "true")


def _zones(options: Mapping[str, Any], cluster: Mapping[str, ClusterNode]) -> dict[str, str]:
    zones = {name: node.zone for name, node in cluster.items() if node.zone}
    zones.update({str(name): str(zone) for name, zone in options["zones"].items() if zone is not None and zone != ""})
    if options["max_zones"] and not zones:
        raise GuardError(
            f"max_zones is {options['max_zones']}, but no node of {options['pool']} has a zone. Set imagemode_zone on the nodes, or label "
            "them with topology.kubernetes.io/zone in the cluster."
        )
    return zones


def _guard_variables(options: Mapping[str, Any], task_vars: Mapping[str, Any]) -> None:
    """What would show when the first node is out of service already, or never."""
    unknown = unknown_names([str(name) for name in task_vars if str(name).startswith(PREFIX)], known_variables())
    if unknown:
        raise GuardError(
            f"nobody reads {', '.join(unknown)}. Names that start with {PREFIX} are those of this collection: correct them, or call "
            "yours something else."
        )
    try:
        parse_checks(options["health_checks"])
    except HealthCheckError as error:
        raise GuardError(str(error)) from error


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


def _result(plan: RolloutPlan, request: PlanRequest) -> dict[str, Any]:
    before = state_as_dict(plan.before) if plan.before else {}
    nodes = [item.node for item in request.stagings]
    return {
        "changed": plan.changed,
        "order": list(plan.order),
        "window": plan.state.window,
        "pool_size": plan.state.pool_size,
        "resumed_nodes": list(plan.resumed),
        "retried_nodes": list(plan.retried),
        # A result with a key "unreachable" would itself be an unreachable host to Ansible.
        "unreachable_nodes": list(plan.unreachable),
        "unstaged_nodes": list(plan.unstaged),
        "cordoned_nodes": list(_cordoned(plan.state)),
        "not_ready_nodes": list(_not_ready(plan.state)),
        "overdue_nodes": list(plan.state.overdue(request.now)),
        "right_nodes": list(plan.right),
        "zones": {name: request.zones[name] for name in nodes if name in request.zones},
        "denied": plan.denied,
        "awaiting_approval": bool(plan.awaiting_approval),
        "halted": bool(plan.halted),
        "reason": plan.halted or plan.awaiting_approval,
        "diff": {
            "before_header": "rollout state",
            "after_header": "rollout state",
            "before": before,
            "after": state_as_dict(plan.state) if plan.changed else before,
        },
    }


def _cordoned(state: PoolState) -> tuple[str, ...]:
    return tuple(name for name, slot in state.nodes.items() if slot.state is SlotState.AWAY)


def _not_ready(state: PoolState) -> tuple[str, ...]:
    slots = state.nodes.items()
    return tuple(name for name, slot in slots if slot.state is SlotState.FAILED and slot.phase == NOT_READY)


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
        (_cordoned(state), "cordoned by somebody else: counts as out of service, and stays cordoned"),
        (_not_ready(state), "not ready in the cluster: counts as out of service and failed"),
    )
    lines += [f"{pool}: {names(nodes)}: {what}" for nodes, what in told if nodes]
    for name in state.failures[:_REASONS_SHOWN]:
        lines.append(f"{pool}: {name} failed: {state.nodes[name].reason or state.nodes[name].phase}")
    lines += [
        f"{pool}: {overdue_text(state, name, request.now)}: counts as failed" for name in state.overdue(request.now)
    ]
    if state.canaries and state.needs_approval and plan.order and not plan.halted:
        lines.append(f"{pool}: when the canaries are back, the others wait for an approval")
    if plan.awaiting_approval:
        lines.append(f"{pool}: {plan.awaiting_approval}.")
    if plan.halted:
        finish = f" Only {names(plan.order)} will be finished." if plan.order else " No node is taken out of service."
        lines.append(f"{pool}: stopped: {plan.halted}.{finish} Set that right, then run the same command again.")
    return lines
