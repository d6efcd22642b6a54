# SPDX-License-Identifier: GPL-3.0-or-later
"""What one node went through in a rollout, read from the results that its tasks registered. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

Result = Mapping[str, Any]

# Outcomes of pods, as node_drain tells them, that keep a node from being empty.
_IN_THE_WAY = frozenset({"held", "stopping", "refused", "waiting"})


class StepKind(str, Enum):
    """What takes time, in the order in which it happens."""

    STAGE = "stage"
    WAIT = "wait"
    DRAIN = "drain"
    REBOOT = "reboot"
    HEALTH = "health"
    ROLLBACK = "rollback"
    ROLLBACK_REBOOT = "rollback_reboot"
    ROLLBACK_HEALTH = "rollback_health"
    UNDRAIN = "undrain"


@dataclass(frozen=True)
class NodeResults:
    """The registered results of one node's tasks; None where a task never ran for it. Skipped and failed ones are in it as they are."""

    staging: Result | None = None
    held: Result | None = None
    drain: Result | None = None
    reboot: Result | None = None
    health: Result | None = None
    undrain: Result | None = None
    rollback: Result | None = None
    rollback_reboot: Result | None = None
    rollback_health: Result | None = None
    ended: Result | None = None

    @classmethod
    def from_variables(cls, variables: Mapping[str, Any], prefix: str) -> NodeResults:
        """From a host's variables, in which each is called by its name here after `prefix`."""
        found = {field.name: variables.get(f"{prefix}{field.name}") for field in fields(cls)}
        return cls(**{name: value if isinstance(value, Mapping) else None for name, value in found.items()})

    def timed(self) -> tuple[tuple[StepKind, Result | None], ...]:
        """The tasks that say when they began and how long they took."""
        return (
            (StepKind.STAGE, self.staging),
            (StepKind.DRAIN, self.drain),
            (StepKind.REBOOT, self.reboot),
            (StepKind.HEALTH, self.health),
            (StepKind.ROLLBACK, self.rollback),
            (StepKind.ROLLBACK_REBOOT, self.rollback_reboot),
            (StepKind.ROLLBACK_HEALTH, self.rollback_health),
            (StepKind.UNDRAIN, self.undrain),
        )


@dataclass(frozen=True)
class Step:
    """`started_at` in seconds since 1970. `told`: what the task said, if it failed."""

    kind: StepKind
    started_at: float
    seconds: float
    failed: bool = False
    told: str | None = None

    @property
    def ended_at(self) -> float:
        """In seconds since 1970."""
        return self.started_at + self.seconds

    def as_dict(self) -> dict[str, Any]:
        """For the record."""
        return {
            "step": self.kind.value,
            "started_at": round(self.started_at, 1),
            "seconds": round(self.seconds, 1),
            "failed": self.failed,
            "told": self.told,
        }


@dataclass(frozen=True)
class FailedCheck:
    """A check of the health gate that was not right. `after_rollback`: on the old image."""

    name: str
    told: str
    after_rollback: bool = False


@dataclass(frozen=True)
class Pod:
    """A pod that was still on the node when its drain failed."""

    name: str
    outcome: str
    reason: str = ""


@dataclass(frozen=True)
class Budget:
    """A PodDisruptionBudget that held pods of the node. Numbers are None where they could not be seen."""

    name: str
    allowed: int | None = None
    healthy: int | None = None
    wanted: int | None = None


def is_done(result: Result | None) -> bool:
    """Whether the task came to run, well or not."""
    return bool(result) and not (result or {}).get("skipped")


def has_failed(result: Result | None) -> bool:
    """Whether the task ran and failed."""
    return is_done(result) and bool((result or {}).get("failed") or (result or {}).get("unreachable"))


def steps_of(results: NodeResults) -> tuple[Step, ...]:
    """In the order of time. A task that does not tell its times is not among them."""
    found = []
    at, waited = number((results.held or {}).get("at")), number((results.held or {}).get("waited"))
    if at is not None and waited:
        found.append(Step(StepKind.WAIT, at - waited, waited))
    for kind, result in results.timed():
        started_at, seconds = number((result or {}).get("started_at")), number((result or {}).get("seconds"))
        if not is_done(result) or started_at is None or seconds is None:
            continue
        failed = has_failed(result)
        told = str((result or {}).get("msg") or "") or None
        found.append(Step(kind, started_at, max(0.0, seconds), failed, told if failed else None))
    return tuple(sorted(found, key=lambda step: step.started_at))


def failed_checks(results: NodeResults) -> tuple[FailedCheck, ...]:
    """Those of both health gates, in their order."""
    return tuple(
        FailedCheck(str(check.get("name") or check.get("kind") or "check"), str(check.get("told") or ""), after)
        for result, after in ((results.health, False), (results.rollback_health, True))
        if has_failed(result)
        for check in items(result, "checks")
        if not check.get("ok")
    )


def pods_in_the_way(results: NodeResults) -> tuple[Pod, ...]:
    """What a drain that failed left on the node, beside what it left on purpose."""
    if not has_failed(results.drain):
        return ()
    return tuple(
        Pod(_full_name(pod), str(pod.get("outcome")), str(pod.get("reason") or ""))
        for pod in items(results.drain, "pods")
        if pod.get("outcome") in _IN_THE_WAY
    )


def budgets_met(results: NodeResults) -> tuple[Budget, ...]:
    """Every budget that held the drain up, also those which let go later."""
    return tuple(
        Budget(_full_name(item), *(_count(item.get(key)) for key in ("allowed", "healthy", "wanted")))
        for item in items(results.drain, "budgets")
    )


def items(result: Result | None, key: str) -> tuple[Mapping[str, Any], ...]:
    """A result's list of objects; what is none is left out."""
    found = (result or {}).get(key)
    if not isinstance(found, (list, tuple)):
        return ()
    return tuple(item for item in found if isinstance(item, Mapping))


def number(value: object) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _full_name(item: Mapping[str, Any]) -> str:
    return f"{item.get('namespace')}/{item.get('name')}"
