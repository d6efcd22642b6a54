# SPDX-License-Identifier: GPL-3.0-or-later
"""All that is worth keeping of one run of a rollout: what the JSON file holds, the page shows and the job artifact sums up. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_causes import Cause, causes
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_outcome import (
    NodeOutcome,
    Outcome,
    counts,
    outcome_of,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_steps import (
    Budget,
    FailedCheck,
    NodeResults,
    Pod,
    Result,
    Step,
    StepKind,
    budgets_met,
    failed_checks,
    is_done,
    number,
    pods_in_the_way,
    steps_of,
)

SCHEMA = 1


@dataclass(frozen=True)
class NodeRecord:
    """One node's way. `out_since`: when it left service, in seconds since 1970, and `back_at` when it came back; None for never."""

    outcome: NodeOutcome
    steps: tuple[Step, ...] = ()
    out_since: float | None = None
    back_at: float | None = None
    checks: tuple[FailedCheck, ...] = ()
    pods: tuple[Pod, ...] = ()
    budgets: tuple[Budget, ...] = ()

    @property
    def name(self) -> str:
        """The node's name in the inventory."""
        return self.outcome.node

    def seconds(self, *kinds: StepKind) -> float | None:
        """How long these steps took together; None if there was none of them."""
        found = [step.seconds for step in self.steps if step.kind in kinds]
        return round(sum(found), 1) if found else None

    def as_dict(self) -> dict[str, Any]:
        """As the JSON file has it."""
        return {
            **self.outcome.as_dict(),
            "out_since": self.out_since,
            "back_at": self.back_at,
            "steps": [step.as_dict() for step in self.steps],
            "checks": [dict(vars(check)) for check in self.checks],
            "pods": [dict(vars(pod)) for pod in self.pods],
            "budgets": [dict(vars(budget)) for budget in self.budgets],
        }


@dataclass(frozen=True)
class RolloutRecord:
    """One run. Times are seconds since 1970. `reason`: why it is halted. `denied`: why the pool does not take the image."""

    pool: str
    image: str
    digests: tuple[str, ...]
    started_at: float
    ended_at: float
    nodes: tuple[NodeRecord, ...]
    window: int | None = None
    halted: bool = False
    reason: str = ""
    denied: str = ""
    check_mode: bool = False

    @property
    def outcomes(self) -> tuple[NodeOutcome, ...]:
        """How it ended for each node."""
        return tuple(node.outcome for node in self.nodes)

    @property
    def awaiting_approval(self) -> bool:
        """Whether nodes wait for a person's word."""
        return any(item.outcome is Outcome.AWAITING for item in self.outcomes)

    @property
    def is_right(self) -> bool:
        """Whether the run did for every node what it was to do."""
        return all(item.outcome.is_right for item in self.outcomes)

    @property
    def causes(self) -> tuple[Cause, ...]:
        """Why nodes did not get the image."""
        return causes(self.outcomes)

    def artifact(self) -> dict[str, Any]:
        """For the job that runs next: how it ended, without how it went."""
        return {
            "pool": self.pool,
            "target": {"image": self.image, "digests": list(self.digests)},
            "seconds": round(self.ended_at - self.started_at, 1),
            "counts": {outcome.value: count for outcome, count in counts(self.outcomes).items()},
            "halted": self.halted,
            "reason": self.reason,
            "denied": self.denied,
            "awaiting_approval": self.awaiting_approval,
            "nodes": [item.as_dict() for item in self.outcomes],
        }

    def as_dict(self) -> dict[str, Any]:
        """The JSON file. Fields are only ever added within one `schema`."""
        told = [
            {
                "outcome": one.outcome.value,
                "reason": one.reason,
                "nodes": list(one.nodes),
                "next": one.next,
                "command": one.command(self.pool),
            }
            for one in self.causes
        ]
        return {
            "schema": SCHEMA,
            **self.artifact(),
            "started_at": round(self.started_at, 1),
            "ended_at": round(self.ended_at, 1),
            "window": self.window,
            "causes": told,
            "nodes": [node.as_dict() for node in self.nodes],
        }


