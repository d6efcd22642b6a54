# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of each pod of a node that is drained. docs/drain.md has the same rules as a table."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_budget import Budget
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_pod import Pod, PodKind


class Fate(enum.Enum):
    """What is done with a pod."""

    LEAVE = "leave"
    WAIT = "wait"
    EVICT = "evict"
    REFUSE = "refuse"


@dataclass(frozen=True)
class DrainRules:
    """The options of a drain that decide over pods. `grace` is the override in seconds; None leaves pods their own."""

    grace: int | None = None
    empty_dir_moves: bool = True
    unmanaged_go: bool = False
    force: bool = False


@dataclass(frozen=True)
class Ruling:
    """What is done with a pod, and why, for people."""

    fate: Fate
    reason: str


_STAYS = {
    PodKind.STATIC: "the node's kubelet runs it from a file, and starts it again after the reboot",
    PodKind.DAEMONSET: "its DaemonSet would put it on the node again at once",
    PodKind.COMPLETED: "it has ended, and nothing of it runs",
}


def rule(pod: Pod, rules: DrainRules) -> Ruling:
    """What is done with a pod. A pod that is refused for two reasons is told both."""
    if pod.kind in _STAYS:
        return Ruling(Fate.LEAVE, _STAYS[pod.kind])
    if pod.kind is PodKind.TERMINATING:
        return Ruling(Fate.WAIT, "it was told to stop before")
    objections = []
    if pod.kind is PodKind.UNMANAGED and not rules.unmanaged_go:
        objections.append(
            "no controller makes it again elsewhere (unmanaged: delete, in a rollout imagemode_drain_unmanaged, lets it go for good)"
        )
    if pod.empty_dir and not rules.empty_dir_moves:
        objections.append(
            "it keeps data in an emptyDir volume (empty_dir: evict, in a rollout imagemode_drain_empty_dir, lets it move without)"
        )
    if objections:
        return Ruling(Fate.REFUSE, ", and ".join(objections))
    return Ruling(Fate.EVICT, "")


def refusals(pods: Sequence[Pod], rules: DrainRules, budgets: Sequence[Budget]) -> dict[str, str]:
    """By uid, the pods that this drain can never move, and why: what is known before the first one is moved."""
    found: dict[str, str] = {}
    for pod in pods:
        ruling = rule(pod, rules)
        if ruling.fate is Fate.REFUSE:
            found[pod.uid] = ruling.reason
        elif ruling.fate is Fate.EVICT and not rules.force:
            names = sorted(budget.name for budget in budgets if budget.covers(pod))
            if len(names) > 1:
                found[pod.uid] = (
                    f"{len(names)} disruption budgets select it ({', '.join(names)}), and Kubernetes then evicts it never; leave it one"
                )
    return found


def is_unconfirmed(pod: Pod, node_ready: bool, now: float) -> bool:
    """Whether a stopping pod is as gone as the cluster will ever know: its grace is over, and its node does not answer.

    `now` is in seconds since 1970, by a clock that may differ a little from the cluster's: ten seconds are allowed for.
    """
    return not node_ready and pod.gone_by is not None and now > pod.gone_by + 10.0
