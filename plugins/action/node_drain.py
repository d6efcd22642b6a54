# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The action behind node_drain: runs on the controller, in the worker of the node it is about."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core import cluster_arguments
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_rules import DrainRules
from ansible_collections.imagemode.nodes.plugins.module_utils._core.duration import parse_duration
from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster import (
    Cluster,
    ClusterError,
    ClusterMissing,
    ClusterOptions,
)
from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster_action import ClusterAction, name_in_cluster
from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster_patience import Patience, Voice
from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster_service import (
    NodeService,
    ServiceOptions,
    with_diff,
)
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_action import GuardError


class ActionModule(ClusterAction):
    """Cordons, drains or uncordons one node."""

    SPEC = cluster_arguments.DRAIN

    def act(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """See the module's documentation."""
        began, wall = time.monotonic(), time.time()
        node = options["node"] or self._node_of(task_vars)
        deadline = parse_duration(options["deadline"], "deadline")
        settings = _settings(options)
        if deadline <= 0:
            raise GuardError(f"deadline is {options['deadline']}, which leaves no time to drain. Give at least 1s.")
        result: dict[str, Any] = {"changed": False, "node": node}
        patience = Patience(began + deadline, Voice(self.say, f"{options['pool']}: "), self.end_if_alone)
        try:
            with Cluster(ClusterOptions.of(options), settings.parallel + 1) as cluster:
                service = NodeService(cluster, node, options["pool"], settings, patience, self.check_mode)
                work = {"cordoned": service.cordoned, "drained": service.drained, "uncordoned": service.uncordoned}
                try:
                    result.update(with_diff(work[options["state"]]()))
                except ClusterMissing as error:
                    result.update(_missing(options, node, error))
                result["calls"] = cluster.calls
        except ClusterError as error:
            result.update(failed=True, msg=f"{options['pool']}: {node}: {error}")
        return {**result, "started_at": wall, "seconds": round(time.monotonic() - began, 1)}

    def _node_of(self, task_vars: dict[str, Any]) -> str:
        # An action is given the variables as they were written, templates and all.
        name = self._templar.template(task_vars.get("imagemode_node_name") or "")
        return name_in_cluster(str(task_vars["inventory_hostname"]), {"imagemode_node_name": name})


def _settings(options: dict[str, Any]) -> ServiceOptions:
    grace = options["grace_period"]
    for name, lowest in (("grace_period", 0), ("evict_parallel", 1)):
        if options[name] is not None and options[name] < lowest:
            raise GuardError(f"{name} is {options[name]}, and must be at least {lowest}.")
    return ServiceOptions(
        rules=DrainRules(
            grace=grace,
            empty_dir_moves=options["empty_dir"] == "evict",
            unmanaged_go=options["unmanaged"] == "delete",
            force=options["force"],
        ),
        look_at_quorum=options["quorum"] == "auto",
        skip_only_node=options["only_node"] == "skip",
        ready_deadline=parse_duration(options["ready_deadline"], "ready_deadline"),
        boot_id=options["boot_id"],
        parallel=options["evict_parallel"],
    )


def _missing(options: dict[str, Any], node: str, error: ClusterMissing) -> dict[str, Any]:
    if options["missing"] == "ignore":
        return {
            "found": False,
            "msg": f"{options['pool']}: the cluster has no node {node}, so there is nothing to do in it",
        }
    return {
        "found": False,
        "failed": True,
        "msg": (
            f"{options['pool']}: {error}. If the node has another name in the cluster than in the inventory, set imagemode_node_name for "
            "the host; if it is no node of a cluster, say 'missing: ignore'."
        ),
    }
