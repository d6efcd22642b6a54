# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Taking a node out of service in its cluster, and back. Private to this collection."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.cluster_nodes import ClusterNode
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_etcd import EtcdMembers, is_etcd_pod
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_pod import Pod, PodKind
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_rules import DrainRules
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_wording import counted
from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster import Cluster, ClusterError
from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster_drain import Drain, DrainFailed, held_budgets
from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster_node import (
    NODES,
    cordon,
    etcd_members,
    read_node,
    uncordon,
)
from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster_patience import Patience

# How long the first answer may take that a cluster gives: an API server that restarts is back by then.
_FIRST_ANSWER = 120.0
# How long one tries to take the cordon back after a failure, beyond the deadline.
_TAKE_BACK = 60.0
_READY_POLL = (1.0, 3.0)


@dataclass(frozen=True)
class ServiceOptions:
    """The options that `cordoned`, `drained` and `uncordoned` read. Times in seconds."""

    rules: DrainRules
    look_at_quorum: bool = True
    skip_only_node: bool = True
    ready_deadline: float = 600.0
    boot_id: str | None = None
    parallel: int = 16


class NodeService:
    """One node of one pool. Every method returns a task's result, failed or not; a ClusterError is raised only before
    anything was changed."""

    def __init__(
        self, cluster: Cluster, name: str, pool: str, options: ServiceOptions, patience: Patience, dry: bool
    ) -> None:
        self._cluster = cluster
        self._name = name
        self._pool = pool
        self._options = options
        self._patience = patience
        self._dry = dry
        self._etcd: EtcdMembers | None = None

    def cordoned(self) -> dict[str, Any]:
        """Let no new pods onto the node."""
        before = self._read()
        after = self._cordon()
        words = "would be cordoned" if self._dry else "is cordoned"
        changed = after.cordoned != before.cordoned
        return self._result(
            before, after, changed, f"{self._name} {words}" if changed else f"{self._name} was cordoned before"
        )

    def drained(self) -> dict[str, Any]:
        """Let no new pods onto the node, and move those that are there."""
        before = self._read()
        if self._options.skip_only_node and self._is_only_node():
            return {
                **self._result(
                    before, before, False, f"{self._name} is the only node of the cluster, so its pods stay on it"
                ),
                "pods": [],
                "budgets": [],
                "drained": False,
            }
        drain = Drain(
            self._cluster, self._name, self._pool, self._options.rules, self._patience, self._options.parallel
        )
        after = before
        try:
            pods = drain.survey(before.ready)
            self._guard_quorum(before, pods)
            after = self._cordon()
            if self._dry:
                drain.predict()
            else:
                drain.run()
        except (DrainFailed, ClusterError) as error:
            return self._failed(before, drain, str(error))
        return self._drained(before, after, drain)

    def uncordoned(self) -> dict[str, Any]:
        """Wait until the node is ready, and lift the pool's cordon."""
        before = self._read()
        node = before
        if self._options.ready_deadline > 0 and not self._dry:
            node, told, is_seen = self._wait_until_ready(before)
            if told:
                return {
                    **self._result(before, node, False, ""),
                    "failed": True,
                    "not_ready": is_seen,
                    "msg": f"{self._pool}: {self._name} stays as it is, because it is not ready after "
                    f"{self._options.ready_deadline:.0f} s, which is ready_deadline: {told}",
                }
        after = self._patience.calling(
            lambda: uncordon(self._cluster, read_node(self._cluster, self._name), self._pool, self._dry), renewed=True
        )
        changed = (after.cordoned, after.cordoned_for) != (node.cordoned, node.cordoned_for)
        if after.cordoned and not changed:
            words = f"{self._name} stays cordoned, because somebody else cordoned it"
        elif changed:
            words = f"{self._name} {'would take' if self._dry else 'takes'} pods again"
        else:
            words = f"{self._name} takes pods"
        return self._result(before, after, changed, words)

    def _read(self) -> ClusterNode:
        return self._patience.until(_FIRST_ANSWER).calling(lambda: read_node(self._cluster, self._name))

    def _cordon(self) -> ClusterNode:
        """Read it again before each try: with 409 somebody changed it in between, and may have cordoned it."""
        return self._patience.calling(
            lambda: cordon(self._cluster, read_node(self._cluster, self._name), self._pool, self._dry)
        )

    def _is_only_node(self) -> bool:
        items = self._patience.calling(lambda: self._cluster.call("GET", NODES, query={"limit": 2})).get("items") or []
        return len(items) == 1

    def _guard_quorum(self, node: ClusterNode, pods: list[Pod]) -> None:
        """Raises DrainFailed if etcd would lose its majority. Only nodes with a member pay for the question."""
        has_member = any(pod.kind is PodKind.STATIC and is_etcd_pod(pod.namespace, pod.labels) for pod in pods)
        if not self._options.look_at_quorum or not (has_member or node.etcd_role):
            return
        self._etcd = self._patience.calling(lambda: etcd_members(self._cluster))
        reason = self._etcd.without(self._name) if self._etcd else ""
        if reason:
            raise DrainFailed(
                f"nothing was moved, because {reason}. Bring the others back first, or say 'quorum: ignore' "
                "(imagemode_drain_quorum) if you know better"
            )

    def _drained(self, before: ClusterNode, after: ClusterNode, drain: Drain) -> dict[str, Any]:
        board = drain.board
        left_on_purpose = len(board.tracks) - board.moving
        if self._dry:
            held = f", {len(board.left)} of them held or stopping now" if board.left else ""
            words = f"{self._name} would be drained: {counted(board.moving, 'pod')} to move{held}, {left_on_purpose} left on purpose"
        else:
            seconds = max((track.seconds or 0.0 for track in board.moved), default=0.0)
            moved = f"{counted(len(board.moved), 'pod')} moved in {seconds:.0f} s" if board.moved else "no pods to move"
            words = f"{self._name} is drained: {moved}, {left_on_purpose} left on purpose"
        would = any(track.outcome.value == "would evict" for track in board.tracks)
        changed = after.cordoned != before.cordoned or board.touched or would
        return {**self._result(before, after, changed, words), **self._pods(drain), "drained": not self._dry}

    def _failed(self, before: ClusterNode, drain: Drain, reason: str) -> dict[str, Any]:
        after, told = self._taken_back(before)
        return {
            **self._result(before, after, drain.board.touched or after.cordoned != before.cordoned, ""),
            **self._pods(drain),
            "drained": False,
            "failed": True,
            "msg": f"{self._pool}: {self._name} is not drained: {reason}. {told}",
        }

    def _taken_back(self, before: ClusterNode) -> tuple[ClusterNode, str]:
        """Lift the pool's cordon after a failure, whichever run made it; returns the node, and in words how that went."""
        if self._dry:
            return before, "Nothing was changed, this is check mode."
        patience = Patience(time.monotonic() + _TAKE_BACK, self._patience.voice, self._patience.interrupt)
        try:
            found = patience.calling(lambda: read_node(self._cluster, self._name), renewed=True)
            node = (
                patience.calling(
                    lambda: uncordon(self._cluster, read_node(self._cluster, self._name), self._pool), renewed=True
                )
                if found.cordoned_for == self._pool
                else found
            )
        except ClusterError as error:
            return before, (
                f"Its cordon could not be looked after ({error}) If it is cordoned for {self._pool}, the next run lifts that, and so does "
                f"'kubectl uncordon {self._name}'."
            )
        if node.cordoned:
            return node, "It stays cordoned, because somebody else cordoned it."
        return node, "It takes pods as before."

    def _wait_until_ready(self, node: ClusterNode) -> tuple[ClusterNode, str, bool]:
        """The node as it was seen last; why it is not ready in the end, empty if it is; whether the cluster itself says so."""
        began = time.monotonic()
        patience = Patience(began + self._options.ready_deadline, self._patience.voice, self._patience.interrupt)
        while True:
            try:
                told = self._not_ready(node, patience)
            except ClusterError as error:
                return node, str(error), False
            if not told or patience.is_over:
                return node, told, bool(told)
            spent = time.monotonic() - began
            key, words = told[:20], told
            patience.voice.tell(
                key,
                lambda spent=spent, words=words: f"{self._name} is not ready for {spent:.0f} s: {words}",  # type: ignore[misc]
            )
            patience.sleep(min(_READY_POLL[1], max(_READY_POLL[0], spent / 10)))
            try:
                node = patience.calling(lambda: read_node(self._cluster, self._name), renewed=True)
            except ClusterError as error:
                return node, str(error), False

    def _not_ready(self, node: ClusterNode, patience: Patience) -> str:
        if not node.knows_boot(self._options.boot_id):
            return "what the cluster says of it is from before the reboot"
        if not node.ready:
            return node.told
        if not self._options.look_at_quorum or not (node.control_plane or node.etcd_role):
            return ""
        self._etcd = patience.calling(lambda: etcd_members(self._cluster), renewed=True)
        is_back = self._etcd is None or self._etcd.ready_on.get(self._name, True)
        return "" if is_back else "its member of etcd is not ready"

    @staticmethod
    def _pods(drain: Drain) -> dict[str, Any]:
        return {
            "pods": [track.as_dict() for track in drain.board.tracks],
            "budgets": list(held_budgets(drain)),
            "_shown": {
                "before": sorted(track.pod.title for track in drain.board.tracks),
                "after": sorted(
                    track.pod.title
                    for track in drain.board.tracks
                    if track.seconds is None and track.outcome.value != "would evict"
                ),
            },
        }

    def _result(self, before: ClusterNode, after: ClusterNode, changed: bool, words: str) -> dict[str, Any]:
        return {
            "changed": changed,
            "node": self._name,
            "found": True,
            "was_cordoned": before.cordoned,
            "cordoned": after.cordoned,
            "cordoned_by_us": after.is_ours(self._pool),
            "ready": after.ready,
            "etcd": self._etcd.as_dict() if self._etcd else None,
            "msg": f"{self._pool}: {words}",
        }


def with_diff(result: Mapping[str, Any]) -> dict[str, Any]:
    """The same result with its `diff`, from what is in it."""
    shown = {key: value for key, value in result.items() if key != "_shown"}
    pods = result.get("_shown") or {"before": [], "after": []}
    shown["diff"] = {
        "before": {"cordoned": result["was_cordoned"], "pods": pods["before"]},
        "after": {"cordoned": result["cordoned"], "pods": pods["after"]},
    }
    return shown
