# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of image_mode_info."""

from __future__ import annotations

import typing as t

from ansible_collections.imagemode.nodes.plugins.module_utils._host.observe import Observer
from ansible_collections.imagemode.nodes.plugins.module_utils._host.options import INFO_SPEC
from ansible_collections.imagemode.nodes.plugins.plugin_utils._connection_runner import ConnectionRunner
from ansible_collections.imagemode.nodes.plugins.plugin_utils._host_action import HostAction


class ActionModule(HostAction):
    """One view of a host, whatever its tool."""

    spec: t.ClassVar[dict[str, t.Any]] = INFO_SPEC

    def act(self, runner: ConnectionRunner, params: dict[str, t.Any]) -> dict[str, t.Any]:
        """Read everything in one round trip."""
        host = Observer(runner, params["busy_timeout"], self.notify).completely()
        return {"changed": False, "host": host.as_dict()}
