# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of the modules that put an image in next place. Private to this collection."""

from __future__ import annotations

import typing as t

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Tool
from ansible_collections.imagemode.nodes.plugins.module_utils._host.image_staging import ImageStaging
from ansible_collections.imagemode.nodes.plugins.module_utils._host.staging_options import staging_options
from ansible_collections.imagemode.nodes.plugins.plugin_utils._connection_runner import ConnectionRunner
from ansible_collections.imagemode.nodes.plugins.plugin_utils._host_action import HostAction


class StagingAction(HostAction):
    """Put an image in next place, with the tool that the module is for."""

    def tool(self, params: dict[str, t.Any]) -> Tool | None:
        """The tool to use; None for whichever the node has."""
        raise NotImplementedError

    def act(self, runner: ConnectionRunner, params: dict[str, t.Any]) -> dict[str, t.Any]:
        """Plan and, outside check mode, act."""
        options = staging_options(params, self.tool(params))
        return ImageStaging(runner, options, self.notify).run(check_mode=self._task.check_mode)
