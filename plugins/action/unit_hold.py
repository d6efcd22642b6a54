# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of unit_hold."""

from __future__ import annotations

import typing as t

from ansible_collections.imagemode.nodes.plugins.module_utils._host.unit_hold import UNIT_HOLD_SPEC, unit_hold
from ansible_collections.imagemode.nodes.plugins.plugin_utils._connection_runner import ConnectionRunner
from ansible_collections.imagemode.nodes.plugins.plugin_utils._host_action import HostAction


class ActionModule(HostAction):
    """Hold units of a node back, or let them go."""

    spec: t.ClassVar[dict[str, t.Any]] = UNIT_HOLD_SPEC

    def act(self, runner: ConnectionRunner, params: dict[str, t.Any]) -> dict[str, t.Any]:
        """Look and, outside check mode, act."""
        return unit_hold(runner, params, self.notify).run(check_mode=self._task.check_mode)