@dataclass(frozen=True)
class Run:
    """What is known of the whole run. `now`: in seconds since 1970.

    `checked` and `planned`: the registered results of rollout_plan. `last`: that of rollout_slot when all was over.
    """

    pool: str
    image: str
    digests: tuple[str, ...]
    now: float
    checked: Result | None = None
    planned: Result | None = None
    last: Result | None = None
    check_mode: bool = False

    @property
    def denied(self) -> str:
        """Why the pool does not take the image, since before the run or since a node was not well on it; empty if it does."""
        return str((self.checked or {}).get("denied") or (self.last or {}).get("denied") or "")

    @property
    def unapproved(self) -> str:
        """What a person has to do before any node that is staged may go; empty where the plan let nodes go."""
        planned = self.planned or {}
        if not planned.get("awaiting_approval"):
            return ""
        return str(planned.get("reason") or "it waits for a person's approval")

    @property
    def stopped(self) -> str:
        """Why the plan let no further node go; empty where it did."""
        planned = self.planned or {}
        return str(planned.get("reason") or "") if planned.get("halted") else ""


def record_of(run: Run, nodes: Mapping[str, NodeResults]) -> RolloutRecord:
    """`nodes`: the registered results by node, in the order of the inventory."""
    records = tuple(_node_record(name, results, run) for name, results in nodes.items())
    halted, reason = _halt(run, tuple(nodes.values()))
    return RolloutRecord(
        pool=run.pool,
        image=run.image,
        digests=run.digests,
        started_at=_start(run, records, tuple(nodes.values())),
        ended_at=run.now,
        nodes=records,
        window=_window(run, tuple(nodes.values())),
        halted=halted,
        reason=reason,
        denied=run.denied or _denied_now(records, nodes),
        check_mode=run.check_mode,
    )


def outcome_in(run: Run, node: str, results: NodeResults) -> NodeOutcome:
    """How the run ended for the node. Tasks say of which pool they speak, and here everybody knows it."""
    found = outcome_of(node, results, run.digests, run.check_mode, run.denied, run.unapproved, run.stopped)
    return replace(found, reason=found.reason.removeprefix(f"{run.pool}: ")) if found.reason else found


def _node_record(name: str, results: NodeResults, run: Run) -> NodeRecord:
    outcome = outcome_in(run, name, results)
    out_since, back_at = (None, None) if run.check_mode else _absence(results, outcome)
    return NodeRecord(
        outcome=outcome,
        steps=() if run.check_mode else steps_of(results),
        out_since=out_since,
        back_at=back_at,
        checks=failed_checks(results),
        pods=pods_in_the_way(results),
        budgets=budgets_met(results),
    )


def _absence(results: NodeResults, outcome: NodeOutcome) -> tuple[float | None, float | None]:
    """From when to when it was out of service. A slot that was adopted began in an earlier run."""
    held = results.held or {}
    since = number((held.get("slot") or {}).get("since"))
    since = number(held.get("at")) if since is None else since
    seconds = number(outcome.seconds)
    if since is None or seconds is None:
        return None, None
    return since, None if outcome.outcome is Outcome.FAILED else since + seconds


def _start(run: Run, records: Sequence[NodeRecord], nodes: Sequence[NodeResults]) -> float:
    """The first that is known to have happened in this run."""
    told = [number((result or {}).get("at")) for result in (run.checked, *(node.held for node in nodes))]
    began = [step.started_at for record in records for step in record.steps]
    return min([*began, *(at for at in told if at is not None), run.now])


def _halt(run: Run, nodes: Sequence[NodeResults]) -> tuple[bool, str]:
    for result in (run.checked, run.planned, *(node.held for node in nodes)):
        if result and result.get("halted"):
            return True, str(result.get("reason") or result.get("msg") or "")
    return (True, run.denied) if run.denied else (False, "")


def _window(run: Run, nodes: Sequence[NodeResults]) -> int | None:
    for result in (run.planned, *(node.held for node in nodes)):
        window = (result or {}).get("window")
        if isinstance(window, int) and not isinstance(window, bool):
            return window
    return None


def _denied_now(records: Sequence[NodeRecord], nodes: Mapping[str, NodeResults]) -> str:
    """A rollback of this run denies the image."""
    for record in records:
        if record.outcome.outcome is Outcome.ROLLED_BACK and is_done(nodes[record.name].rollback):
            return f"{record.name} was rolled back from it: {record.outcome.reason}"
    return ""
