# SPDX-License-Identifier: GPL-3.0-or-later
"""How a rollout ended for each node, and the closing table. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import short_digest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_staging import (
    Staging,
    StagingOutcome,
    staging_from_result,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_steps import (
    NodeResults,
    Result,
    has_failed,
    is_done,
)


class Outcome(str, Enum):
    """One node's end, in the order in which they are counted."""

    UPDATED = "updated"
    RIGHT = "already right"
    PREDICTED = "would be updated"
    AWAITING = "awaits approval"
    FAILED = "failed"
    ROLLED_BACK = "rolled back"
    KEPT = "not updated"
    UNSTAGED = "not staged"
    DENIED = "image denied"
    UNREACHABLE = "unreachable"
    NOT_REACHED = "not its turn"

    @property
    def is_right(self) -> bool:
        """Whether the run did for the node what it was to do."""
        return self in (Outcome.UPDATED, Outcome.RIGHT, Outcome.PREDICTED, Outcome.AWAITING)

    @property
    def is_cause(self) -> bool:
        """Whether something went wrong on the node itself, and it did not only wait behind others."""
        return not self.is_right and self is not Outcome.NOT_REACHED


@dataclass(frozen=True)
class NodeOutcome:
    """`seconds`: out of service; None if it never was. A plain ostree deployment has no digest, but a version or a checksum."""

    node: str
    outcome: Outcome
    from_digest: str | None = None
    to_digest: str | None = None
    seconds: float | None = None
    reason: str | None = None
    from_version: str | None = None
    from_checksum: str | None = None

    @property
    def from_label(self) -> str:
        """What it ran before, as short as tells it from others, without spaces."""
        if self.from_digest:
            return short_digest(self.from_digest)
        if self.from_version and " " not in self.from_version:
            return self.from_version
        return f"ostree:{self.from_checksum[:12]}" if self.from_checksum else "-"

    def as_dict(self) -> dict[str, Any]:
        """For a module's result."""
        return {**vars(self), "outcome": self.outcome.value}


def outcome_of(
    node: str,
    results: NodeResults,
    target_digests: Sequence[str],
    check_mode: bool,
    denied: str = "",
    unapproved: str = "",
    stopped: str = "",
) -> NodeOutcome:
    """From what the node's tasks registered. `denied`: why the pool does not take the image; empty if it does. `unapproved`:
    what a person has to do before nodes that are staged may go; empty if the plan let them go. `stopped`: why the plan let
    no further node go; empty if it did.

    A node that an earlier run left rebooting was away when this one staged: what it ran is in its slot, and what it runs
    is known since its reboot.
    """
    staging = staging_from_result(node, results.staging, tuple(target_digests), check_mode)
    held = results.held or {}
    booted = (results.reboot or {}).get("booted") or {}
    to_digest = staging.digest or booted.get("digest")
    seen = NodeOutcome(node, Outcome.NOT_REACHED, to_digest=to_digest, **_origin(results, staging))
    if is_done(results.ended):
        return _after_its_turn(seen, results, check_mode)
    if held.get("awaiting_approval"):
        return replace(seen, outcome=Outcome.AWAITING, reason=_said(held, "it waits for a person's approval"))
    if is_done(results.held) and held.get("slot_state") == "held":
        return replace(seen, outcome=Outcome.FAILED, reason="its update was begun, and nobody recorded its end")
    if held.get("failed"):
        return replace(seen, reason=_said(held, "its slot was refused"))
    if denied and not is_done(results.staging):
        return replace(seen, outcome=Outcome.DENIED, reason=denied)
    if unapproved and staging.outcome is StagingOutcome.READY:
        return replace(seen, outcome=Outcome.AWAITING, reason=unapproved)
    return _before_its_turn(seen, staging, stopped, check_mode)


def _after_its_turn(seen: NodeOutcome, results: NodeResults, check_mode: bool) -> NodeOutcome:
    held, ended = results.held or {}, results.ended or {}
    if ended.get("slot_state") == "released":
        if check_mode:
            return replace(seen, outcome=Outcome.PREDICTED)
        return replace(seen, outcome=Outcome.UPDATED, seconds=ended.get("seconds"))
    if held.get("halted") or held.get("slot_state") == "waiting":  # it never left service
        return replace(seen, reason=_said(held, "the rollout is stopped"))
    seen = replace(seen, seconds=ended.get("seconds"), reason=_why(results))
    if ended.get("slot_state") != "kept":
        return replace(seen, outcome=Outcome.FAILED)
    left_it = is_done(results.rollback) or bool((results.reboot or {}).get("rebooted"))
    return replace(seen, outcome=Outcome.ROLLED_BACK if left_it else Outcome.KEPT)


def _before_its_turn(seen: NodeOutcome, staging: Staging, stopped: str, check_mode: bool) -> NodeOutcome:
    if staging.outcome is StagingOutcome.RIGHT:
        return replace(seen, outcome=Outcome.RIGHT)
    if staging.outcome is StagingOutcome.FAILED:
        return replace(seen, outcome=Outcome.UNSTAGED, reason=staging.reason)
    if staging.outcome is StagingOutcome.UNREACHABLE:
        return replace(seen, outcome=Outcome.UNREACHABLE, reason=staging.reason)
    where = "would be staged, and wait for its reboot" if check_mode else "staged, and waits for its reboot"
    return replace(seen, reason=f"{where}: {stopped or 'the rollout stopped before its turn'}")


def _origin(results: NodeResults, staging: Staging) -> dict[str, Any]:
    slot = (results.held or {}).get("slot") or {}
    before = ((results.staging or {}).get("before") or {}).get("booted") or {}
    if slot.get("from_digest") and slot["from_digest"] != before.get("digest"):
        return {"from_digest": slot["from_digest"]}
    version = before.get("version") or (before.get("image") or {}).get("version")
    return {"from_digest": staging.from_digest, "from_version": version, "from_checksum": before.get("checksum")}


def _why(results: NodeResults) -> str:
    """What the recorded failure says, else the first task that failed, be it the record."""
    ended = results.ended or {}
    if ended.get("reason"):
        return str(ended["reason"])
    for _kind, result in results.timed():
        if has_failed(result):
            return _said(result or {}, "its update failed")
    return _said(ended, "its update failed") if has_failed(ended) else "its update failed"


def _said(result: Result, otherwise: str) -> str:
    return str(result.get("reason") or result.get("msg") or otherwise)


def table(pool: str, outcomes: Sequence[NodeOutcome]) -> list[str]:
    """The closing table, line by line, with a first line that counts."""
    rows = [("node", "from", "to", "out of service", "outcome")]
    for item in outcomes:
        seconds = "-" if item.seconds is None else f"{item.seconds:.0f} s"
        to_digest = short_digest(item.to_digest) if item.to_digest else "-"
        rows.append((item.node, item.from_label, to_digest, seconds, item.outcome.value))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return [f"{pool}: {counted(outcomes)}", *(f"  {line}" for line in lines)]


def counts(outcomes: Sequence[NodeOutcome]) -> Mapping[Outcome, int]:
    """How many nodes ended how; only ends that there are, in the order of the kinds."""
    found = {kind: sum(1 for item in outcomes if item.outcome is kind) for kind in Outcome}
    return {kind: count for kind, count in found.items() if count}


def counted(outcomes: Sequence[NodeOutcome]) -> str:
    """`6 nodes: 4 updated, 2 already right`, in the order of the kinds."""
    nodes = "1 node" if len(outcomes) == 1 else f"{len(outcomes)} nodes"
    return f"{nodes}: " + ", ".join(f"{count} {kind.value}" for kind, count in counts(outcomes).items())
