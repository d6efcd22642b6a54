# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The action behind migration_report: the survey, each node's verdict, and the closing table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core import migration_outcome, rollout_arguments
from ansible_collections.imagemode.nodes.plugins.module_utils._core.migration_outcome import NodeMigration
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_outcome import outcome_of
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_steps import NodeResults
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_action import ControllerAction

_SURVEYED = (
    "case",
    "tool",
    "pull_bytes",
    "reboots",
    "losses",
    "blocked",
    "ways",
    "note",
    "runs",
)


class ActionModule(ControllerAction):
    """Says what a migration costs, and how it ended."""

    SPEC = rollout_arguments.MIGRATION_REPORT

    def act(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """See the module's documentation."""
        if options["state"] == "survey":
            return self._survey(options, task_vars)
        if options["state"] == "node":
            outcome = self._outcome(str(task_vars["inventory_hostname"]), options, task_vars)
            reason = f": {outcome.reason}" if outcome.reason else ""
            return {
                "changed": False,
                "failed": not outcome.is_right,
                "nodes": [outcome.as_dict()],
                "msg": f"{options['pool']}: {outcome.node}: {outcome.outcome}{reason}",
            }
        outcomes = [self._outcome(str(node), options, task_vars) for node in task_vars["ansible_play_hosts_all"]]
        for line in migration_outcome.migration_table(options["pool"], outcomes):
            self.say(line)
        nodes = [outcome.as_dict() for outcome in outcomes]
        summary = migration_outcome.counted_migrations(outcomes)
        return {
            "changed": False,
            "nodes": nodes,
            "msg": f"{options['pool']}: {summary}",
            **_artifact("imagemode_migration", {"pool": options["pool"], "nodes": nodes}),
        }

    def _survey(self, options: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        names = [str(node) for node in task_vars["ansible_play_hosts_all"]]
        surveys = {name: task_vars["hostvars"][name].get(options["survey"]) for name in names}
        lines = migration_outcome.survey_table(options["pool"], options["image"] or "the image", surveys)
        for line in lines:
            self.say(line)
        nodes = [{"node": name, **{key: (seen or {}).get(key) for key in _SURVEYED}} for name, seen in surveys.items()]
        totals = migration_outcome.survey_totals(surveys)
        return {
            "changed": False,
            "nodes": nodes,
            "totals": totals,
            "msg": lines[-1],
            **_artifact("imagemode_survey", {"pool": options["pool"], "totals": totals, "nodes": nodes}),
        }

    def _outcome(self, node: str, options: Mapping[str, Any], task_vars: Mapping[str, Any]) -> NodeMigration:
        seen = task_vars["hostvars"][node]
        names = {"staging": "staging", "held": "held", "reboot": "rebooted", "ended": "ended"}
        results = NodeResults(**{name: seen.get(options[option]) for name, option in names.items()})
        rollout = outcome_of(node, results, options["expected_digests"], self.check_mode)
        before, staged, after = (seen.get(options[name]) for name in ("survey", "staging", "after"))
        return migration_outcome.outcome_of_migration(rollout, before, staged, after, self.check_mode)


def _artifact(name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    return {"ansible_stats": {"data": {name: content}, "per_host": False, "aggregate": False}}
