# SPDX-License-Identifier: GPL-3.0-or-later
"""Disruption budgets: which pods they are about, and which of them can never let one go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_pod import Pod


@dataclass(frozen=True)
class Budget:
    """What of a PodDisruptionBudget matters here. `allowed`, `healthy`, `wanted` and `expected` are what the cluster last
    counted: pods that may go, that are healthy, that must be, and that there are; None before it counted."""

    namespace: str
    name: str
    selector: Mapping[str, Any] | None
    allowed: int | None
    healthy: int | None
    wanted: int | None
    expected: int | None
    limit: str

    def covers(self, pod: Pod) -> bool:
        """Whether it is about the pod. An empty selector is about all pods of the namespace (policy/v1)."""
        return self.namespace == pod.namespace and self.selector is not None and selects(self.selector, pod.labels)

    @property
    def never(self) -> str:
        """Why it can never let a pod go, and what would change that; empty if it can."""
        if self.limit in ("maxUnavailable: 0", "maxUnavailable: 0%"):
            return f"it allows no disruption at all ({self.limit}); raise maxUnavailable to 1"
        if self.expected and self.wanted is not None and self.wanted >= self.expected:
            return (
                f"it wants {self.wanted} healthy of {self.expected} ({self.limit}), so none may go; "
                "run one more, or lower the budget"
            )
        return ""

    @property
    def told(self) -> str:
        """Its name, and how much it allows."""
        if self.allowed is None:
            return f"budget {self.name}"
        return f"budget {self.name} ({self.allowed} disruptions allowed, {self.healthy} of {self.wanted} healthy)"


def parse_budget(item: Mapping[str, Any]) -> Budget:
    """From a PodDisruptionBudget object of policy/v1."""
    metadata, spec, status = (item.get(part) or {} for part in ("metadata", "spec", "status"))
    limit = next((f"{name}: {spec[name]}" for name in ("maxUnavailable", "minAvailable") if name in spec), "")
    counted = bool(status.get("observedGeneration"))
    return Budget(
        namespace=str(metadata.get("namespace") or ""),
        name=str(metadata.get("name") or ""),
        selector=spec.get("selector"),
        allowed=_count(status, "disruptionsAllowed", counted),
        healthy=_count(status, "currentHealthy", counted),
        wanted=_count(status, "desiredHealthy", counted),
        expected=_count(status, "expectedPods", counted),
        limit=limit,
    )


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector of the API is true of labels. One with an operator of the future is true of none."""
    for name, value in (selector.get("matchLabels") or {}).items():
        if labels.get(name) != value:
            return False
    for wish in selector.get("matchExpressions") or ():
        name, operator, values = wish.get("key"), wish.get("operator"), wish.get("values") or ()
        is_so = {
            "In": labels.get(name) in values,
            "NotIn": name not in labels or labels[name] not in values,
            "Exists": name in labels,
            "DoesNotExist": name not in labels,
        }.get(operator, False)
        if not is_so:
            return False
    return True


def selector_query(selector: Mapping[str, Any]) -> str:
    """The same selector as a `labelSelector` of a query; empty selects all."""
    parts = [f"{name}={value}" for name, value in (selector.get("matchLabels") or {}).items()]
    for wish in selector.get("matchExpressions") or ():
        name, values = wish.get("key"), ",".join(wish.get("values") or ())
        parts.append(
            {
                "In": f"{name} in ({values})",
                "NotIn": f"{name} notin ({values})",
                "Exists": f"{name}",
                "DoesNotExist": f"!{name}",
            }[str(wish.get("operator"))]
        )
    return ",".join(parts)


def _count(status: Mapping[str, Any], name: str, counted: bool) -> int | None:
    # Zeros may be left out of the JSON.
    return int(status.get(name) or 0) if counted else None
