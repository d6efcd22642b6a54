# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of bootc_switch."""

from __future__ import annotations

import typing as t

from ansible_collections.imagemode.nodes.plugins.module_utils._host.bootc_switch import BootcSwitch
from ansible_collections.imagemode.nodes.plugins.module_utils._host.options import BOOTC_SWITCH_SPEC, desired_image
from ansible_collections.imagemode.nodes.plugins.plugin_utils._connection_runner import ConnectionRunner
from ansible_collections.imagemode.nodes.plugins.plugin_utils._host_action import HostAction


class ActionModule(HostAction):
    """Put an image in next place with bootc."""

    spec: t.ClassVar[dict[str, t.Any]] = BOOTC_SWITCH_SPEC

    def act(self, runner: ConnectionRunner, params: dict[str, t.Any]) -> dict[str, t.Any]:
        """Plan and, outside check mode, act."""
        switch = BootcSwitch(
            runner=runner,
            desired=desired_image(params),
            busy_timeout=params["busy_timeout"],
            stage_timeout=params["stage_timeout"],
            notify=self.notify,
        )
        return switch.run(check_mode=self._task.check_mode)
