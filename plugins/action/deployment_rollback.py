# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of deployment_rollback."""

from __future__ import annotations

import typing as t

from ansible_collections.imagemode.nodes.plugins.module_utils._host.options import ROLLBACK_SPEC, rollback_request
from ansible_collections.imagemode.nodes.plugins.module_utils._host.rollback import Rollback
from ansible_collections.imagemode.nodes.plugins.plugin_utils._connection_runner import ConnectionRunner
from ansible_collections.imagemode.nodes.plugins.plugin_utils._host_action import HostAction


class ActionModule(HostAction):
    """Queue the rollback deployment, or take that back."""

    spec: t.ClassVar[dict[str, t.Any]] = ROLLBACK_SPEC
    timed = True

    def act(self, runner: ConnectionRunner, params: dict[str, t.Any]) -> dict[str, t.Any]:
        """Plan and, outside check mode, act."""
        rollback = Rollback(
            runner=runner,
            request=rollback_request(params),
            busy_timeout=params["busy_timeout"],
            notify=self.notify,
        )
        return rollback.run(check_mode=self._task.check_mode)
