# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes of a fleet as nodes of a real Kubernetes API, with pods on them, and what its audit log says of their cordons."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cluster import audit
from cluster.api import ApiError, path_of
from cluster.cluster import Cluster
from cluster.server import Server
from lab.node import Node

if TYPE_CHECKING:
    from typing_extensions import Self

CORDONED_FOR = "imagemode.nodes/cordoned-for"
STATE = "imagemode.nodes/state"
LEASES = "imagemode"  # the namespace of the store
POOL = "crash-pool"  # label of a pool's nodes: its pods run there and nowhere else
WEB = {"app": "web"}


@dataclasses.dataclass(frozen=True)
class Kubernetes:
    """One server for all cases. ``kubeconfig``: of a user with the rights of the shipped manifest."""

    cluster: Cluster
    audit_log: Path
    kubeconfig: Path

    @classmethod
    @contextlib.contextmanager
    def start(cls, directory: Path) -> Iterator[Self]:
        """A server that ends with the block. Raises cluster.build.CannotBuild where there is no way to build it."""
        server = Server(directory / "server")
        server.start()
        with Cluster(server, directory) as cluster:
            yield cls(cluster, server.audit_log, cluster.kubeconfig("rollout"))


@dataclasses.dataclass
class Member:
    """A node of the lab, under its name in the cluster."""

    name: str
    node: Node

    @property
    def boot_id(self) -> str:
        return self.node.boot_id

    def is_up(self) -> bool:
        return self.node.is_up()


class ClusterPool:
    """The nodes of one fleet, with an application on them whose budget lets one pod go at a time.

    Every pool of the server has nodes, pods and a namespace of its own; ``name`` tells them apart. ``cordoned``: nodes that
    somebody else has cordoned before the rollout begins.
    """

    def __init__(self, kubernetes: Kubernetes, name: str, nodes: Mapping[str, Node], cordoned: Collection[str]) -> None:
        self.name = name
        self.cordoned = frozenset(cordoned)
        self._kubernetes = kubernetes
        self._cluster = cluster = kubernetes.cluster
        members = {name: Member(self.called(name), node) for name, node in nodes.items()}
        for node, member in members.items():
            cluster.node(member.name, labels={POOL: name}, cordoned=node in self.cordoned, boot_id=member.boot_id)
        self._members = members
        cluster.namespace(name)
        cluster.deployment(name, "web", replicas=2, labels=WEB, node_selector={POOL: name}, stops_after=0.1)
        cluster.budget(name, labels=WEB, max_unavailable=1)
        self._offset = kubernetes.audit_log.stat().st_size
        self._following = cluster.follow(members.values(), ready_after=0.2)

    def called(self, node: str) -> str:
        """The name of a node in the cluster."""
        return f"{self.name}-{node}"

    def cordons(self) -> list[tuple[float, bool, str]]:
        """When the rollout cordoned (True) and uncordoned (False) a node; seconds since 1970."""
        nodes = {member.name: node for node, member in self._members.items()}
        asked = audit.read(self._kubernetes.audit_log, self._offset, self._cluster.users.names)
        return [
            (request.at, bool(request.body["spec"]["unschedulable"]), nodes[request.name])
            for request in asked
            if (request.verb, request.resource, request.status) == ("patch", "nodes", 200)
            and request.user == "rollout"
            and request.name in nodes
            and not request.dry_run
            and request.body
            and "spec" in request.body
        ]

    def faults(self) -> Iterator[str]:
        """Cordons that are not what they have to be when a rollout has ended."""
        for node in self._members:
            document = self._cluster.get_node(self.called(node))
            annotated = CORDONED_FOR in document["metadata"].get("annotations", {})
            unschedulable = bool(document["spec"].get("unschedulable"))
            if annotated:
                yield f"{node} still bears the rollout's note of a cordon"
            if unschedulable and node not in self.cordoned:
                yield f"{node} is left cordoned"
            if node in self.cordoned and not unschedulable:
                yield f"{node} lost the cordon of others"
        for node in sorted({node for _moment, _cordoned, node in self.cordons()} & self.cordoned):
            yield f"the rollout wrote to the cordon of {node}, which is that of others"

    @property
    def document(self) -> str:
        """The state of the pool in its Lease, as text; `{}` without one."""
        try:
            lease = self._cluster.api.get(path_of("Lease", LEASES, f"imagemode-{self.name}"))
        except ApiError as error:
            if error.status != 404:
                raise
            return "{}"
        return str(lease["metadata"]["annotations"][STATE])

    def close(self) -> None:
        """Take it all out of the cluster again."""
        self._following.stop()
        api = self._cluster.api
        # No garbage collector runs here: a replica set that is left would make its pods again and again.
        for kind in ("Deployment", "ReplicaSet", "PodDisruptionBudget"):
            api.delete(path_of(kind, self.name), {"propagationPolicy": "Background"})
        self._cluster.wait_for(self._has_no_pods, f"the pods of {self.name} did not go away")
        for member in self._members.values():
            api.delete(path_of("Node", name=member.name))

    def _has_no_pods(self) -> bool:
        found = self._cluster.pods(self.name)
        for pod in found:
            with contextlib.suppress(ApiError):
                self._cluster.api.delete(path_of("Pod", self.name, pod.name), {"gracePeriodSeconds": 0})
        return not found
