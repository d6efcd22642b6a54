# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The action behind rollout_report: the closing table, and each node's verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core import rollout_arguments
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_outcome import (
    NodeOutcome,
    counted,
    outcome_of,
    table,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_staging import staging_from_result
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_action import ControllerAction


class ActionModule(ControllerAction):
    """Says how a rollout ended."""

    SPEC = rollout_arguments.REPORT

    def act(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """See the module's documentation."""
        if options["state"] == "node":
            return self._verdict(str(task_vars["inventory_hostname"]), options, task_vars)
        outcomes = [self._outcome(str(node), options, task_vars) for node in task_vars["ansible_play_hosts_all"]]
        for line in table(options["pool"], outcomes):
            self.say(line)
        nodes = [outcome.as_dict() for outcome in outcomes]
        return {
            "changed": False,
            "nodes": nodes,
            "msg": f"{options['pool']}: {counted(outcomes)}",
            "ansible_stats": {
                "data": {"imagemode_rollout": {"pool": options["pool"], "nodes": nodes}},
                "per_host": False,
                "aggregate": False,
            },
        }

    def _verdict(self, node: str, options: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        outcome = self._outcome(node, options, task_vars)
        reason = f": {outcome.reason}" if outcome.reason else ""
        return {
            "changed": False,
            "failed": not outcome.outcome.is_right,
            "nodes": [outcome.as_dict()],
            "msg": f"{options['pool']}: {node}: {outcome.outcome.value}{reason}",
        }

    def _outcome(self, node: str, options: Mapping[str, Any], task_vars: Mapping[str, Any]) -> NodeOutcome:
        seen = task_vars["hostvars"][node]
        staging = staging_from_result(
            node, seen.get(options["staging"]), tuple(options["expected_digests"]), self.check_mode
        )
        held, rebooted, ended = (seen.get(options[name]) for name in ("held", "rebooted", "ended"))
        return outcome_of(staging, held, rebooted, ended, self.check_mode)
