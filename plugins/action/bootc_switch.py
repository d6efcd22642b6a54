# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of bootc_switch."""

from __future__ import annotations

import typing as t

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Tool
from ansible_collections.imagemode.nodes.plugins.module_utils._host.staging_options import BOOTC_SWITCH_SPEC
from ansible_collections.imagemode.nodes.plugins.plugin_utils._staging_action import StagingAction


class ActionModule(StagingAction):
    """Put an image in next place with bootc."""

    spec: t.ClassVar[dict[str, t.Any]] = BOOTC_SWITCH_SPEC

    def tool(self, _params: dict[str, t.Any]) -> Tool | None:
        """Always bootc."""
        return Tool.BOOTC
