# SPDX-License-Identifier: GPL-3.0-or-later
"""How a rollout ended for each node, and the closing table. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import short_digest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_staging import Staging, StagingOutcome


class Outcome(str, Enum):
    """One node's end."""

    UPDATED = "updated"
    RIGHT = "already right"
    PREDICTED = "would be updated"
    FAILED = "failed"
    UNSTAGED = "not staged"
    UNREACHABLE = "unreachable"
    NOT_REACHED = "not its turn"

    @property
    def is_right(self) -> bool:
        """Whether the node runs the wanted image, or would after a real run."""
        return self in (Outcome.UPDATED, Outcome.RIGHT, Outcome.PREDICTED)


@dataclass(frozen=True)
class NodeOutcome:
    """`seconds`: out of service; None if it never was."""

    node: str
    outcome: Outcome
    from_digest: str | None = None
    to_digest: str | None = None
    seconds: float | None = None
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For a module's result."""
        return {
            "node": self.node,
            "outcome": self.outcome.value,
            "from_digest": self.from_digest,
            "to_digest": self.to_digest,
            "seconds": self.seconds,
            "reason": self.reason,
        }


def outcome_of(
    staging: Staging,
    held: Mapping[str, Any] | None,
    rebooted: Mapping[str, Any] | None,
    ended: Mapping[str, Any] | None,
    check_mode: bool,
) -> NodeOutcome:
    """From the staging, and the registered results of `rollout_slot` (its `held` call, and the last one) and `node_reboot`.

    A node that an earlier run left rebooting was away when this one staged: what it ran is in its slot, and what it runs
    is known since its reboot.
    """
    slot = (held or {}).get("slot") or {}
    booted = (rebooted or {}).get("booted") or {}
    node = NodeOutcome(
        staging.node,
        Outcome.NOT_REACHED,
        from_digest=slot.get("from_digest") or staging.from_digest,
        to_digest=staging.digest or booted.get("digest"),
    )
    if ended and not ended.get("skipped"):
        seconds = ended.get("seconds")
        if ended.get("slot_state") == "released":
            if check_mode:
                return replace(node, outcome=Outcome.PREDICTED)
            return replace(node, outcome=Outcome.UPDATED, seconds=seconds)
        if held and held.get("halted"):
            return replace(node, outcome=Outcome.NOT_REACHED, reason=str(held.get("reason")))
        reason = str(ended.get("reason") or "its update failed")
        return replace(node, outcome=Outcome.FAILED, seconds=seconds, reason=reason)
    if staging.outcome is StagingOutcome.RIGHT:
        return replace(node, outcome=Outcome.RIGHT)
    if staging.outcome is StagingOutcome.FAILED:
        return replace(node, outcome=Outcome.UNSTAGED, reason=staging.reason)
    if staging.outcome is StagingOutcome.UNREACHABLE:
        return replace(node, outcome=Outcome.UNREACHABLE, reason=staging.reason)
    reason = "staged, and waits for its reboot: the rollout stopped before its turn"
    return replace(node, outcome=Outcome.NOT_REACHED, reason=reason)


def table(pool: str, outcomes: Sequence[NodeOutcome]) -> list[str]:
    """The closing table, line by line, with a last line that counts."""
    rows = [("node", "from", "to", "out of service", "outcome")]
    for item in outcomes:
        seconds = "-" if item.seconds is None else f"{item.seconds:.0f} s"
        rows.append((item.node, _cell(item.from_digest), _cell(item.to_digest), seconds, item.outcome.value))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return [f"{pool}: {counted(outcomes)}", *(f"  {line}" for line in lines)]


def counted(outcomes: Sequence[NodeOutcome]) -> str:
    """`6 nodes: 4 updated, 2 already right`, in the order of the kinds."""
    found = [(kind, sum(1 for item in outcomes if item.outcome is kind)) for kind in Outcome]
    return f"{len(outcomes)} nodes: " + ", ".join(f"{count} {kind.value}" for kind, count in found if count)


def _cell(digest: str | None) -> str:
    return short_digest(digest) if digest else "-"
