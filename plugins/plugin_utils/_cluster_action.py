# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the actions share that speak to a cluster for the host they run for. Private to this collection."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster import ClusterError
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_action import ControllerAction
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_controller import Controller


class ClusterAction(ControllerAction):
    """An action that speaks to the API server instead of the node."""

    TOLD = (*ControllerAction.TOLD, ClusterError)

    @staticmethod
    def end_if_alone() -> None:
        """End this worker if the play is gone: what it still did would get in the way of the run that comes next."""
        if Controller().is_gone:
            # Nobody reads a result any more, and the worker's own clean-up would wait for somebody who does.
            os._exit(1)


def name_in_cluster(host: str, variables: Mapping[str, Any]) -> str:
    """The name of a host's node: its variable `imagemode_node_name`, or else its inventory name."""
    return str(variables.get("imagemode_node_name") or host)
