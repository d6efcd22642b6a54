# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a node needs a reboot, what it would boot, and where it landed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import (
    Deployment,
    HostState,
    Slot,
    describe,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import require_digests
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Command, Plan, Refusal

REBOOT = Command(("systemctl", "reboot"), "reboot into the next deployment")


def plan_reboot(state: HostState, expected_digests: Collection[str]) -> Plan:
    """A reboot if another deployment than the booted one boots next; nothing otherwise. Raises Refusal, InvalidReference.

    With `expected_digests` a node that would boot anything else is left alone.
    """
    require_digests(expected_digests)
    following = state.next
    if state.booted is None or following is None:
        raise Refusal("This host is not image-mode: there is no deployment to reboot into.")
    if expected_digests and following.digest not in expected_digests:
        raise Refusal(
            f"Not rebooted: this node would boot {following.describe()}, and expected is one of {', '.join(sorted(expected_digests))}. "
            "Stage the expected image first."
        )
    if not state.reboot_required:
        return Plan(
            state, state, (), f"no reboot needed: {state.booted.describe()} is booted, and nothing waits for a reboot"
        )
    return Plan(state, _after_reboot(state), (REBOOT,), f"rebooted into {following.describe()}", diff_shows_booted=True)


def _after_reboot(state: HostState) -> HostState:
    following = state.next
    return replace(
        state,
        booted=following,
        rollback=state.booted,
        staged=None,
        rollback_queued=False,
        unlocked="none",
        boot_id=None,
        kargs_booted=state.kargs_next,
    )


def explain_landing(before: HostState, after: HostState) -> str | None:
    """None if the node booted what was next before the reboot; otherwise what happened instead, as far as its state tells."""
    wanted, landed = before.next, after.booted
    if wanted is None or landed is None:
        return f"The node came back on {describe(landed)} instead of {describe(wanted)}: its state does not add up."
    if _same(wanted, landed):
        return None
    came_back = f"The node came back on {landed.describe()} instead of {wanted.describe()}."
    if before.booted is not None and not _same(before.booted, landed):
        return f"{came_back} That is neither what ran before nor what was staged: somebody else changed the node meanwhile."
    present = [d for d in (after.staged, after.rollback, *after.others) if d is not None]
    if before.next_slot is Slot.STAGED and not any(_same(wanted, deployment) for deployment in present):
        return (
            f"{came_back} The staged deployment is gone: it was not finalized at shutdown (power cut, full disk, or a process that "
            "kept the system lock). See `journalctl -b -1 -u ostree-finalize-staged` on the node, then stage and reboot again."
        )
    return (
        f"{came_back} The new deployment is still on its disk: the boot loader fell back, or somebody chose another entry. "
        "Look at the node's console and `journalctl -b -1` before you try again."
    )


def _same(one: Deployment, other: Deployment) -> bool:
    """The same deployment before and after a reboot.

    Checksum and serial name it, where both are known; a staged one gets its final serial at shutdown at the latest, so
    the image decides otherwise.
    """
    if one.checksum and other.checksum:
        return one.checksum == other.checksum and one.serial in (other.serial, None)
    return (
        one.image is not None
        and other.image is not None
        and one.image.reference == other.image.reference
        and one.digest == other.digest
    )
