# SPDX-License-Identifier: GPL-3.0-or-later
"""A pod on a node that is drained: what kind it is of, which decides what becomes of it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.cluster_nodes import epoch

_MIRROR = "kubernetes.io/config.mirror"


class PodKind(enum.Enum):
    """In the order in which they are looked for: a pod of a DaemonSet that is stopping is of the DaemonSet."""

    STATIC = "static"
    DAEMONSET = "daemonset"
    COMPLETED = "completed"
    TERMINATING = "terminating"
    UNMANAGED = "unmanaged"
    MANAGED = "managed"


@dataclass(frozen=True)
class Pod:
    """What of a Pod object matters here. `gone_by` is when its grace ends, in seconds since 1970, if it is stopping;
    `grace` is the seconds that it asks for to stop."""

    namespace: str
    name: str
    uid: str
    kind: PodKind
    empty_dir: bool
    ready: bool
    labels: Mapping[str, str]
    gone_by: float | None
    grace: float

    @property
    def title(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


def parse_pod(item: Mapping[str, Any]) -> Pod:
    """From a Pod object of the API."""
    metadata, spec, status = (item.get(part) or {} for part in ("metadata", "spec", "status"))
    grace = spec.get("terminationGracePeriodSeconds")
    return Pod(
        namespace=str(metadata.get("namespace") or ""),
        name=str(metadata.get("name") or ""),
        uid=str(metadata.get("uid") or ""),
        kind=_kind(metadata, status),
        empty_dir=any("emptyDir" in volume for volume in spec.get("volumes") or ()),
        ready=any(
            condition.get("type") == "Ready" and condition.get("status") == "True"
            for condition in status.get("conditions") or ()
        ),
        labels={str(name): str(value) for name, value in (metadata.get("labels") or {}).items()},
        gone_by=epoch(metadata.get("deletionTimestamp")),
        grace=30.0 if grace is None else float(grace),
    )


def _kind(metadata: Mapping[str, Any], status: Mapping[str, Any]) -> PodKind:
    controller = next((owner for owner in metadata.get("ownerReferences") or () if owner.get("controller")), None)
    if _MIRROR in (metadata.get("annotations") or {}):
        return PodKind.STATIC
    if controller is not None and controller.get("kind") == "DaemonSet":
        return PodKind.DAEMONSET
    if status.get("phase") in ("Succeeded", "Failed"):
        return PodKind.COMPLETED
    if metadata.get("deletionTimestamp"):
        return PodKind.TERMINATING
    return PodKind.MANAGED if controller is not None else PodKind.UNMANAGED
