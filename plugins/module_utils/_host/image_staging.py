# SPDX-License-Identifier: GPL-3.0-or-later
"""Putting an image in next place with either tool: observe, plan, act, observe again, prove."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.bootc_plan import BootcTool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_image import LocalChangesPolicy, Placement
from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_ref import DesiredRef
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import (
    Deployment,
    HostState,
    Tool,
    describe,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_wish import KargsWish
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Command, Plan, Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rpm_ostree_plan import RpmOstreeTool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.staging_plan import (
    Desired,
    StagingTool,
    discard,
    lock_after,
    plan_staging,
    plan_unstaging,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.tool_failure import explain, says_busy
from ansible_collections.imagemode.nodes.plugins.module_utils._host.execution import first_failure, steps_of
from ansible_collections.imagemode.nodes.plugins.module_utils._host.failure import HostFailure
from ansible_collections.imagemode.nodes.plugins.module_utils._host.observe import ObservationFailed, Observer
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Outcome, Runner

_RETRY_SECONDS = 5


@dataclass(frozen=True)
class StagingOptions:
    """What a task asks for. `desired` is None only to discard whatever is staged; `tool` None takes what the node has.

    Deadlines are in seconds.
    """

    tool: Tool | None
    desired: Desired | None
    unstage: bool = False
    kargs: KargsWish | None = None
    apply_live: bool = False
    bypass_driver: bool = False
    busy_timeout: int = 300
    stage_timeout: int = 3600


@dataclass
class ImageStaging:
    """One run of bootc_switch, rpmostree_rebase or image_stage on one node."""

    runner: Runner
    options: StagingOptions
    notify: Callable[[str], None] = lambda _sentence: None
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        self._observer = Observer(self.runner, self.options.busy_timeout, self.notify, self.sleep)

    def run(self, check_mode: bool) -> dict[str, Any]:
        """The module's result. Raises HostFailure, ObservationFailed, Refusal, NodeUnreachable."""
        before = self._look()
        plan = self._plan(before)
        if check_mode or not plan.changed:
            return _result(plan, plan.after if check_mode else before)
        pulls = any(command.pulls for command in plan.commands)
        if pulls and self.options.desired is not None:
            self.notify(f"stages {self.options.desired.describe()} with {_name(before.tool)}")
        started = time.monotonic()
        after, outcomes = self._act(plan)
        after = self._lock(after)
        self._prove(plan, after, outcomes)
        if pulls:
            self.notify(f"staged {describe(after.staged)} in {time.monotonic() - started:.0f} s, digest proven")
        return _result(plan, after)

    def _look(self) -> HostState:
        """The state as the tool that is going to act sees it."""
        state = self._observer.name_local_changes(self._observer.when_idle(self.options.tool))
        desired = self.options.desired
        keeps = desired is not None and desired.local_changes is LocalChangesPolicy.KEEP
        changed = any(one is not None and one.local_changes for one in (state.booted, state.staged))
        only_rpm_ostree = isinstance(desired, DesiredRef) or (keeps and changed)
        if self.options.tool is None and state.tool is Tool.BOOTC and only_rpm_ostree:
            return self._observer.when_idle(Tool.RPM_OSTREE)
        return state

    def _plan(self, state: HostState) -> Plan:
        desired = self.options.desired
        if self.options.unstage:
            return plan_unstaging(state, desired)
        if desired is None:
            raise Refusal("Nothing was asked for: name an image.")
        return plan_staging(self._tool(state), state, desired)

    def _tool(self, state: HostState) -> StagingTool:
        return BootcTool() if state.tool is Tool.BOOTC else RpmOstreeTool(self.options.bypass_driver)

    def _act(self, plan: Plan) -> tuple[HostState, list[Outcome]]:
        """Run the commands and look again, in one round trip; again while another program holds the system lock.

        bootc waits for the lock by itself, without an end; rpm-ostree fails at once.
        """
        waited = 0
        while True:
            after, outcomes = self._run(plan.commands, plan)
            failed = first_failure(outcomes)
            busy = failed is not None and not failed.timed_out and says_busy(failed.stderr)
            if not busy or _identity(after.next) != _identity(plan.before.next) or waited >= self.options.busy_timeout:
                return after, outcomes
            holder = self._observer.holder()
            self.notify(f"waits: {holder} holds the system lock ({self.options.busy_timeout - waited} s left)")
            self.sleep(_RETRY_SECONDS)
            waited += _RETRY_SECONDS

    def _run(self, commands: Sequence[Command], plan: Plan) -> tuple[HostState, list[Outcome]]:
        steps = [step for command in commands for step in steps_of([command], self._timeout(command))]
        try:
            return self._observer.with_tool(plan.before.tool, steps)
        except ObservationFailed as failure:
            done = " and ".join(f"`{' '.join(command.argv)}`" for command in commands)
            raise HostFailure(
                f"{done} was run, but what became of it could not be read: {failure}", plan.as_dict()
            ) from None

    def _timeout(self, command: Command) -> int:
        return self.options.stage_timeout if command.pulls else self.options.busy_timeout

    def _lock(self, state: HostState) -> HostState:
        """Lock what was to be downloaded only: neither tool can stage every image locked."""
        desired, staged = self.options.desired, state.staged
        if desired is None or staged is None or not desired.satisfied_by(staged, desired.signature_on(state)):
            return state
        command = None if self.options.unstage else lock_after(desired, staged)
        if command is None:
            return state
        return self._observer.with_tool(state.tool, steps_of([command], self.options.busy_timeout))[0]

    def _prove(self, plan: Plan, after: HostState, outcomes: list[Outcome]) -> None:
        """Whether the node is where the plan wanted it, told by its state alone; raises HostFailure if not."""
        if self._reached(plan, after):
            return
        failed = first_failure(outcomes)
        moved = _places(after) != _places(plan.before)
        message = self._tool_failure(plan, failed) if failed is not None else self._unproven(plan, after)
        if not moved:
            raise HostFailure(
                f"{message.rstrip('.')}. Nothing on the node was changed.", _result(plan, after, changed=False)
            )
        undone, left = self._withdraw(plan, after)
        raise HostFailure(f"{message} {undone}", _result(plan, left, changed=True))

    def _reached(self, plan: Plan, after: HostState) -> bool:
        desired = self.options.desired
        if self.options.unstage or desired is None:
            return after.staged is None
        signature = desired.signature_on(plan.before)
        if desired.placement is Placement.DOWNLOADED:
            return (
                after.staged is not None
                and after.staged.download_only
                and desired.satisfied_by(after.staged, signature)
            )
        return desired.satisfied_by(after.next, signature)

    def _tool_failure(self, plan: Plan, failed: Outcome) -> str:
        if any(failed.argv == command.only_if for command in plan.commands):
            return "Somebody else changed what is staged on this node since it was looked at, so it was left alone: run again"
        command = f"`{' '.join(failed.argv)}`"
        if failed.timed_out:
            return (
                f"{command} was stopped after {self.options.stage_timeout} s (stage_timeout): the registry stalls, or the link is too "
                "slow. Pull the image by hand from the node to see which; raise stage_timeout if it only needs longer."
            )
        return f"{command} failed with code {failed.rc}: {explain(failed.stderr)}"

    def _unproven(self, plan: Plan, after: HostState) -> str:
        if self.options.unstage or self.options.desired is None:
            return f"The command reported success, but {describe(after.staged)} is still staged."
        return (
            f"{_name(plan.before.tool)} reported success, but the node does not have {self.options.desired.describe()} in next place: "
            f"staged is {describe(after.staged)}. "
            "If the digest differs, the tag was moved after it was resolved, or the same content was pushed again under another "
            "digest, which no tool can pick up; resolve the image again, or push it under another tag."
        )

    def _withdraw(self, plan: Plan, after: HostState) -> tuple[str, HostState]:
        """Unproven content must not boot at the next reboot, whoever asks for that reboot: discard it again.

        What was done, for the message, and the state that leaves.
        """
        staged = after.staged
        if staged is None or _identity(staged) == _identity(plan.before.staged) or staged.composefs:
            return f"Next to boot is now {describe(after.next)}: look at it before the node reboots.", after
        command = discard(staged)
        failed = first_failure(self.runner.run(steps_of([command], self.options.busy_timeout)))
        if failed is not None and failed.argv == command.only_if:
            return "Somebody else has changed since what is staged: look at it before the node reboots.", after
        if failed is None:
            return "What had been staged was discarded again, so that it cannot boot by accident.", replace(
                after, staged=None
            )
        why = explain(failed.stderr)
        return f"It is still staged, because discarding it failed ({why}): remove it before the node reboots.", after


def _result(plan: Plan, after: HostState, changed: bool | None = None) -> dict[str, Any]:
    subject = after.staged if after.staged is not None and after.staged.download_only else after.next
    kind = after.reboot_kind
    result = plan.as_dict()
    if changed is not None:
        result["changed"] = changed
    return {
        **result,
        "msg": plan.summary,
        "tool": _name(plan.before.tool),
        "before": plan.before.as_dict(),
        "after": after.as_dict(),
        "digest": subject.digest if subject else None,
        "reboot_required": after.reboot_required,
        "reboot_kind": kind.value if kind else None,
    }


def _name(tool: Tool | None) -> str:
    return tool.value if tool else "no tool"


def _places(state: HostState) -> object:
    return (_identity(state.next), _identity(state.staged))


def _identity(deployment: Deployment | None) -> object:
    """What makes it this deployment; what the tool merely knows about it, such as a cached update, may change at any time."""
    return (deployment.checksum, deployment.serial, deployment.image, deployment.download_only) if deployment else None
