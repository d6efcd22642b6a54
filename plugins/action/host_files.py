# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of host_files."""

from __future__ import annotations

import typing as t

from ansible_collections.imagemode.nodes.plugins.module_utils._host.host_files import wanted_files
from ansible_collections.imagemode.nodes.plugins.module_utils._host.options import HOST_FILES_SPEC
from ansible_collections.imagemode.nodes.plugins.plugin_utils._connection_runner import ConnectionRunner
from ansible_collections.imagemode.nodes.plugins.plugin_utils._host_action import HostAction


class ActionModule(HostAction):
    """Put files on a node."""

    spec: t.ClassVar[dict[str, t.Any]] = HOST_FILES_SPEC

    def act(self, runner: ConnectionRunner, params: dict[str, t.Any]) -> dict[str, t.Any]:
        """Look and, outside check mode, write."""
        return wanted_files(params).on(runner, show=self._task.diff).run(check_mode=self._task.check_mode)
