# SPDX-License-Identifier: GPL-3.0-or-later
"""Every trap that a node may have for an update, judged from what it told. Pure: nothing is asked, nothing is changed.

What staging would do is taken from the very plan that staging makes, so that the two cannot disagree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.imagemode.nodes.plugins.module_utils._core.boot_facts import NO_FACTS, BootFacts
from ansible_collections.imagemode.nodes.plugins.module_utils._core.bootc_plan import BootcTool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_image import (
    DesiredImage,
    LocalChangesPolicy,
    origin_base,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Deployment, HostState, Tool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.migration_plan import platform_of
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Plan, Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_facts import (
    GREENBOOT,
    OUR_STAGING,
    NodeFacts,
    RegistryAnswer,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_finding import (
    Check,
    Finding,
    Severity,
    error,
    note,
    warning,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_registry import (
    judge_credentials,
    judge_policy,
    judge_registry,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_space import Need, judge_space
from ansible_collections.imagemode.nodes.plugins.module_utils._core.reboot_plan import Inhibitors
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rpm_ostree_plan import RpmOstreeTool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.running_usr import running_usr
from ansible_collections.imagemode.nodes.plugins.module_utils._core.staging_plan import StagingTool, plan_staging
from ansible_collections.imagemode.nodes.plugins.module_utils._core.trust_facts import TrustFacts
from ansible_collections.imagemode.nodes.plugins.module_utils._core.updaters import UNITS as UPDATERS

OLDEST_BOOTC: tuple[int, ...] = (0, 1, 16)
OLDEST_RPM_OSTREE: tuple[int, ...] = (2022, 16)

_SKEW_SECONDS = 60.0  # certificates and tokens of registries bear about as much
_MIN_SHOWN = 5  # failed units named before the rest is only counted


@dataclass(frozen=True)
class Wish:
    """What the rollout is going to ask for. `desired` None: only the node itself is looked at. `tool` None: whichever there is.

    `layers`: by platform the digests and sizes of the image's layers; empty where they are not known.
    """

    desired: DesiredImage | None = None
    tool: Tool | None = None
    bypass_driver: bool = False
    inhibitors: Inhibitors = Inhibitors.FAIL
    layers: Mapping[str, Sequence[tuple[str, int]]] = field(default_factory=dict)


@dataclass(frozen=True)
class NodeView:
    """A node before the rollout. `present`: digests of the layers that it has. `skew`: seconds that its clock is ahead of the
    controller's; None where nobody can tell. None of `facts` or `trust`: the node did not answer that question."""

    host: HostState
    facts: NodeFacts | None = None
    trust: TrustFacts | None = None
    boot: BootFacts = NO_FACTS
    present: frozenset[str] = frozenset()
    registry: RegistryAnswer | None = None
    skew: float | None = None


@dataclass(frozen=True)
class Judgement:
    """All findings of a node, and what it would have to pull at most; None where nobody can tell."""

    findings: tuple[Finding, ...]
    pull_bytes: int | None = None

    @property
    def ready(self) -> bool:
        """Whether nothing keeps the rollout from this node."""
        return all(finding.severity is not Severity.ERROR for finding in self.findings)


def judge_node(wish: Wish, node: NodeView) -> Judgement:
    """Everything that stands in the way of an update of this node, or that one should know of."""
    if not node.host.image_mode:
        told = "it is not an image-mode host: it has neither bootc nor rpm-ostree, or was not booted from an image or ostree"
        return Judgement((error(Check.IMAGE_MODE, told, "Take it out of the pool, or install it from an image."),))
    return _Judging(wish, node).judgement()


