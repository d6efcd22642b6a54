# SPDX-License-Identifier: GPL-3.0-or-later
"""Why nodes did not get their image, each cause told once, and what a person does next. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_outcome import NodeOutcome, Outcome
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_wording import names

# What differs between two nodes with one trouble: how long it took there, and the boot it was in.
_INCIDENTAL = re.compile(
    r"\b\d+(?:\.\d+)?(?= ?(?:s|min|h|ms|seconds|minutes|hours)\b)"
    r"|\b[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\b"
)

# What a person wants to read first.
_WORST_FIRST = (
    Outcome.FAILED,
    Outcome.ROLLED_BACK,
    Outcome.UNREACHABLE,
    Outcome.KEPT,
    Outcome.UNSTAGED,
    Outcome.DENIED,
    Outcome.NOT_REACHED,
    Outcome.AWAITING,
)

_NEXT = {
    Outcome.FAILED: (
        "Out of service, and it keeps its place in the window. Repair it, then run the rollout again: it goes first, and the others "
        "follow. If it is gone for good, remove it from the inventory and release its place:"
    ),
    Outcome.ROLLED_BACK: (
        "In service on the image it ran before. Build an image that is well, and roll that out. To try this one again in spite of it, "
        "allow it:"
    ),
    Outcome.UNREACHABLE: (
        "Nobody knows whether it is in service, so it counts as out of service. Bring it back, then run the rollout again."
    ),
    Outcome.KEPT: "In service on the image it ran before. Set right what is said here, then run the rollout again.",
    Outcome.UNSTAGED: "In service on the image it ran before. Set right what is said here, then run the rollout again.",
    Outcome.DENIED: "In service on the image it ran before. Roll out another image; or, once you know better, allow it again:",
    Outcome.NOT_REACHED: (
        "In service on the image it ran before, with the new one staged. Nothing to do here: the next run of the rollout carries on."
    ),
    Outcome.AWAITING: (
        "In service on the image it ran before, with the new one staged. Look at the canaries, then run the rollout again, "
        "which is the approval:"
    ),
}


@dataclass(frozen=True)
class Cause:
    """One trouble, in the words of the first node that had it, and all nodes that did."""

    outcome: Outcome
    reason: str
    nodes: tuple[str, ...]

    @property
    def next(self) -> str:
        """What to do."""
        return _NEXT[self.outcome]

    def command(self, pool: str) -> str:
        """What to type for that, where it is more than to run the rollout again; empty otherwise."""
        store = ["imagemode.nodes.rollout_store", "-e", f"imagemode_pool={pool}"]
        if self.outcome is Outcome.FAILED:
            told = json.dumps({"imagemode_store_state": "released", "imagemode_store_nodes": list(self.nodes)})
            words = [*store, "-e", told]
        elif self.outcome in (Outcome.ROLLED_BACK, Outcome.DENIED):
            words = [*store, "-e", "imagemode_store_state=allowed"]
        elif self.outcome is Outcome.AWAITING:
            words = ["imagemode.nodes.rollout", "-e", f"imagemode_pool={pool}", "-e", "imagemode_approved=true"]
        else:
            return ""
        return f"ansible-playbook -i INVENTORY {shlex.join(words)}"

    @property
    def line(self) -> str:
        """For the terminal: `6 nodes not staged (n1, n2 and 4 more): no space left`."""
        if len(self.nodes) == 1:
            return f"{self.nodes[0]} {self.outcome.value}: {self.reason}"
        return f"{len(self.nodes)} nodes {self.outcome.value} ({names(self.nodes, 4)}): {self.reason}"


def causes(outcomes: Sequence[NodeOutcome]) -> tuple[Cause, ...]:
    """Of all nodes that did not get their image; the worst first, and of one kind what most nodes have."""
    found: dict[tuple[Outcome, str], list[NodeOutcome]] = {}
    for item in outcomes:
        if item.outcome in _WORST_FIRST:
            found.setdefault((item.outcome, _essence(item)), []).append(item)
    told = [Cause(key[0], group[0].reason or "", tuple(item.node for item in group)) for key, group in found.items()]
    return tuple(sorted(told, key=lambda cause: (_WORST_FIRST.index(cause.outcome), -len(cause.nodes))))


def _essence(item: NodeOutcome) -> str:
    """The reason without what only this node has."""
    reason = re.sub(rf"(?<![\w.-]){re.escape(item.node)}(?![\w-])", "~", item.reason or "")
    return _INCIDENTAL.sub("#", reason)
