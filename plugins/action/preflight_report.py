# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The action behind preflight_report: what was found on all nodes and around them, as one table and one verdict."""

from __future__ import annotations

from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core import preflight_pool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_arguments import PREFLIGHT_REPORT
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_finding import Finding, Severity
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_table import grouped, report
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_action import ControllerAction


class ActionModule(ControllerAction):
    """Says whether a rollout could begin."""

    SPEC = PREFLIGHT_REPORT

    def act(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """See the module's documentation."""
        names = [str(node) for node in task_vars["ansible_play_hosts_all"]]
        hostvars = task_vars["hostvars"]
        nodes = {name: preflight_pool.judge_look(name, hostvars[name].get(options["preflight"])) for name in names}
        of_pool = [
            *preflight_pool.judge_settings(options["health_checks"], options["unknown"]),
            *preflight_pool.judge_image(task_vars.get(options["image"])),
            *preflight_pool.judge_rollout(task_vars.get(options["checked"])),
        ]
        for finding in preflight_pool.judge_cluster(task_vars.get(options["cluster"]), options["drains"]):
            nodes.get(finding.node or "", of_pool).append(finding)
        lines = report(options["pool"], nodes, of_pool)
        for line in lines:
            self.say(line)
        return self._result(options["pool"], nodes, of_pool, lines[-1])

    def _result(
        self, pool: str, nodes: dict[str, list[Finding]], of_pool: list[Finding], summary: str
    ) -> dict[str, Any]:
        not_ready = [name for name, found in nodes.items() if any(f.severity is Severity.ERROR for f in found)]
        ready = not not_ready and all(finding.severity is not Severity.ERROR for finding in of_pool)
        findings = [group.as_dict() for group in grouped([*of_pool, *(f for found in nodes.values() for f in found)])]
        return {
            "changed": False,
            "failed": not ready,
            "ready": ready,
            "not_ready": not_ready,
            "findings": findings,
            "msg": summary,
            "ansible_stats": {
                "data": {
                    "imagemode_preflight": {
                        "pool": pool,
                        "ready": ready,
                        "nodes": len(nodes),
                        "not_ready": not_ready,
                        "findings": findings,
                    }
                },
                "per_host": False,
                "aggregate": False,
            },
        }
