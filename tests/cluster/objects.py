# SPDX-License-Identifier: GPL-3.0-or-later
"""The documents of what tests put into the cluster. The annotations are orders to its scheduler and kubelet."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Literal

from cluster.api import Document

# What owns a pod: a controller, the node itself (a static pod), or nobody.
Owner = Literal["ReplicaSet", "StatefulSet", "DaemonSet", "Job", "static"]
ZONE = "topology.kubernetes.io/zone"
OURS = "cluster.test/"
STOPS_AFTER = f"{OURS}stops-after"  # seconds that its process goes on after it was told to end
READY_AFTER = f"{OURS}ready-after"  # seconds until it is ready, from when it has a node
READY = f"{OURS}ready"  # "false": runs, and never gets ready
PHASE = f"{OURS}phase"  # what becomes of it instead of Running: Succeeded, Failed, Pending
PREFERRED_NODE = f"{OURS}preferred-node"  # where the scheduler puts it, as long as that node takes pods
APPLICATION = f"{OURS}application"  # label: what a controller and its pods have in common
CONTAINERS = [{"name": "main", "image": "registry.invalid/main", "imagePullPolicy": "IfNotPresent"}]


@dataclasses.dataclass(frozen=True)
class Behaviour:
    """How a pod behaves on its node. Times are in seconds."""

    ready: bool = True
    ready_after: float = 0.0
    stops_after: float = 0.2
    grace: int = 30
    phase: str = "Running"
    empty_dir: bool = False
    finalizers: Sequence[str] = ()

    @property
    def annotations(self) -> dict[str, str]:
        return {
            STOPS_AFTER: str(self.stops_after),
            READY_AFTER: str(self.ready_after),
            READY: "true" if self.ready else "false",
            PHASE: self.phase,
        }

    @property
    def spec(self) -> Document:
        volumes = [{"name": "scratch", "emptyDir": {}}] if self.empty_dir else []
        return {"containers": CONTAINERS, "terminationGracePeriodSeconds": self.grace, "volumes": volumes}


@dataclasses.dataclass(frozen=True)
class Pod:
    """A pod as it was a moment ago. ``owner`` is ``Kind/name`` of its controller, empty without one."""

    namespace: str
    name: str
    uid: str
    node: str
    phase: str
    ready: bool
    deleting: bool
    owner: str
    labels: Mapping[str, str]

    @classmethod
    def parse(cls, document: Document) -> Pod:
        metadata, status = document["metadata"], document.get("status", {})
        owners = [owner for owner in metadata.get("ownerReferences", []) if owner.get("controller")]
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            node=document["spec"].get("nodeName", ""),
            phase=status.get("phase", ""),
            ready=is_true(document, "Ready"),
            deleting="deletionTimestamp" in metadata,
            owner="/".join((owners[0]["kind"], owners[0]["name"])) if owners else "",
            labels=metadata.get("labels", {}),
        )


def is_true(document: Document, condition: str) -> bool:
    """Whether a condition of a node or pod is True."""
    conditions = document.get("status", {}).get("conditions", [])
    return any(one["type"] == condition and one["status"] == "True" for one in conditions)


def node(name: str, labels: Mapping[str, str], zone: str | None, taints: Sequence[Document]) -> Document:
    zones = {} if zone is None else {ZONE: zone}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **zones, **labels}},
        "spec": {"taints": list(taints)},
    }


def node_status(ready: bool, boot_id: str, addresses: Sequence[Document] = ()) -> Document:
    """What a kubelet says of its node; ``ready`` false is what the cluster says when the kubelet says nothing any more."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {
        "type": "Ready",
        "status": "True" if ready else "Unknown",
        "reason": "KubeletReady" if ready else "NodeStatusUnknown",
        "message": "" if ready else "Kubelet stopped posting node status.",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }
    capacity = {"cpu": "8", "memory": "32Gi", "pods": "250"}
    system = ("machineID", "systemUUID", "kernelVersion", "osImage", "containerRuntimeVersion", "kubeletVersion")
    information = {
        **dict.fromkeys((*system, "kubeProxyVersion"), ""),
        "operatingSystem": "linux",
        "architecture": "amd64",
        "bootID": boot_id,
    }
    return {
        "status": {
            "conditions": [condition],
            "capacity": capacity,
            "allocatable": capacity,
            "nodeInfo": information,
            "addresses": list(addresses),
        }
    }


def owner_reference(owner: Document) -> Document:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def pod(
    namespace: str,
    name: str,
    node: str,
    behaviour: Behaviour,
    *,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    owner: Document | None,
) -> Document:
    """A pod that is on its node from the beginning, as those of a DaemonSet or of a kubelet's own are."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": dict(labels),
            "annotations": {**behaviour.annotations, **annotations},
            "finalizers": list(behaviour.finalizers),
            "ownerReferences": [] if owner is None else [owner_reference(owner)],
        },
        "spec": {**behaviour.spec, "nodeName": node},
    }


def controller(
    kind: Literal["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job"],
    namespace: str,
    name: str,
    behaviour: Behaviour,
    *,
    replicas: int = 1,
    labels: Mapping[str, str],
    node_selector: Mapping[str, str] | None = None,
    preferred_node: str | None = None,
) -> Document:
    """A controller of pods. Those of a Deployment, ReplicaSet or StatefulSet are made and placed by the cluster."""
    everything = {APPLICATION: name, **labels}
    preferred = {} if preferred_node is None else {PREFERRED_NODE: preferred_node}
    template: Document = {
        "metadata": {
            "labels": everything,
            "annotations": {**behaviour.annotations, **preferred},
            "finalizers": list(behaviour.finalizers),
        },
        "spec": {**behaviour.spec, "nodeSelector": dict(node_selector or {})},
    }
    document: Document = {
        "apiVersion": "batch/v1" if kind == "Job" else "apps/v1",
        "kind": kind,
        "metadata": {"namespace": namespace, "name": name, "labels": everything},
        "spec": {"template": template},
    }
    spec = document["spec"]
    if kind == "Job":
        template["spec"]["restartPolicy"] = "Never"
    else:
        spec["selector"] = {"matchLabels": {APPLICATION: name}}
    if kind in ("Deployment", "ReplicaSet", "StatefulSet"):
        spec["replicas"] = replicas
    if kind == "StatefulSet":
        spec |= {"serviceName": name, "podManagementPolicy": "Parallel"}
    return document


def budget(namespace: str, name: str, labels: Mapping[str, str], limits: Mapping[str, int | str]) -> Document:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"selector": {"matchLabels": dict(labels)}, **limits},
    }
