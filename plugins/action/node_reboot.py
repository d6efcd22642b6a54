# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of node_reboot."""

from __future__ import annotations

import typing as t

from ansible_collections.imagemode.nodes.plugins.module_utils._host.options import REBOOT_SPEC, reboot_policy
from ansible_collections.imagemode.nodes.plugins.module_utils._host.reboot import Reboot
from ansible_collections.imagemode.nodes.plugins.plugin_utils._connection_runner import ConnectionRunner
from ansible_collections.imagemode.nodes.plugins.plugin_utils._host_action import HostAction


class ActionModule(HostAction):
    """Reboot a node once, and prove where it landed."""

    _supports_async = False
    spec: t.ClassVar[dict[str, t.Any]] = REBOOT_SPEC
    timed = True

    def act(self, runner: ConnectionRunner, params: dict[str, t.Any]) -> dict[str, t.Any]:
        """Plan and, outside check mode, reboot and wait."""
        reboot = Reboot(
            runner=runner,
            policy=reboot_policy(params),
            busy_timeout=params["busy_timeout"],
            reboot_timeout=params["reboot_timeout"],
            inhibitor_timeout=params["inhibitor_timeout"],
            reconnect=runner.reset,
            notify=self.notify,
        )
        return reboot.run(check_mode=self._task.check_mode)
