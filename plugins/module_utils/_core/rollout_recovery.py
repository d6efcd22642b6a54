# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a node whose update failed, from the results of its tasks. Pure.

The order of a node's update is drain, reboot, health, undrain. What failed last says where the node is: in service on its old
image, back on it, on a new one that is not well, or somewhere that nobody can see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

Result = Mapping[str, Any]


class Next(str, Enum):
    """What to do with the node."""

    KEEP = "keep"  # it is in service on its old image, and never left it
    RETURN = "return"  # it fell back to its old image by itself: look at it, and put it into service
    ROLL_BACK = "roll_back"  # it runs the new image and is not well
    LEAVE = "leave"  # it stays out of service until a person looks


@dataclass(frozen=True)
class Recovery:
    """`phase`: the step that failed. `deny`: whether the image is to blame, so that no other node may get it."""

    next: Next
    phase: str
    reason: str
    deny: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For templates."""
        return {"next": self.next.value, "phase": self.phase, "reason": self.reason, "deny": self.deny}


@dataclass(frozen=True)
class Results:
    """The registered results of one node's tasks in this run; None for a task that did not come to run."""

    drain: Result | None = None
    reboot: Result | None = None
    health: Result | None = None
    undrain: Result | None = None


def recovery_of(results: Results, expected_digests: Sequence[str], may_roll_back: bool, otherwise: str) -> Recovery:
    """`otherwise`: what to say of a failure that none of the results tells, such as that of a drain hook."""
    if _failed(results.undrain):
        return Recovery(Next.LEAVE, "putting back into service", _told(results.undrain, otherwise))
    if _failed(results.health):
        return _after_health(results.health, may_roll_back, otherwise)
    if _failed(results.reboot):
        return _after_reboot(results.reboot, expected_digests, otherwise)
    if _failed(results.drain):
        still_cordoned = bool((results.drain or {}).get("cordoned_by_us"))
        following = Next.LEAVE if still_cordoned else Next.KEEP
        return Recovery(following, "drain", _told(results.drain, otherwise))
    if _done(results.drain) and not _done(results.reboot):
        return Recovery(Next.KEEP, "before its reboot", otherwise)
    return Recovery(Next.LEAVE, "update", otherwise)


def _after_health(health: Result | None, may_roll_back: bool, otherwise: str) -> Recovery:
    reason = _told(health, otherwise)
    if health and health.get("unreachable_host"):
        return Recovery(Next.LEAVE, "health", reason)
    return Recovery(Next.ROLL_BACK if may_roll_back else Next.LEAVE, "health", reason, deny=True)


def _after_reboot(reboot: Result | None, expected_digests: Sequence[str], otherwise: str) -> Recovery:
    """A reboot that was refused left the node where it was. One that landed on the old image says by what is still on
    the disk whether the new one was tried and did not hold, or never came to boot."""
    result = reboot or {}
    reason = _told(reboot, otherwise)
    if result.get("unreachable_host") or not isinstance(result.get("after"), Mapping):
        return Recovery(Next.LEAVE, "reboot", reason)
    if not result.get("rebooted"):
        # `changed` says that the order was given: then the node has not come back.
        return Recovery(Next.LEAVE if result.get("changed") else Next.KEEP, "reboot", reason)
    before, after = result.get("before") or {}, result["after"]
    if not _same(before.get("booted"), after.get("booted")):
        return Recovery(Next.LEAVE, "reboot", reason)
    left_over = (after.get("rollback"), *(after.get("others") or ()))
    was_tried = any(item and item.get("digest") in expected_digests for item in left_over)
    return Recovery(Next.RETURN, "reboot", reason, deny=was_tried)


def _same(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    if not one or not other:
        return False
    return all(one.get(key) == other.get(key) for key in ("digest", "checksum"))


def _failed(result: Result | None) -> bool:
    return bool(result and result.get("failed"))


def _done(result: Result | None) -> bool:
    return bool(result) and not (result or {}).get("skipped")


def _told(result: Result | None, otherwise: str) -> str:
    return str((result or {}).get("msg") or otherwise)
