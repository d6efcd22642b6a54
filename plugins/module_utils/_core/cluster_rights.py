# SPDX-License-Identifier: GPL-3.0-or-later
"""The rights that a rollout needs in a cluster. roles/node_rollout/files/rbac.yml gives the same, and a test holds the two
together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Right:
    """One verb on one resource; `namespaced` if it is only needed in the namespace of the store."""

    verb: str
    group: str
    resource: str
    namespaced: bool = False

    def named(self, namespace: str) -> str:
        """`patch nodes`, `update leases.coordination.k8s.io in imagemode`."""
        name = f"{self.verb} {self.resource}" + (f".{self.group}" if self.group else "")
        return f"{name} in {namespace}" if self.namespaced else name

    def review(self, namespace: str) -> dict[str, Any]:
        """The SelfSubjectAccessReview that asks for it."""
        resource, _slash, part = self.resource.partition("/")
        attributes = {"verb": self.verb, "group": self.group, "resource": resource, "subresource": part}
        if self.namespaced:
            attributes["namespace"] = namespace
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {name: value for name, value in attributes.items() if value}},
        }


RIGHTS: dict[str, tuple[Right, ...]] = {
    "read": (
        Right("list", "", "nodes"),
        Right("list", "", "pods"),
        Right("list", "policy", "poddisruptionbudgets"),
    ),
    "drain": (
        Right("get", "", "nodes"),
        Right("list", "", "nodes"),
        Right("patch", "", "nodes"),
        Right("list", "", "pods"),
        Right("create", "", "pods/eviction"),
        Right("list", "policy", "poddisruptionbudgets"),
    ),
    "force": (Right("delete", "", "pods"),),
    "store": (
        Right("get", "coordination.k8s.io", "leases", namespaced=True),
        Right("create", "coordination.k8s.io", "leases", namespaced=True),
        Right("update", "coordination.k8s.io", "leases", namespaced=True),
    ),
}


def rights_of(purposes: Iterable[str]) -> tuple[Right, ...]:
    """The rights for these keys of `RIGHTS`, each once."""
    return tuple(dict.fromkeys(right for purpose in purposes for right in RIGHTS[purpose]))
