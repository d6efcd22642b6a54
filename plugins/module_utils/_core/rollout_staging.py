# SPDX-License-Identifier: GPL-3.0-or-later
"""How staging ended on one node, read from the result that the staging task registered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import Any


class StagingOutcome(Enum):
    """Where a node stands before anything is taken out of service."""

    READY = "ready"  # the proven image waits for a reboot
    RIGHT = "right"  # the node runs the wanted image already
    FAILED = "failed"  # in service, on its old image
    UNREACHABLE = "unreachable"  # nobody knows


@dataclass(frozen=True)
class Staging:
    """One node's staging. `booted_since`: when its booted deployment was made, in seconds since 1970; None if not told."""

    node: str
    outcome: StagingOutcome
    digest: str | None = None
    from_digest: str | None = None
    from_checksum: str | None = None
    boot_id: str | None = None
    reason: str | None = None
    booted_since: float | None = None


def staging_from_result(
    node: str, result: Mapping[str, Any] | None, target_digests: tuple[str, ...], check_mode: bool = False
) -> Staging:
    """`result` as registered; None if the task never ran for the node. A digest that is not wanted is a failure.

    In check mode a digest may be missing: only the pull can tell it. And a node that the preflight found an error on is not
    asked any further.
    """
    if result is None and check_mode:
        return Staging(node, StagingOutcome.FAILED, reason="the preflight found what keeps it from being updated")
    if result is None:
        return Staging(
            node, StagingOutcome.UNREACHABLE, reason="it was not staged: Ansible lost it before staging ended"
        )
    if result.get("unreachable_host") or result.get("unreachable"):
        return Staging(node, StagingOutcome.UNREACHABLE, reason=_told(result, "it could not be reached"))
    before = result.get("before") or {}
    digest = result.get("digest")
    seen: dict[str, Any] = {
        "digest": digest,
        "from_digest": (before.get("booted") or {}).get("digest") or result.get("from_digest"),
        "from_checksum": (before.get("booted") or {}).get("checksum"),
        "boot_id": before.get("boot_id") or result.get("boot_id"),
        "booted_since": _epoch((before.get("booted") or {}).get("timestamp")),
    }
    if result.get("failed"):
        return Staging(node, StagingOutcome.FAILED, reason=_told(result, "staging failed"), **seen)
    if result.get("skipped") or not isinstance(result.get("reboot_required"), bool):
        reason = "its staging task did not say whether a reboot is required"
        return Staging(node, StagingOutcome.FAILED, reason=reason, **seen)
    if target_digests and digest not in target_digests and not (check_mode and digest is None):
        reason = (
            f"its next deployment is {digest or 'of an unknown digest'}, and wanted is {' or '.join(target_digests)}"
        )
        return Staging(node, StagingOutcome.FAILED, reason=reason, **seen)
    outcome = StagingOutcome.READY if result["reboot_required"] else StagingOutcome.RIGHT
    return Staging(node, outcome, **seen)


def _epoch(timestamp: object) -> float | None:
    """Seconds since 1970 from `2026-11-21T10:00:00Z`; a time without a zone is in UTC."""
    if not isinstance(timestamp, str):
        return None
    try:
        when = datetime.fromisoformat(timestamp.replace("Z", "+00:00"))
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp()


def _told(result: Mapping[str, Any], otherwise: str) -> str:
    return str(result.get("msg") or otherwise)
