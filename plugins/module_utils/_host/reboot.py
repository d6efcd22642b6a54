# SPDX-License-Identifier: GPL-3.0-or-later
"""Rebooting a node once, and proving where it landed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import HostState, describe
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Plan
from ansible_collections.imagemode.nodes.plugins.module_utils._core.reboot_plan import (
    REBOOT,
    explain_landing,
    plan_reboot,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.tool_failure import explain
from ansible_collections.imagemode.nodes.plugins.module_utils._host.failure import HostFailure
from ansible_collections.imagemode.nodes.plugins.module_utils._host.observe import (
    GateClosed,
    ObservationFailed,
    Observer,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import (
    NodeUnreachable,
    Runner,
    ShellFailed,
    Step,
)

BOOT_ID = "/proc/sys/kernel/random/boot_id"

_POLL_SECONDS = (1.0, 1.0, 2.0, 3.0, 5.0)


@dataclass
class Reboot:
    """One reboot of one node. Deadlines are in seconds.

    `reconnect` forgets the connection: after a reboot a kept one leads nowhere.
    """

    runner: Runner
    expected_digests: Collection[str]
    busy_timeout: int
    reboot_timeout: int
    reconnect: Callable[[], None]
    notify: Callable[[str], None] = lambda _sentence: None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def run(self, check_mode: bool) -> dict[str, Any]:
        """The module's result. Raises HostFailure, ObservationFailed, Refusal, NodeUnreachable."""
        before, _none = Observer(self.runner, self.busy_timeout, self.notify).with_any_tool()
        plan = plan_reboot(before, self.expected_digests)
        if check_mode or not plan.changed:
            return _result(plan, plan.after if check_mode else before, 0.0)
        if before.boot_id is None:
            raise ObservationFailed(
                f"{BOOT_ID} cannot be read on this node, so a reboot could not be told from none. Not rebooted."
            )
        self.notify(f"reboots into {describe(before.next)}")
        started = self.clock()
        ours = self._ask_for_reboot(plan, before.boot_id)
        after = self._wait_for_boot(plan, before.boot_id, started)
        seconds = self.clock() - started
        self._prove(plan, after, seconds)
        self.notify(f"back after {seconds:.0f} s on {describe(after.booted)}")
        return _result(plan, after, seconds, changed=ours)

    def _ask_for_reboot(self, plan: Plan, boot_id: str) -> bool:
        """Ask once, and only in the boot that was looked at: a second controller may have been faster.

        Whether the reboot is ours. Raises HostFailure if the node refused it.
        """
        same_boot = Step(("grep", "-qxF", boot_id, BOOT_ID), timeout=10, gate=True)
        try:
            guard, outcome = self.runner.run([same_boot, Step(REBOOT.argv, timeout=60)])
        except NodeUnreachable:
            # What a reboot does to its own connection. Whether it was one, the boot id will tell.
            return True
        if guard.ok and outcome.ran and not outcome.ok:
            raise HostFailure(
                f"The node refused to reboot: `{' '.join(REBOOT.argv)}` returned {outcome.rc}: {explain(outcome.stderr)}. An inhibitor "
                "lock or a failing logind does that: see `systemd-inhibit --list` on the node. The staged deployment is still there.",
                _result(plan, plan.before, 0.0, changed=False),
            )
        return guard.ok

    def _wait_for_boot(self, plan: Plan, boot_id: str, started: float) -> HostState:
        """Poll until the boot id is another one and the status can be read."""
        # The gate is open once the boot id differs; until then the node is still shutting down.
        new_boot = Step(("grep", "-qvxF", boot_id, BOOT_ID), timeout=10, gate=True)
        observer = Observer(self.runner, self.busy_timeout, self.notify)
        last_seen, trouble = started, "no answer"
        for pause in self._pauses(started):
            self.sleep(pause)
            self.reconnect()
            try:
                state, _gate = observer.with_any_tool([new_boot], gated=True)
            except GateClosed:
                last_seen, trouble = self.clock(), "it still answers in the old boot"
            except (NodeUnreachable, ShellFailed) as failure:
                trouble = str(failure)
            except ObservationFailed as failure:
                last_seen, trouble = self.clock(), str(failure)
            else:
                return state
        waited = self.clock() - started
        raise HostFailure(
            f"The node did not come back within {waited:.0f} s (reboot_timeout {self.reboot_timeout} s) after it was asked "
            f"to reboot into {describe(plan.before.next)}; last heard of {last_seen - started:.0f} s after that, and last "
            f"seen: {trouble}. Look at its console. Once it is back, run the same command again: it carries on from there.",
            _result(plan, plan.before, waited, changed=True),
        )

    def _pauses(self, started: float) -> Any:
        turn = 0
        while self.clock() - started < self.reboot_timeout:
            yield _POLL_SECONDS[min(turn, len(_POLL_SECONDS) - 1)]
            turn += 1

    def _prove(self, plan: Plan, after: HostState, seconds: float) -> None:
        problem = explain_landing(plan.before, after)
        if (
            problem is None
            and self.expected_digests
            and after.booted
            and after.booted.digest not in self.expected_digests
        ):
            problem = f"The node booted {after.booted.describe()}, which has none of the expected digests."
        if problem is not None:
            raise HostFailure(problem, _result(plan, after, seconds))


def _result(plan: Plan, after: HostState, seconds: float, changed: bool | None = None) -> dict[str, Any]:
    kind = after.reboot_kind
    result = plan.as_dict()
    if changed is not None:
        result["changed"] = changed
    return {
        **result,
        "msg": plan.summary,
        "before": plan.before.as_dict(),
        "after": after.as_dict(),
        "booted": after.booted.as_dict() if after.booted else None,
        "boot_id_before": plan.before.boot_id,
        "boot_id_after": after.boot_id,
        "seconds": round(seconds, 1),
        "reboot_required": after.reboot_required,
        "reboot_kind": kind.value if kind else None,
    }
