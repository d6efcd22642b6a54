# SPDX-License-Identifier: GPL-3.0-or-later
"""What the answer to an eviction means: seen with Kubernetes 1.36, whose eviction registry gives these causes."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from ansible_collections.imagemode.nodes.plugins.module_utils._core.cluster_answer import Answer

_BUDGET_CAUSE = "DisruptionBudget"
_BUDGET_NAME = re.compile(r"disruption budget (\S+) ")
_TWO_BUDGETS = "more than one PodDisruptionBudget"
_SHORTEST, _LONGEST = 1.0, 10.0


class Eviction(enum.Enum):
    """How an eviction was answered."""

    GRANTED = "granted"
    GONE = "gone"
    HELD = "held"
    LATER = "later"
    LOOK_AGAIN = "look again"
    FORBIDDEN = "forbidden"
    REFUSED = "refused"


@dataclass(frozen=True)
class EvictionAnswer:
    """`reason` is for people; `budget` is the name of the one that holds the pod, if the server tells; `wait` is the
    seconds that the server asks to wait, or None."""

    kind: Eviction
    reason: str = ""
    budget: str = ""
    wait: float | None = None


def read_answer(answer: Answer, right: str = "create pods/eviction") -> EvictionAnswer:
    """The meaning of the answer to one eviction, or to a deletion, which needs another `right`."""
    wait = answer.retry_after
    if answer.ok:
        return EvictionAnswer(Eviction.GRANTED)
    if answer.status == 404:
        return EvictionAnswer(Eviction.GONE)
    if answer.status == 409:
        # Another pod of the same name by now (its uid is asked for), or two evictions counted against one budget at once.
        return EvictionAnswer(Eviction.LOOK_AGAIN, answer.told, wait=wait)
    if answer.status == 429:
        return _too_many(answer, wait)
    if _TWO_BUDGETS in answer.told:
        return EvictionAnswer(
            Eviction.HELD, "more than one disruption budget selects it, and Kubernetes then evicts it never", wait=wait
        )
    if any(cause.get("reason") == "NamespaceTerminating" for cause in answer.causes):
        return EvictionAnswer(Eviction.LOOK_AGAIN, "its namespace is being deleted", wait=wait)
    if answer.status == 403:
        return EvictionAnswer(
            Eviction.FORBIDDEN,
            f"the cluster refuses: {answer.told}. Give the user the right to {right} (files/rbac.yml of the role "
            "node_rollout)",
        )
    if answer.status == 401:
        return EvictionAnswer(
            Eviction.LATER, "the cluster does not accept the credentials (401); renew those in the kubeconfig"
        )
    if answer.is_passing:
        return EvictionAnswer(Eviction.LATER, f"the API server answered {answer.status}: {answer.told}", wait=wait)
    return EvictionAnswer(Eviction.REFUSED, f"the API server answered {answer.status}: {answer.told}")


def _too_many(answer: Answer, wait: float | None) -> EvictionAnswer:
    """A budget says no with 429, and so does an overloaded server: only a budget's answer names its cause."""
    for cause in answer.causes:
        if cause.get("reason") == _BUDGET_CAUSE:
            words = str(cause.get("message") or "")
            name = _BUDGET_NAME.search(words)
            return EvictionAnswer(Eviction.HELD, words, name.group(1) if name else "", wait)
    return EvictionAnswer(Eviction.LATER, f"the API server is overloaded (429): {answer.told}", wait=wait)


def pause(tries: int, wait: float | None, chance: float) -> float:
    """Seconds until the next try after `tries` (1 or more) in vain: 1, 2, 4, 8, 10, give or take a quarter, so that many
    nodes that wait for one budget do not ask all at once. What the server asks for counts if it is longer.

    `chance` is a random number between 0 and 1, which the caller draws.
    """
    own = min(_LONGEST, _SHORTEST * 2.0 ** min(tries - 1, 8)) * (0.75 + 0.5 * chance)
    return max(own, (wait or 0.0) * (1 + 0.25 * chance))
