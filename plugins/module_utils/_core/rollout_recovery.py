# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a node whose update failed, from the results of its tasks. Pure.

The order of a node's update is drain, reboot, health, undrain. What failed last says where the node is: in service on its old
image, back on it, on a new one that is not well, or somewhere that nobody can see.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    """The registered results of one node's tasks in this run; None for a task that did not come to run.

    `held` is that of its slot, which knows what it ran before any run took it out of service; `booted` the deployment that it
    ran when this run first saw it, None if that is not known.
    """

    drain: Result | None = None
    reboot: Result | None = None
    health: Result | None = None
    undrain: Result | None = None
    held: Result | None = None
    booted: Result | None = None


def recovery_of(results: Results, may_roll_back: bool, otherwise: str) -> Recovery:
    """`otherwise`: what to say of a failure that none of the results tells, such as that of a drain hook."""
    found = _recovery_of(results, may_roll_back, otherwise)
    if found.next is Next.KEEP and not _never_left(results):
        # An earlier run, for another image perhaps, rebooted it, and nobody has looked at its health since.
        return Recovery(Next.LEAVE, found.phase, found.reason)
    return found


def _recovery_of(results: Results, may_roll_back: bool, otherwise: str) -> Recovery:
    if _failed(results.undrain) and (results.undrain or {}).get("not_ready"):
        return _after_health(results.undrain, may_roll_back, otherwise)
    if _failed(results.undrain):
        return Recovery(Next.LEAVE, "putting back into service", _told(results.undrain, otherwise))
    if _failed(results.health):
        return _after_health(results.health, may_roll_back, otherwise)
    if _failed(results.reboot):
        return _after_reboot(results.reboot, otherwise)
    if _failed(results.drain):
        still_cordoned = bool((results.drain or {}).get("cordoned_by_us"))
        following = Next.LEAVE if still_cordoned else Next.KEEP
        return Recovery(following, "drain", _told(results.drain, otherwise))
    if not _done(results.reboot) and (_done(results.drain) or results.booted):
        return Recovery(Next.KEEP, "before its reboot", otherwise)
    return Recovery(Next.LEAVE, "update", otherwise)


def _never_left(results: Results) -> bool:
    """Whether the node still runs what it ran before any run took it out of service; also if nothing speaks against it."""
    held, booted = results.held or {}, results.booted or {}
    known = [(held.get(f"from_{key}"), booted.get(key)) for key in ("digest", "checksum")]
    return all(before == now for before, now in known if before and now)


def _after_health(health: Result | None, may_roll_back: bool, otherwise: str) -> Recovery:
    reason = _told(health, otherwise)
    if health and health.get("unreachable_host"):
        return Recovery(Next.LEAVE, "health", reason)
    return Recovery(Next.ROLL_BACK if may_roll_back else Next.LEAVE, "health", reason, deny=True)


def _after_reboot(reboot: Result | None, otherwise: str) -> Recovery:
    """A reboot that was refused left the node where it was. One that landed on the old image says whether the new one was
    tried and did not hold, or never came to boot."""
    result = reboot or {}
    reason = _told(reboot, otherwise)
    if "rebooted" in result and not result["rebooted"] and not result.get("changed"):
        return Recovery(Next.KEEP, "reboot", reason)
    if result.get("landed") in ("fell_back", "lost"):
        return Recovery(Next.RETURN, "reboot", reason, deny=result["landed"] == "fell_back")
    return Recovery(Next.LEAVE, "reboot", reason)


def _failed(result: Result | None) -> bool:
    return bool(result and result.get("failed"))


def _done(result: Result | None) -> bool:
    return bool(result) and not (result or {}).get("skipped")


def _told(result: Result | None, otherwise: str) -> str:
    return str((result or {}).get("msg") or otherwise)
