# SPDX-License-Identifier: GPL-3.0-or-later
"""Putting an image in next place with bootc: observe, plan, act, observe again, prove."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.bootc_plan import plan_bootc_switch
from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_image import DesiredImage
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Deployment, HostState, describe
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Command, Plan
from ansible_collections.imagemode.nodes.plugins.module_utils._core.tool_failure import explain
from ansible_collections.imagemode.nodes.plugins.module_utils._host.failure import HostFailure
from ansible_collections.imagemode.nodes.plugins.module_utils._host.observe import (
    ObservationFailed,
    Observer,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Outcome, Runner, Step


@dataclass
class BootcSwitch:
    """One run of the module on one node. Deadlines are in seconds."""

    runner: Runner
    desired: DesiredImage
    busy_timeout: int
    stage_timeout: int
    notify: Callable[[str], None] = lambda _sentence: None

    def run(self, check_mode: bool) -> dict[str, Any]:
        """The module's result. Raises HostFailure, ObservationFailed, Refusal, NodeUnreachable."""
        observer = Observer(self.runner, self.busy_timeout, self.notify)
        before, _none = observer.with_bootc()
        before = observer.name_local_changes(before)
        plan = plan_bootc_switch(before, self.desired)
        if check_mode or not plan.changed:
            return self._result(plan, plan.after if check_mode else before)
        pulls = any(command.pulls for command in plan.commands)
        if pulls:
            self.notify(f"stages {self.desired.describe()}")
        started = time.monotonic()
        steps = [Step(command.argv, timeout=self._timeout(command), gate=True) for command in plan.commands]
        try:
            after, outcomes = observer.with_bootc(steps)
        except ObservationFailed as failure:
            done = " and ".join(f"`{' '.join(command.argv)}`" for command in plan.commands)
            raise HostFailure(
                f"{done} was run, but what became of it could not be read: {failure}", plan.as_dict()
            ) from None
        self._prove(plan, after, outcomes)
        if pulls:
            self.notify(f"staged {describe(after.next)} in {time.monotonic() - started:.0f} s, digest proven")
        return self._result(plan, after)

    def _timeout(self, command: Command) -> int:
        return self.stage_timeout if command.pulls else self.busy_timeout

    def _prove(self, plan: Plan, after: HostState, outcomes: list[Outcome]) -> None:
        """Whether the node is where the plan wanted it, told by its state alone; raises HostFailure if not."""
        if self.desired.satisfied_by(after.next, self.desired.signature_on(plan.before)):
            return
        failed = next((outcome for outcome in outcomes if outcome.ran and not outcome.ok), None)
        moved = _identity(after.next) != _identity(plan.before.next)
        message = self._tool_failure(failed) if failed is not None else self._unproven(after)
        if not moved:
            raise HostFailure(
                f"{message.rstrip('.')}. Nothing on the node was changed.", self._result(plan, after, changed=False)
            )
        undone, left = self._withdraw(plan, after)
        raise HostFailure(f"{message} {undone}", self._result(plan, left, changed=True))

    def _tool_failure(self, failed: Outcome) -> str:
        command = f"`{' '.join(failed.argv)}`"
        if failed.timed_out:
            return (
                f"{command} was stopped after {self.stage_timeout} s (stage_timeout): the registry stalls, or the link is too slow. "
                "Pull the image by hand from the node to see which; raise stage_timeout if it only needs longer."
            )
        return f"{command} failed with code {failed.rc}: {explain(failed.stderr)}"

    def _unproven(self, after: HostState) -> str:
        return (
            f"bootc reported success, but the node does not have {self.desired.describe()} in next place: "
            f"staged is {describe(after.staged)}. "
            "If the digest differs, the tag was moved after it was resolved, or the same content was pushed again under another "
            "digest, which bootc cannot pick up; resolve the image again, or push it under another tag."
        )

    def _withdraw(self, plan: Plan, after: HostState) -> tuple[str, HostState]:
        """Unproven content must not boot at the next reboot, whoever asks for that reboot: discard it again.

        What was done, for the message, and the state that leaves.
        """
        staged = after.staged
        if staged is None or staged == plan.before.staged or staged.composefs:
            return f"Next to boot is now {describe(after.next)}: look at it before the node reboots.", after
        outcome = self.runner.run_one(Step(("ostree", "admin", "undeploy", "0"), timeout=self.busy_timeout))
        if outcome.ok:
            return "What had been staged was discarded again, so that it cannot boot by accident.", replace(
                after, staged=None
            )
        why = explain(outcome.stderr)
        return f"It is still staged, because discarding it failed ({why}): remove it before the node reboots.", after

    def _result(self, plan: Plan, after: HostState, changed: bool | None = None) -> dict[str, Any]:
        following = after.next
        kind = after.reboot_kind
        result = plan.as_dict()
        if changed is not None:
            result["changed"] = changed
        return {
            **result,
            "msg": plan.summary,
            "before": plan.before.as_dict(),
            "after": after.as_dict(),
            "digest": following.digest if following else None,
            "reboot_required": after.reboot_required,
            "reboot_kind": kind.value if kind else None,
        }


def _identity(deployment: Deployment | None) -> object:
    """What makes it this deployment; what the tool merely knows about it, such as a cached update, may change at any time."""
    return (deployment.checksum, deployment.serial, deployment.image, deployment.download_only) if deployment else None
