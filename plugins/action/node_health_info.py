# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of node_health_info."""

from __future__ import annotations

import typing as t

from ansible_collections.imagemode.nodes.plugins.module_utils._core.health_checks import ClusterNode, HealthCheckError
from ansible_collections.imagemode.nodes.plugins.module_utils._host.health import HealthGate
from ansible_collections.imagemode.nodes.plugins.module_utils._host.health_options import HEALTH_SPEC, health_wish
from ansible_collections.imagemode.nodes.plugins.module_utils._host.options import InvalidOption
from ansible_collections.imagemode.nodes.plugins.plugin_utils import _health_judges
from ansible_collections.imagemode.nodes.plugins.plugin_utils._connection_runner import ConnectionRunner
from ansible_collections.imagemode.nodes.plugins.plugin_utils._host_action import HostAction


class ActionModule(HostAction):
    """Wait until a node is healthy."""

    _supports_async = False
    spec: t.ClassVar[dict[str, t.Any]] = HEALTH_SPEC
    timed = True

    def act(self, runner: ConnectionRunner, params: dict[str, t.Any]) -> dict[str, t.Any]:
        """Look until all is right; in check mode look once."""
        wish = health_wish(params)
        try:
            _health_judges.require_expressions(wish.checks)
        except HealthCheckError as mistakes:
            raise InvalidOption(str(mistakes)) from None
        gate = HealthGate(
            runner=runner,
            wish=wish,
            judge=_health_judges.judge,
            reconnect=runner.reset,
            notify=self.notify,
        )
        if any(isinstance(check, ClusterNode) for check in wish.checks):
            gate.cluster = self._cluster(params)
        return gate.run(check_mode=self._task.check_mode)

    def _cluster(self, params: dict[str, t.Any]) -> t.Callable[[], tuple[bool, str]]:
        """Who says whether the node is ready. Imported only here: whoever asks no cluster needs no library for that."""
        from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster import IMPORT_ERROR, ClusterOptions
        from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster_node import node_ready

        if IMPORT_ERROR is not None:
            raise InvalidOption(
                f"A check asks the cluster, and the Python library kubernetes is missing on the controller ({IMPORT_ERROR}). Install it "
                "for the Python that Ansible runs with (`pip install kubernetes`), or use an execution environment that has it."
            )
        options, name = ClusterOptions.of(params), params["node"] or self._host
        return lambda: node_ready(options, name)
