# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of image_stage."""

from __future__ import annotations

import typing as t

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Tool
from ansible_collections.imagemode.nodes.plugins.module_utils._host.staging_options import IMAGE_STAGE_SPEC, chosen_tool
from ansible_collections.imagemode.nodes.plugins.plugin_utils._staging_action import StagingAction


class ActionModule(StagingAction):
    """Put an image in next place with the tool that the node has."""

    spec: t.ClassVar[dict[str, t.Any]] = IMAGE_STAGE_SPEC
    timed = True

    def tool(self, params: dict[str, t.Any]) -> Tool | None:
        """The tool that was asked for."""
        return chosen_tool(params)
