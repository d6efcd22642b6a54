# SPDX-License-Identifier: GPL-3.0-or-later
"""The majority of etcd, which a cluster's memory hangs on, as far as the cluster shows its members."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.cluster_nodes import ETCD_ROLE, ClusterNode
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_pod import PodKind, parse_pod

# Where members of etcd run as static pods: kubeadm and RKE2, OpenShift.
ETCD_PODS: tuple[tuple[str, str], ...] = (("kube-system", "component=etcd"), ("openshift-etcd", "app=etcd"))
ETCD_NODES = f"{ETCD_ROLE}=true"


@dataclass(frozen=True)
class EtcdMembers:
    """Whether each member is ready, by the name of its node."""

    ready_on: Mapping[str, bool]

    @property
    def ready(self) -> int:
        """How many are ready."""
        return sum(self.ready_on.values())

    @property
    def majority(self) -> int:
        """How many have to be ready."""
        return len(self.ready_on) // 2 + 1

    @property
    def healthy(self) -> bool:
        """Whether a majority is ready."""
        return self.ready >= self.majority

    def without(self, node: str) -> str:
        """Why this node must not go, in words; empty if it may, has no member, or has the only one.

        The only member takes the API server with it whatever one does, and comes back with its data.
        """
        if node not in self.ready_on or len(self.ready_on) == 1:
            return ""
        left = sum(ready for name, ready in self.ready_on.items() if name != node)
        if left >= self.majority:
            return ""
        down = sorted(name for name, ready in self.ready_on.items() if not ready and name != node)
        return (
            f"etcd has {len(self.ready_on)} members and needs {self.majority} of them, but without {node} only {left} would be ready"
            + (f" (not ready: {', '.join(down)})" if down else "")
        )

    def as_dict(self) -> dict[str, Any]:
        """For a task's result."""
        return {"members": len(self.ready_on), "ready": self.ready, "healthy": self.healthy}


def members_by_pods(items: Iterable[Mapping[str, Any]]) -> EtcdMembers | None:
    """From the Pod objects behind a row of `ETCD_PODS`; None if there are none. Only static pods are members: others with
    the label, such as a test's or a backup job's, are not."""
    found = {}
    for item in items:
        pod = parse_pod(item)
        if pod.kind is PodKind.STATIC:
            found[str((item.get("spec") or {}).get("nodeName") or "")] = pod.ready
    return EtcdMembers(found) if found else None


def members_by_nodes(nodes: Sequence[ClusterNode]) -> EtcdMembers | None:
    """From the nodes with the label of `ETCD_NODES`, whose members show no pods (k3s); None if there are none."""
    found = {node.name: node.ready for node in nodes if node.etcd_role}
    return EtcdMembers(found) if found else None


def is_etcd_pod(namespace: str, labels: Mapping[str, str]) -> str | None:
    """The label selector of the etcd pods that this one is one of; None if it is none."""
    for home, selector in ETCD_PODS:
        name, _equals, value = selector.partition("=")
        if namespace == home and labels.get(name) == value:
            return selector
    return None