class _Judging:
    def __init__(self, wish: Wish, node: NodeView) -> None:
        self.wish = wish
        self.node = node
        self.facts = node.facts or NodeFacts()
        self.tool = wish.tool or node.host.tool or Tool.BOOTC
        self.state = node.host if self.tool is node.host.tool else _as_rpm_ostree(node.host)

    def judgement(self) -> Judgement:
        findings = [*self._tool(), *self._busy()]
        need: int | None = 0
        if self._has_tool and self.wish.desired is not None:
            plan, staging = self._staging(self.wish.desired)
            pulls = plan is None or any(command.pulls for command in plan.commands)
            need = self._pull_bytes() if pulls else 0
            findings += [*staging, *self._architecture(), *self._image(self.wish.desired, pulls)]
        findings += [
            *self._deployments(),
            *self._updaters(),
            *judge_space(self.state, self.facts, Need(need)),
            *self._going_down(),
            *self._system(),
        ]
        return Judgement(tuple(findings), need)

    # the tool

    @property
    def _has_tool(self) -> bool:
        host = self.node.host
        return self.tool is host.tool or (self.tool is Tool.RPM_OSTREE and host.rpm_ostree_version is not None)

    def _tool(self) -> Iterator[Finding]:
        host = self.node.host
        if not self._has_tool:
            yield error(
                Check.TOOL,
                f"imagemode_tool is {self.tool.value}, and this node has no {self.tool.value}",
                "Set imagemode_tool: auto, which takes the tool that a node has.",
            )
            return
        version, oldest = host.bootc_version, OLDEST_BOOTC
        if self.tool is Tool.RPM_OSTREE:
            version, oldest = host.rpm_ostree_version, OLDEST_RPM_OSTREE
        numbers = _version(version)
        least = ".".join(map(str, oldest))
        if numbers is None:
            yield note(Check.TOOL, f"{self.tool.value} does not tell its version; {least} or newer is needed")
        elif numbers < oldest:
            yield error(
                Check.TOOL,
                f"{self.tool.value} {version} is older than {least}, the oldest that this collection works with",
                "Update the node by hand once, to an image with a newer one.",
            )

    def _busy(self) -> Iterator[Finding]:
        transaction = self.node.host.transaction
        if self.facts.active(OUR_STAGING) in ("active", "activating"):
            yield note(
                Check.BUSY,
                f"an earlier run of this collection still stages something here ({OUR_STAGING}): the rollout takes it over",
            )
        elif transaction is not None:
            yield warning(
                Check.BUSY,
                f"an rpm-ostree transaction ({transaction.method}) is running; staging waits for it, up to busy_timeout",
                "Wait for it. If it is stuck, `rpm-ostree cancel` on the node ends it.",
            )

    # staging

    def _staging(self, desired: DesiredImage) -> tuple[Plan | None, list[Finding]]:
        """The plan of staging, None if staging would be refused; and what is to be said about it."""
        tool: StagingTool = BootcTool() if self.tool is Tool.BOOTC else RpmOstreeTool(self.wish.bypass_driver)
        base = origin_base(self.state)
        check = Check.LOCAL_CHANGES if base is not None and base.local_changes else Check.STAGING
        try:
            plan = plan_staging(tool, self.state, desired)
        except Refusal as refusal:
            return None, [error(check, f"staging would be refused: {refusal}")]
        found = [warning(Check.STAGING, text) for text in plan.warnings]
        if not plan.changed or base is None or not base.local_changes:
            return plan, found
        changes = base.local_changes.describe()
        if desired.local_changes is LocalChangesPolicy.DISCARD:
            found.append(warning(Check.LOCAL_CHANGES, f"would be discarded, as local_changes says: {changes}"))
        elif self.facts.layering_locked:
            told = f"{changes} would be kept, but /etc/rpm-ostreed.conf has LockLayering=true: rpm-ostree refuses that"
            found.append(error(Check.LOCAL_CHANGES, told, "Set local_changes: discard, or take the setting away."))
        else:
            told = f"would be kept: {changes}. rpm-ostree assembles them anew, and fails where a package repository does not answer"
            found.append(warning(Check.LOCAL_CHANGES, told))
        return plan, found

    def _pull_bytes(self) -> int | None:
        platform = platform_of(self.facts.machine, self.wish.layers) if self.facts.machine else None
        if platform is None:
            return None
        return sum(size for digest, size in dict(self.wish.layers[platform]).items() if digest not in self.node.present)

    def _architecture(self) -> Iterator[Finding]:
        machine, platforms = self.facts.machine, self.wish.layers
        if machine and platforms and platform_of(machine, platforms) is None:
            yield error(
                Check.ARCHITECTURE,
                f"the image is there for {', '.join(sorted(platforms))}, and this node is {machine}",
                "Build the image for this platform as well (imagemode_build_platforms).",
            )

    def _image(self, desired: DesiredImage, pulls: bool) -> Iterator[Finding]:
        answer, image = self.node.registry, desired.reference
        yield from judge_registry(image, answer, self.facts, pulls)
        if self.node.trust is not None and pulls:
            refused = answer is not None and answer.by is not None and not answer.ok and not answer.timed_out
            yield from judge_credentials(image, self.node.trust, self.facts, wanted=refused)
            yield from judge_policy(image, desired.signature_on(self.state), self.node.trust, self.facts)

    # what the node is in

    def _deployments(self) -> Iterator[Finding]:
        host = self.state
        pinned = [
            deployment for deployment in (host.booted, host.rollback, *host.others) if deployment and deployment.pinned
        ]
        if pinned:
            names = "; ".join(deployment.describe() for deployment in pinned)
            yield note(Check.DEPLOYMENTS, f"pinned, so never cleaned up: {names}")
        if host.rollback_queued:
            yield warning(
                Check.DEPLOYMENTS,
                "somebody queued a rollback: it boots at the next reboot unless something is staged over it",
                "Find out why before an update overrides it. Run again, `bootc rollback` or `rpm-ostree rollback` takes it back.",
            )
        running = running_usr(host)
        if self.wish.desired is None and running:
            yield warning(Check.DEPLOYMENTS, running)
        if self.wish.desired is None and host.staged is not None:
            yield note(Check.DEPLOYMENTS, f"staged already, and booted at the next reboot: {host.staged.describe()}")

    def _updaters(self) -> Iterator[Finding]:
        host = self.node.host
        for unit in UPDATERS:
            if unit in host.updaters:
                told = f"{unit} is active: it updates on its own, may replace what is staged, and may reboot the node at any time"
            elif self.facts.enabled(unit):
                told = (
                    f"{unit} is not active now but enabled: it comes back with the reboot, and then updates on its own"
                )
            else:
                continue
            yield warning(Check.UPDATERS, told, f"systemctl disable --now {unit}")
        if host.update_driver and self.tool is Tool.RPM_OSTREE and not self.wish.bypass_driver:
            yield error(
                Check.UPDATERS,
                f"the update driver {host.update_driver} is registered with rpm-ostree, which refuses others while its unit is active",
                "Stop and disable its unit, or set imagemode_bypass_driver: true.",
            )

    def _going_down(self) -> Iterator[Finding]:
        if self.facts.shutdown_at is not None:
            yield error(
                Check.SHUTDOWN,
                "somebody has scheduled a shutdown of this node (/run/systemd/shutdown/scheduled)",
                "Wait for it, or cancel it with `shutdown -c` on the node.",
            )
        for lock in self.node.boot.inhibitors:
            told = f"kept from rebooting by {lock.describe()}"
            if self.wish.inhibitors is Inhibitors.FAIL:
                fix = "Let that end before the rollout, or set imagemode_inhibitors to wait or ignore."
                yield warning(Check.INHIBITORS, f"{told}; with inhibitors: fail the node would not be rebooted", fix)
            else:
                yield note(Check.INHIBITORS, f"{told}; inhibitors: {self.wish.inhibitors.value} is set")
        if self.node.boot.prepared:
            yield note(
                Check.SHUTDOWN, "a soft reboot is prepared: a plain `systemctl reboot` would only restart userspace"
            )

    def _system(self) -> Iterator[Finding]:
        for path in self.facts.read_only:
            yield error(
                Check.READ_ONLY,
                f"{path} cannot be written to: its file system is mounted read-only, as after an error of the disk",
                "Look at `dmesg` on the node, and repair or replace the disk first.",
            )
        skew = self.node.skew
        if skew is not None and abs(skew) > _SKEW_SECONDS:
            told = f"its clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the controller's"
            yield warning(
                Check.CLOCK,
                f"{told}: certificates and tokens of registries may be refused, and its logs do not match the rollout's times",
                "Check time synchronisation on both (`chronyc tracking`).",
            )
        yield from self._health()

    def _health(self) -> Iterator[Finding]:
        if self.facts.active(GREENBOOT) == "failed":
            told = "greenboot's health check failed in the present boot"
            yield warning(Check.GREENBOOT, told, f"systemctl status {GREENBOOT}")
        elif self.facts.enabled(GREENBOOT):
            yield note(
                Check.GREENBOOT,
                "greenboot is on this node: it goes back to the old deployment by itself after boots that it finds unhealthy",
            )
        failed = [unit for unit in self.facts.failed_units if unit != GREENBOOT]
        if failed:
            more = f" and {len(failed) - _MIN_SHOWN} more" if len(failed) > _MIN_SHOWN else ""
            yield warning(
                Check.FAILED_UNITS,
                f"failed before the update: {', '.join(failed[:_MIN_SHOWN])}{more}; a health check of failed units would blame the image",
                "Mend them, or name them in the check's `ignore`.",
            )


def _as_rpm_ostree(host: HostState) -> HostState:
    """The state of a node with both tools as rpm-ostree tells it: local changes hide no image there."""

    def seen(deployment: Deployment | None) -> Deployment | None:
        if deployment is None or deployment.image is not None or deployment.below is None:
            return deployment
        return replace(deployment, image=deployment.below)

    return replace(
        host, tool=Tool.RPM_OSTREE, booted=seen(host.booted), staged=seen(host.staged), rollback=seen(host.rollback)
    )


def _version(text: str | None) -> tuple[int, ...] | None:
    """The numbers that a version begins with; None without any."""
    found = re.match(r"[0-9]+(?:\.[0-9]+)*", text or "")
    return tuple(int(part) for part in found[0].split(".")) if found else None
