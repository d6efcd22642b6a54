# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of node_preflight_info."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleConnectionFailure
from ansible_collections.imagemode.nodes.plugins.module_utils._host.preflight import (
    PREFLIGHT_SPEC,
    look_before_rollout,
    unreachable,
)
from ansible_collections.imagemode.nodes.plugins.plugin_utils._connection_runner import ConnectionRunner
from ansible_collections.imagemode.nodes.plugins.plugin_utils._host_action import HostAction


class ActionModule(HostAction):
    """What stands in the way of an update of a node."""

    spec: t.ClassVar[dict[str, t.Any]] = PREFLIGHT_SPEC

    def act(self, runner: ConnectionRunner, params: dict[str, t.Any]) -> dict[str, t.Any]:
        """Look, and judge. A node that cannot be reached is what this is there to find, and so no failure."""
        try:
            result = look_before_rollout(runner, params, self.notify)
        except AnsibleConnectionFailure as failure:
            result = unreachable(f"The connection to the node failed: {failure.message}")
        for finding in result["findings"]:
            finding["node"] = self._host
        return result
