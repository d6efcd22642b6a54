# SPDX-License-Identifier: GPL-3.0-or-later
"""What checks, pods and budgets said of nodes, in lines for people. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_record import NodeRecord
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_steps import Budget, FailedCheck, Pod

# More than anybody reads before the first is set right.
_MOST = 12


def evidence(nodes: Iterable[NodeRecord]) -> list[str]:
    """Each once, in the order of the nodes."""
    told: dict[str, None] = {}
    for node in nodes:
        told.update(dict.fromkeys((*map(_check, node.checks), *map(_pod, node.pods), *map(_budget, node.budgets))))
    lines = list(told)
    if len(lines) <= _MOST:
        return lines
    return [*lines[:_MOST], f"and {len(lines) - _MOST} more, in the JSON file"]


def _check(check: FailedCheck) -> str:
    return f"check {check.name}{' on the old image' if check.after_rollback else ''}: {check.told or 'not right'}"


def _pod(pod: Pod) -> str:
    return f"pod {pod.name} {pod.outcome}{f': {pod.reason}' if pod.reason else ''}"


def _budget(budget: Budget) -> str:
    seen = []
    if budget.allowed is not None:
        seen.append(f"allows {budget.allowed} disruptions")
    if budget.healthy is not None and budget.wanted is not None:
        seen.append(f"{budget.healthy} pods healthy of {budget.wanted} wanted")
    return f"budget {budget.name}: {', '.join(seen)}" if seen else f"budget {budget.name}"
