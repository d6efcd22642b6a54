# SPDX-License-Identifier: GPL-3.0-or-later
"""Queueing the rollback, or taking it back: observe, plan, act in that very state, observe again, prove."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import HostState, describe
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Plan
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollback_plan import (
    RollbackRequest,
    inventory,
    plan_rollback,
    satisfied,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.tool_failure import explain
from ansible_collections.imagemode.nodes.plugins.module_utils._host.execution import (
    first_failure,
    gave_way,
    steps_of,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.failure import HostFailure
from ansible_collections.imagemode.nodes.plugins.module_utils._host.observe import ObservationFailed, Observer
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Outcome, Runner, Step

_HAS_RPM_OSTREE = Step(("rpm-ostree", "--version"), timeout=20)

# ostree points /boot/loader somewhere else whenever it writes a new boot order (ostree src/libostree/ostree-sysroot-deploy.c).
_ORDER = (
    "for link in /boot/loader /ostree/boot.0 /ostree/boot.1; do readlink $link; done; "
    "ls -id /run/ostree/staged-deployment 2>/dev/null; true"
)
_BOOT_ORDER = Step(("sh", "-c", _ORDER, "boot-order"), timeout=10)

_UNDONE_TIMES = 3
_BUSY_PAUSE_SECONDS = 5.0


@dataclass
class Rollback:
    """One run of the module on one node. Deadlines are in seconds."""

    runner: Runner
    request: RollbackRequest
    busy_timeout: int
    notify: Callable[[str], None] = lambda _sentence: None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        self._undone = 0

    def run(self, check_mode: bool) -> dict[str, Any]:
        """The module's result. Raises HostFailure, ObservationFailed, Refusal, NodeUnreachable."""
        started = self.clock()
        while True:
            observer = Observer(self.runner, self.busy_timeout, self.notify)
            before, (has_rpm_ostree, order) = observer.with_any_tool([_HAS_RPM_OSTREE, _BOOT_ORDER])
            plan = plan_rollback(before, self.request, has_rpm_ostree.ok)
            if check_mode or not plan.changed:
                return self._result(plan, plan.after if check_mode else before)
            after, outcomes = self._act(plan, observer, order)
            if outcomes[0].ok and satisfied(after, plan.after):
                self.notify(f"{describe(after.next)} boots next")
                return self._result(plan, after)
            if self._may_try_again(before, after, outcomes, started):
                self.notify("waits: another transaction holds the system lock, or changed the boot order meanwhile")
                self.sleep(_BUSY_PAUSE_SECONDS * random.uniform(0.2, 1))  # noqa: S311 (two controllers must not go on in step)
                continue
            raise HostFailure(self._failure(plan, after, outcomes), self._result(plan, after, _moved(before, after)))

    def _act(self, plan: Plan, observer: Observer, order: Outcome) -> tuple[HostState, list[Outcome]]:
        """Run the plan's commands, but only while the boot order is the one that was looked at: they toggle."""
        unchanged = Step(
            ("sh", "-c", f'[ "$({_ORDER})" = "$1" ]', "same-order", order.stdout.rstrip("\n")), timeout=10, gate=True
        )
        try:
            return observer.with_any_tool([unchanged, *steps_of(plan.commands, self.busy_timeout)])
        except ObservationFailed as failure:
            done = " and ".join(f"`{' '.join(command.argv)}`" for command in plan.commands)
            raise HostFailure(
                f"{done} was run, but what became of it could not be read: {failure}", plan.as_dict()
            ) from None

    def _may_try_again(self, before: HostState, after: HostState, outcomes: list[Outcome], started: float) -> bool:
        """Only where nothing was changed by us: another program was working, or had just changed the boot order."""
        if self.clock() - started >= self.busy_timeout:
            return False
        if not outcomes[0].ok:
            return True
        failed = first_failure(outcomes[1:])
        if failed is None:
            # The commands are toggles: another controller's, given in the same moment, undid ours. Not for ever, though:
            # a tool that reports success and does nothing looks the same.
            self._undone += 1
            return self._undone <= _UNDONE_TIMES and not _moved(before, after)
        return gave_way([failed]) and not _moved(before, after)

    def _failure(self, plan: Plan, after: HostState, outcomes: list[Outcome]) -> str:
        failed = first_failure(outcomes[1:])
        if not outcomes[0].ok:
            said = "The boot order of this node keeps changing: another program rolls it back or stages on it."
        elif failed is None:
            said = f"{self._commands(plan)} reported success."
        elif failed.timed_out:
            said = f"`{' '.join(failed.argv)}` was stopped after {self.busy_timeout} s (busy_timeout)."
        else:
            said = f"`{' '.join(failed.argv)}` failed with code {failed.rc}: {explain(failed.stderr).rstrip('.')}."
        return (
            f"{said} Wanted next to boot: {describe(plan.after.next)}; next to boot is {describe(after.next)}. "
            f"{inventory(after)} Look at it before the node reboots."
        )

    def _commands(self, plan: Plan) -> str:
        return " and ".join(f"`{' '.join(command.argv)}`" for command in plan.commands)

    def _result(self, plan: Plan, after: HostState, changed: bool | None = None) -> dict[str, Any]:
        following = after.next
        result = plan.as_dict()
        if changed is not None:
            result["changed"] = changed
        return {
            **result,
            "msg": plan.summary,
            "before": plan.before.as_dict(),
            "after": after.as_dict(),
            "digest": following.digest if following else None,
            "checksum": following.checksum if following else None,
            **after.reboot_facts(),
        }


def _moved(before: HostState, after: HostState) -> bool:
    """Whether what boots next, or what is staged, is another deployment than before."""

    def places(state: HostState) -> list[object]:
        return [(one.checksum, one.serial, one.digest) if one else None for one in (state.next, state.staged)]

    return places(before) != places(after)
