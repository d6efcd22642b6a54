# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every action that works on a node shares. Private to this collection."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.imagemode.nodes.plugins.module_utils._host.failure import EXPECTED_FAILURES
from ansible_collections.imagemode.nodes.plugins.module_utils._host.options import require_deadlines
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import NodeUnreachable, Step
from ansible_collections.imagemode.nodes.plugins.module_utils._host.stopwatch import Stopwatch
from ansible_collections.imagemode.nodes.plugins.plugin_utils._connection_runner import ConnectionRunner
from ansible_collections.imagemode.nodes.plugins.plugin_utils._terminal import say

Result = dict[str, t.Any]

_FIRST_OF = 'for program; do command -v "$program" && exit; done; exit 1'


class HostAction(ActionBase):  # type: ignore[misc]  # Ansible ships no types
    """Options in, backend called, result out.

    A lost connection ends as a failed task: UNREACHABLE would skip `rescue` and `always`, in every ansible-core so far.
    """

    _supports_check_mode = True
    _supports_async = True

    spec: t.ClassVar[dict[str, t.Any]]
    """The argument spec, the same that the module of this name has."""

    timed: t.ClassVar[bool] = False
    """Whether results, also of failed tasks, have `started_at` and `seconds`."""

    def act(self, runner: ConnectionRunner, params: dict[str, t.Any]) -> Result:
        """The action itself. May raise any of EXPECTED_FAILURES."""
        raise NotImplementedError

    def run(self, tmp: str | None = None, task_vars: Result | None = None) -> Result:
        """Ansible's entry point."""
        result: Result = super().run(tmp, task_vars)
        variables = task_vars or {}
        _valid, params = self.validate_argument_spec(argument_spec=self.spec)
        self._host = str(self._task.delegate_to or variables.get("inventory_hostname", "node"))
        runner = ConnectionRunner(self)
        stopwatch = Stopwatch()
        try:
            require_deadlines(params)
            if self._task.async_val:
                result.update(self._run_as_module(runner, variables))
            else:
                result.update(self.act(runner, params))
        except NodeUnreachable as failure:
            result.update(failed=True, unreachable_host=True, msg=str(failure))
        except AnsibleConnectionFailure as failure:
            result.update(
                failed=True, unreachable_host=True, msg=f"The connection to the node failed: {failure.message}"
            )
        except EXPECTED_FAILURES as failure:
            result.update(getattr(failure, "result", {}))
            result.update(failed=True, msg=str(failure))
        if self.timed and not self._task.async_val:
            result.update(stopwatch.as_dict())
        if result.get("warnings"):
            # Ansible shows a warning once in a run, whichever host it came from: of equal ones all but the first would be lost.
            result["warnings"] = [f"{self._host}: {warning}" for warning in result["warnings"]]
        return result

    def notify(self, sentence: str) -> None:
        """A line on the operator's terminal, at once, while the task still runs."""
        say(f"{self._host}: {sentence}")

    def _run_as_module(self, runner: ConnectionRunner, task_vars: Result) -> Result:
        """`async` needs a process on the node that outlives the connection, and Ansible's needs Python there."""
        named = str(task_vars.get("ansible_python_interpreter", ""))
        pythons = (named,) if named.startswith("/") else ("python3", "/usr/libexec/platform-python")
        if not runner.run_one(Step(("sh", "-c", _FIRST_OF, "sh", *pythons), timeout=10)).ok:
            return {
                "failed": True,
                "msg": f"This node has no Python ({', '.join(pythons)}), and a task with async runs as a Python process on the node. "
                "Remove async: without it the module needs only a POSIX shell there.",
            }
        return t.cast(
            Result,
            self._execute_module(
                module_name=self._task.action, task_vars=task_vars, wrap_async=bool(self._task.async_val)
            ),
        )
