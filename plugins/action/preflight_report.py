# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The action behind preflight_report: what was found on all nodes and around them, as one table and one verdict."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core import preflight_pool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_arguments import PREFLIGHT_REPORT
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_finding import Check, Finding, Severity
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_table import grouped, report
from ansible_collections.imagemode.nodes.plugins.module_utils._core.unknown_names import unknown_names
from ansible_collections.imagemode.nodes.plugins.plugin_utils._known_variables import PREFIX, known_variables
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_action import ControllerAction


class ActionModule(ControllerAction):
    """Says whether a rollout could begin."""

    SPEC = PREFLIGHT_REPORT

    def act(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """See the module's documentation."""
        if options["state"] == "node":
            return self._verdict(options, task_vars)
        hostvars = task_vars["hostvars"]
        names = [str(node) for node in task_vars["ansible_play_hosts_all"]]
        nodes = {name: preflight_pool.judge_look(name, hostvars[name].get(options["preflight"])) for name in names}
        given = {str(name) for host in names for name in hostvars[host] if str(name).startswith(PREFIX)}
        unknown = unknown_names(given, known_variables())
        around = _around(options, task_vars)
        # Of those of the first host the check of the rollout has told already: it refuses them.
        told = " ".join(finding.told for finding in around if finding.check is Check.ROLLOUT)
        untold = [name for name in unknown if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", told)]
        of_pool = preflight_pool.judge_variables(untold)
        for finding in around:
            nodes.get(finding.node or "", of_pool).append(finding)
        lines = report(options["pool"], nodes, of_pool)
        for line in lines:
            self.say(line)
        return _table(options["pool"], nodes, of_pool, lines[-1])

    def _verdict(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """The host's own errors; to the first one those of the pool as well, so that somebody has them."""
        node = str(task_vars["inventory_hostname"])
        is_first = node == str(task_vars["ansible_play_hosts_all"][0])
        around = [one for one in _around(options, task_vars) if one.node == node or (is_first and one.node is None)]
        errors = [
            finding
            for finding in (*around, *preflight_pool.judge_look(node, task_vars.get(options["preflight"])))
            if finding.severity is Severity.ERROR
        ]
        told = ", ".join(dict.fromkeys(finding.check.value.replace("_", " ") for finding in errors))
        return {
            "changed": False,
            "failed": bool(errors),
            "ready": not errors,
            "msg": f"{options['pool']}: {node}: {f'not ready: {told}. The table below says more' if errors else 'ready'}",
        }


def _around(options: dict[str, Any], task_vars: dict[str, Any]) -> list[Finding]:
    """What was found by the tasks that run once. Findings of the cluster's nodes have the node's name."""
    return [
        *preflight_pool.judge_mistakes(options["mistakes"]),
        *preflight_pool.judge_health_checks(options["health_checks"]),
        *preflight_pool.judge_image(task_vars.get(options["image"])),
        *preflight_pool.judge_rollout(task_vars.get(options["checked"])),
        *preflight_pool.judge_cluster(task_vars.get(options["cluster"]), options["drains"]),
    ]


def _table(pool: str, nodes: dict[str, list[Finding]], of_pool: list[Finding], summary: str) -> dict[str, Any]:
    not_ready = [name for name, found in nodes.items() if any(one.severity is Severity.ERROR for one in found)]
    pool_ready = all(finding.severity is not Severity.ERROR for finding in of_pool)
    told = {
        "ready": pool_ready and not not_ready,
        "pool_ready": pool_ready,
        "not_ready": not_ready,
        "findings": [
            group.as_dict() for group in grouped([*of_pool, *(one for found in nodes.values() for one in found)])
        ],
    }
    artifact = {"imagemode_preflight": {"pool": pool, "nodes": len(nodes), **told}}
    return {
        "changed": False,
        **told,
        "msg": summary,
        "ansible_stats": {"data": artifact, "per_host": False, "aggregate": False},
    }
