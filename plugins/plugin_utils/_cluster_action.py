# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the actions share that speak to a cluster for the host they run for. Private to this collection."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.imagemode.nodes.plugins.module_utils._core.duration import DurationError
from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster import ClusterError
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_action import GuardError
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_controller import Controller
from ansible_collections.imagemode.nodes.plugins.plugin_utils._terminal import say


class ClusterAction(ActionBase):  # type: ignore[misc]
    """An action without a connection. Subclasses give the options' specification and do the work in `act`."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    SPEC: dict[str, dict[str, Any]] = {}

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Validate the options, act, and turn what went wrong into a message."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(argument_spec=self.SPEC)
        result.update(self.acted(options, task_vars or {}))
        return result

    def acted(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """What `act` returns, or a failed task in words."""
        try:
            return self.act(options, task_vars)
        except (ClusterError, DurationError, GuardError) as error:
            return {"failed": True, "changed": False, "msg": f"{options['pool']}: {error}"}

    def act(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """The task's work; returns the result's fields."""
        raise NotImplementedError

    @property
    def check_mode(self) -> bool:
        """Whether nothing may be changed."""
        return bool(self._task.check_mode)

    @staticmethod
    def say(line: str) -> None:
        """Plain output, at once."""
        say(line)

    @staticmethod
    def end_if_alone() -> None:
        """End this worker if the play is gone: what it still did would get in the way of the run that comes next."""
        if Controller().is_gone:
            # Nobody reads a result any more, and the worker's own clean-up would wait for somebody who does.
            os._exit(1)


def name_in_cluster(host: str, variables: Mapping[str, Any]) -> str:
    """The name of a host's node: its variable `imagemode_node_name`, or else its inventory name."""
    return str(variables.get("imagemode_node_name") or host)
