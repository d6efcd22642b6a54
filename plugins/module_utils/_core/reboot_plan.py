# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a node needs a reboot, of which kind, what it would boot, and where it landed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import Enum

from ansible_collections.imagemode.nodes.plugins.module_utils._core.boot_facts import NO_FACTS, BootFacts
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import (
    Deployment,
    HostState,
    RebootKind,
    Slot,
    Tool,
    describe,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import require_digests
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Command, Plan, Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._core.running_usr import running_usr

# Without the variable, systemd 255 and newer turn this into a soft reboot where /run/nextroot is prepared
# (systemd src/systemctl/systemctl-logind.c), and the boot id that everybody waits for never comes.
_FULL = ("env", "SYSTEMCTL_SKIP_AUTO_SOFT_REBOOT=1", "systemctl", "reboot")
_SOFT = ("systemctl", "soft-reboot")
_IGNORE = "--ignore-inhibitors"

RESET_NEXT_ROOT = Command(("ostree", "admin", "prepare-soft-reboot", "--reset"), "drop the prepared root")
PREPARE_NEXT_ROOT = Command(("ostree", "admin", "prepare-soft-reboot", "0"), "prepare the root of the soft reboot")


class SoftReboot(str, Enum):
    """Whether a reboot may leave the kernel running."""

    NEVER = "never"
    AUTO = "auto"
    REQUIRED = "required"


class Inhibitors(str, Enum):
    """What to do about programs that ask for the node not to go down."""

    FAIL = "fail"
    WAIT = "wait"
    IGNORE = "ignore"


@dataclass(frozen=True)
class RebootPolicy:
    """What was asked for."""

    expected_digests: Collection[str] = ()
    soft: SoftReboot = SoftReboot.NEVER
    inhibitors: Inhibitors = Inhibitors.FAIL


def plan_reboot(state: HostState, policy: RebootPolicy, facts: BootFacts = NO_FACTS) -> Plan:
    """A reboot if another deployment than the booted one boots next; nothing otherwise. Raises Refusal, InvalidReference.

    With `expected_digests` a node that would boot anything else is left alone.
    """
    expected = policy.expected_digests
    require_digests(expected)
    following = state.next
    if state.booted is None or following is None:
        raise Refusal("This host is not image-mode: there is no deployment to reboot into.")
    if expected and following.digest not in expected:
        raise Refusal(
            f"Not rebooted: this node would boot {following.describe()}, and expected is one of {', '.join(sorted(expected))}. "
            "Stage the expected image first."
        )
    if not state.reboot_required:
        running = running_usr(state)
        why = f"no reboot needed: {state.booted.describe()} is booted, and nothing waits for a reboot"
        return Plan(state, state, (), why, warnings=(running,) if running else ())
    kind, warnings = _choose_kind(state, policy.soft, facts)
    commands = soft_reboot(state, policy, facts) if kind is RebootKind.SOFT else (full_reboot(policy),)
    adverb = "soft-rebooted" if kind is RebootKind.SOFT else "rebooted"
    return Plan(
        state,
        _after_reboot(state, kind),
        commands,
        f"{adverb} into {following.describe()}",
        warnings=warnings,
        diff_shows_booted=True,
    )


def full_reboot(policy: RebootPolicy) -> Command:
    """The command of a reboot that starts the kernel anew, whatever anybody prepared."""
    return Command(_with_inhibitors(_FULL, policy), "reboot into the next deployment")


def soft_reboot(state: HostState, policy: RebootPolicy, facts: BootFacts) -> tuple[Command, ...]:
    """The commands of a soft reboot. A root that somebody prepared may be another deployment's, so it is prepared anew.

    On bootc's composefs backend only bootc can prepare it, and it was prepared already (see `obstacle`).
    """
    order = Command(_with_inhibitors(_SOFT, policy), "restart userspace in the next deployment")
    if state.next is not None and state.next.composefs:
        return (order,)
    return (*((RESET_NEXT_ROOT,) if facts.prepared else ()), PREPARE_NEXT_ROOT, order)


def in_full(plan: Plan, policy: RebootPolicy, reason: str) -> Plan:
    """A plan for a soft reboot, made one for a full reboot."""
    following = plan.before.next
    return replace(
        plan,
        after=_after_reboot(plan.before, RebootKind.FULL),
        commands=(full_reboot(policy),),
        summary=f"rebooted into {describe(following)}",
        warnings=(*plan.warnings, f"rebooted in full, because {reason}"),
    )


def _with_inhibitors(argv: tuple[str, ...], policy: RebootPolicy) -> tuple[str, ...]:
    return (*argv, _IGNORE) if policy.inhibitors is Inhibitors.IGNORE else argv


def kind_of(plan: Plan) -> RebootKind | None:
    """Which reboot a plan makes."""
    if not plan.commands:
        return None
    return RebootKind.SOFT if plan.commands[-1].argv[:2] == _SOFT else RebootKind.FULL


def _choose_kind(state: HostState, soft: SoftReboot, facts: BootFacts) -> tuple[RebootKind, tuple[str, ...]]:
    if soft is SoftReboot.NEVER:
        prepared = (
            "a root for a soft reboot was prepared on this node; it is rebooted in full nevertheless (soft: never)"
        )
        return RebootKind.FULL, ((prepared,) if facts.prepared else ())
    reason = obstacle(state, facts)
    if reason is None:
        return RebootKind.SOFT, ()
    if soft is SoftReboot.REQUIRED:
        raise Refusal(
            f"Not rebooted: soft is required, and {reason}. Set soft: auto to reboot in full where a soft reboot cannot do."
        )
    return RebootKind.FULL, (f"rebooted in full, because {reason}",)


def obstacle(state: HostState, facts: BootFacts) -> str | None:
    """Why a soft reboot must not be made, as half a sentence; None if nothing speaks against it.

    Whether ostree can really prepare it only shows when it does: bootc's `softRebootCapable` is true also where it
    cannot (recorded, bootc 1.16.9).
    """
    following = state.next
    if following is None:
        return "there is nothing to reboot into"
    if state.tool is Tool.RPM_OSTREE:
        return "only bootc can tell whether the next deployment allows it, and this node has no bootc"
    if not following.soft_reboot_capable:
        return (
            f"{following.describe()} is not soft-reboot capable: its kernel, its kernel arguments or its SELinux policy "
            "differ from what runs, or bootc is older than 1.7"
        )
    if facts.soft_reboots is None:
        return "this node's systemd does not count soft reboots, so that the end of one could not be told"
    if facts.soft_reboots > 0:
        return (
            "this boot has seen a soft reboot already, and after a second one bootc and rpm-ostree name the wrong "
            "deployment as booted"
        )
    if following.composefs:
        return (
            None
            if facts.prepared
            else "on a host of the composefs backend bootc has to prepare it while it stages (--soft-reboot), which did not happen"
        )
    if not facts.composefs:
        return "the running root is no composefs, without which ostree cannot prepare a soft reboot"
    if state.next_slot is Slot.ROLLBACK and state.staged is not None:
        return "a locked staged deployment stands before the rollback that boots next"
    return None


def _after_reboot(state: HostState, kind: RebootKind) -> HostState:
    soft = kind is RebootKind.SOFT
    return replace(
        state,
        booted=state.next,
        rollback=state.booted,
        staged=None,
        rollback_queued=False,
        unlocked="none",
        boot_id=state.boot_id if soft else None,
        kargs_booted=state.kargs_booted if soft else state.kargs_next,
    )


def explain_landing(before: HostState, after: HostState) -> str | None:
    """None if the node booted what was next before the reboot; otherwise what happened instead, as far as its state tells."""
    wanted, landed = before.next, after.booted
    if wanted is None or landed is None:
        return f"The node came back on {describe(landed)} instead of {describe(wanted)}: its state does not add up."
    if _same(wanted, landed):
        return None
    came_back = f"The node came back on {landed.describe()} instead of {wanted.describe()}."
    if (
        before.rollback_queued
        and lost_at_shutdown(before, after)
        and before.rollback
        and _same(before.rollback, landed)
    ):
        return (
            f"{came_back} The staged deployment was lost at shutdown (power cut, full disk, or a process that kept the system lock), "
            "and a rollback was still queued below it. Stage and reboot again."
        )
    if before.booted is not None and not _same(before.booted, landed):
        return f"{came_back} That is neither what ran before nor what was staged: somebody else changed the node meanwhile."
    if lost_at_shutdown(before, after):
        return (
            f"{came_back} The staged deployment is gone: it was not finalized at shutdown (power cut, full disk, or a process that "
            "kept the system lock). See `journalctl -b -1 -u ostree-finalize-staged` on the node, then stage and reboot again."
        )
    return (
        f"{came_back} The new deployment is still on its disk: the boot loader fell back, or somebody chose another entry. "
        "Look at the node's console and `journalctl -b -1` before you try again."
    )


class Landing(str, Enum):
    """Where a node is after a reboot."""

    WANTED = "wanted"
    FELL_BACK = "fell_back"  # on what it ran before, with what was wanted still on its disk
    LOST = "lost"  # on what it ran before, because what was wanted did not survive the shutdown
    OTHER = "other"


def landing_of(before: HostState, after: HostState) -> Landing:
    """Where a node is after a reboot out of `before`."""
    if before.next is not None and after.booted is not None:
        if _same(before.next, after.booted):
            return Landing.WANTED
        if before.booted is not None and _same(before.booted, after.booted):
            return Landing.LOST if lost_at_shutdown(before, after) else Landing.FELL_BACK
    return Landing.OTHER


def lost_at_shutdown(before: HostState, after: HostState) -> bool:
    """Whether a staged deployment was next before the reboot and is nowhere after it."""
    wanted = before.next
    present = [d for d in (after.booted, after.staged, after.rollback, *after.others) if d is not None]
    return (
        before.next_slot is Slot.STAGED
        and wanted is not None
        and not any(_same(wanted, deployment) for deployment in present)
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
