# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The action behind rollout_report: each node's verdict, the closing table, the record and its page."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_outcome import Outcome, counted, table
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_page import page
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_record import (
    RolloutRecord,
    Run,
    outcome_in,
    record_of,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_report_arguments import REPORT
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_steps import NodeResults
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_action import ControllerAction
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_reports import ReportFiles, reports_directory


class ActionModule(ControllerAction):
    """Says how a rollout ended."""

    SPEC = REPORT

    def act(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """See the module's documentation."""
        if options["state"] == "node":
            return self._verdict(options, task_vars)
        record = self._record(options, task_vars)
        for line in (*table(record.pool, record.outcomes), *(f"{record.pool}: {one.line}" for one in record.causes)):
            self.say(line)
        # A run that found nothing to do would only push out the report of the one that did it.
        is_news = any(found.outcome is not Outcome.RIGHT for found in record.outcomes)
        written = self._write(record, options, task_vars) if is_news and not self.check_mode else {}
        if written:
            self.say(written.pop("said"))
        artifact = record.artifact()
        return {
            "changed": False,
            "nodes": artifact["nodes"],
            "msg": f"{record.pool}: {counted(record.outcomes)}",
            **written,
            "ansible_stats": {"data": {"imagemode_rollout": artifact}, "per_host": False, "aggregate": False},
        }

    def _verdict(self, options: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        node = str(task_vars["inventory_hostname"])
        seen = task_vars["hostvars"][node]
        results = NodeResults.from_variables(seen, options["results"])
        run = self._run(options, seen)
        found = outcome_in(run, node, results)
        return {
            "changed": False,
            "failed": not found.outcome.is_right,
            "nodes": [found.as_dict()],
            "msg": f"{run.pool}: {node}: {found.outcome.value}"
            + (". The table below says why" if found.reason else ""),
        }

    def _record(self, options: Mapping[str, Any], task_vars: Mapping[str, Any]) -> RolloutRecord:
        """Each host's variables are looked up once: in a large inventory that is what takes time."""
        results = {}
        run = self._run(options, {})
        for node in map(str, task_vars["ansible_play_hosts_all"]):
            seen = task_vars["hostvars"][node]
            results[node] = NodeResults.from_variables(seen, options["results"])
            if run.checked is None:
                run = self._run(options, seen)
        return record_of(run, results)

    def _run(self, options: Mapping[str, Any], seen: Mapping[str, Any]) -> Run:
        checked, planned, last = (seen.get(f"{options['results']}{name}") for name in ("checked", "planned", "last"))
        return Run(
            pool=options["pool"],
            image=options["image"],
            digests=tuple(options["expected_digests"]),
            now=time.time(),
            checked=checked,
            planned=planned,
            last=last,
            check_mode=self.check_mode,
        )

    def _write(self, record: RolloutRecord, options: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """How a rollout ended is no other because nobody could write it down."""
        directory = reports_directory(options["pool"], options["report_dir"], task_vars)
        if directory is None:
            return {}
        files = ReportFiles(directory, record.pool, options["keep"])
        content = {"json": json.dumps(record.as_dict(), indent=1) + "\n", "html": page(record)}
        try:
            written = files.write(record.ended_at, content)
        except OSError as error:
            return {"said": f"{record.pool}: the report could not be kept in {directory}: {error}"}
        return {
            "said": f"{record.pool}: report: {written['html']}",
            "report": str(written["html"]),
            "record": str(written["json"]),
        }
