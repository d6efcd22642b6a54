# SPDX-License-Identifier: GPL-3.0-or-later
"""node_drain and node_cluster_info against the cluster of a test, as the user of the shipped manifest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from ansible_collections.imagemode.nodes.plugins.action.node_cluster_info import ActionModule as InfoAction
from ansible_collections.imagemode.nodes.plugins.action.node_drain import ActionModule as DrainAction
from ansible_collections.imagemode.nodes.plugins.module_utils._core import cluster_arguments
from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster_action import ClusterAction

from cluster.cluster import Cluster

POOL = "workers"
CORDONED_FOR = "imagemode.nodes/cordoned-for"


class Draining:
    """Runs the actions in this process, without the seconds that ansible takes to begin; `lines` is what they said."""

    def __init__(self, cluster: Cluster, user: str = "rollout") -> None:
        self.cluster = cluster
        self.act_as(user)
        self.lines: list[str] = []
        self.check = False

    def act_as(self, user: str) -> None:
        """From now on as this user."""
        self.kubeconfig = str(self.cluster.kubeconfig(user))

    def drain(self, node: str, **options: Any) -> dict[str, Any]:
        """The result of node_drain; a `deadline` of 20 s, unless it is given."""
        wanted = {"node": node, "deadline": "20s", **options}
        return self._act(DrainAction, cluster_arguments.DRAIN, wanted, {"inventory_hostname": node})

    def info(self, hosts: Mapping[str, Mapping[str, Any]], **options: Any) -> dict[str, Any]:
        """The result of node_cluster_info for these hosts and their variables."""
        variables = {"hostvars": hosts, "groups": {POOL: list(hosts)}}
        return self._act(InfoAction, cluster_arguments.CLUSTER_INFO, options, variables)

    def beginning(self, node: str, **options: Any) -> Running:
        """The same as `drain`, in a thread."""
        return Running(lambda: self.drain(node, **options))

    @property
    def said(self) -> str:
        return "\n".join(self.lines)

    def _act(
        self,
        action: type[ClusterAction],
        spec: Mapping[str, Mapping[str, Any]],
        given: Mapping[str, Any],
        variables: dict[str, Any],
    ) -> dict[str, Any]:
        found: ClusterAction = action.__new__(action)
        found._task = SimpleNamespace(check_mode=self.check)
        found.say = self.lines.append  # type: ignore[method-assign, assignment]
        defaults = {name: option.get("default") for name, option in spec.items()}
        options = {**defaults, "pool": POOL, "kubeconfig": self.kubeconfig, **given}
        result: dict[str, Any] = found.acted(options, variables)
        return result


class Running:
    """Work in a thread; `result` waits for it."""

    def __init__(self, work: Callable[[], dict[str, Any]]) -> None:
        self._found: dict[str, Any] = {}
        self._thread = threading.Thread(target=lambda: self._found.update(work()), daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def result(self, seconds: float = 60.0) -> dict[str, Any]:
        self._thread.join(seconds)
        assert self._found, "it goes on, or died"
        return self._found


def outcomes(result: Mapping[str, Any]) -> dict[str, str]:
    """The outcome of every pod, by its name without what a controller appended."""
    return {pod["name"].split("-")[0]: pod["outcome"] for pod in result["pods"]}


def annotation(cluster: Cluster, node: str) -> str | None:
    """The pool that the node's cordon is for."""
    value = (cluster.get_node(node)["metadata"].get("annotations") or {}).get(CORDONED_FOR)
    return None if value is None else str(value)


def token_of(kubeconfig: Path) -> str:
    """The token in a kubeconfig, which nothing may repeat."""
    found = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    return str(found["users"][0]["user"]["token"])
