# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of rpmostree_rebase."""

from __future__ import annotations

import typing as t

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Tool
from ansible_collections.imagemode.nodes.plugins.module_utils._host.staging_options import RPMOSTREE_REBASE_SPEC
from ansible_collections.imagemode.nodes.plugins.plugin_utils._staging_action import StagingAction


class ActionModule(StagingAction):
    """Put an image or an ostree branch in next place with rpm-ostree."""

    spec: t.ClassVar[dict[str, t.Any]] = RPMOSTREE_REBASE_SPEC

    def tool(self, _params: dict[str, t.Any]) -> Tool | None:
        """Always rpm-ostree."""
        return Tool.RPM_OSTREE
