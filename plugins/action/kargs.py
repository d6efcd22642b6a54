# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of kargs."""

from __future__ import annotations

import typing as t

from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_plan import Backend
from ansible_collections.imagemode.nodes.plugins.module_utils._host.kargs import Kargs
from ansible_collections.imagemode.nodes.plugins.module_utils._host.options import KARGS_SPEC, kargs_wish
from ansible_collections.imagemode.nodes.plugins.plugin_utils._connection_runner import ConnectionRunner
from ansible_collections.imagemode.nodes.plugins.plugin_utils._host_action import HostAction


class ActionModule(HostAction):
    """Manage the kernel arguments of an image-mode host."""

    spec: t.ClassVar[dict[str, t.Any]] = KARGS_SPEC

    def act(self, runner: ConnectionRunner, params: dict[str, t.Any]) -> dict[str, t.Any]:
        """Plan and, outside check mode, act."""
        kargs = Kargs(
            runner=runner,
            wish=kargs_wish(params),
            backend=Backend(params["backend"]),
            busy_timeout=params["busy_timeout"],
            stage_timeout=params["stage_timeout"],
            notify=self.notify,
        )
        return kargs.run(check_mode=self._task.check_mode)
