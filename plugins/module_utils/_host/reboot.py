# SPDX-License-Identifier: GPL-3.0-or-later
"""Rebooting a node once, softly or in full, and proving where it landed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.boot_facts import BootFacts, parse_boot_facts
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import HostState, RebootKind, describe
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Plan, Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._core.reboot_plan import (
    PREPARE_NEXT_ROOT,
    RESET_NEXT_ROOT,
    Inhibitors,
    RebootPolicy,
    SoftReboot,
    explain_landing,
    in_full,
    kind_of,
    landing_of,
    lost_at_shutdown,
    plan_reboot,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.tool_failure import explain
from ansible_collections.imagemode.nodes.plugins.module_utils._core.usr_proof import UsrWitness, parse_usr_witness
from ansible_collections.imagemode.nodes.plugins.module_utils._host.boot_questions import (
    BOOT_FACTS,
    BOOT_ID,
    USR_WITNESS,
    is_prepared,
    new_boot,
    same_boot,
    still_next,
    why_lost,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.failure import HostFailure
from ansible_collections.imagemode.nodes.plugins.module_utils._host.observe import HostBusy, ObservationFailed, Observer
from ansible_collections.imagemode.nodes.plugins.module_utils._host.reboot_wait import NotBack, RebootWait
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import NodeUnreachable, Outcome, Runner, Step

_INHIBITOR_POLL_SECONDS = 10.0
_BUSY_POLL_SECONDS = 5.0
_STOPPED_BY_SIGNAL = 128


@dataclass
class Reboot:
    """One reboot of one node. Deadlines are in seconds.

    `reconnect` forgets the connection: after a reboot a kept one leads nowhere.
    """

    runner: Runner
    policy: RebootPolicy
    busy_timeout: int
    reboot_timeout: int
    inhibitor_timeout: int
    reconnect: Callable[[], None]
    notify: Callable[[str], None] = lambda _sentence: None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def run(self, check_mode: bool) -> dict[str, Any]:
        """The module's result. Raises HostFailure, ObservationFailed, NodeUnreachable."""
        plan, facts = self._observe()
        if not plan.changed:
            return self._result(plan, plan.before, usr_proven=self._check_usr(plan, facts))
        if check_mode:
            blocked = () if self.policy.inhibitors is Inhibitors.IGNORE else facts.inhibitors
            warnings = tuple(f"would not be rebooted now: inhibited by {lock.describe()}" for lock in blocked)
            plan = replace(plan, warnings=plan.warnings + warnings)
            return self._result(plan, plan.after, kind=kind_of(plan), facts=facts)
        plan, facts = self._wait_for_inhibitors(plan, facts)
        if not plan.changed:
            return self._result(plan, plan.before)
        boot_id = plan.before.boot_id
        if boot_id is None:
            raise ObservationFailed(
                f"{BOOT_ID} cannot be read on this node, so a reboot could not be told from none. Not rebooted."
            )
        self.notify(f"{_verb(plan)} into {describe(plan.before.next)}")
        started = self.clock()
        plan, ours = self._order(plan, facts, boot_id)
        after, witness = self._wait(plan, facts, boot_id, started)
        seconds = self.clock() - started
        landed = RebootKind.SOFT if after.boot_id == plan.before.boot_id else RebootKind.FULL
        proven = witness.confirms(after)
        result = self._result(plan, after, changed=ours, kind=landed, usr_proven=proven)
        self._prove(plan, after, landed, proven, result)
        self.notify(f"back after {seconds:.0f} s on {describe(after.booted)}")
        return result

    def _observe(self) -> tuple[Plan, BootFacts]:
        """The plan for what the node is in now, in one round trip; later ones only while an rpm-ostree transaction runs.

        A reboot would end that, and whatever kept the system lock until then makes the node lose what is staged.
        """
        observer = Observer(self.runner, self.busy_timeout, self.notify)
        started = self.clock()
        while True:
            state, (answer,) = observer.with_any_tool([BOOT_FACTS])
            facts = parse_boot_facts(answer.stdout)
            plan = self._plan(state, facts)
            if not plan.changed or state.transaction is None:
                return plan, facts
            left = self.busy_timeout - (self.clock() - started)
            if left <= 0:
                raise HostBusy(
                    f"Not rebooted: an rpm-ostree transaction ({state.transaction.method}) still runs on this node after the "
                    f"{self.busy_timeout} s that busy_timeout allows. Wait for it, or end it with `rpm-ostree cancel`."
                )
            self.notify(f"waits: an rpm-ostree transaction ({state.transaction.method}) is running ({left:.0f} s left)")
            self.sleep(min(_BUSY_POLL_SECONDS, max(1.0, left)))

    def _plan(self, state: HostState, facts: BootFacts) -> Plan:
        """Raises HostFailure where a reboot is refused: whoever asked for it has to know that the node was left as it was."""
        try:
            return plan_reboot(state, self.policy, facts)
        except Refusal as refusal:
            untouched = Plan(state, state, (), str(refusal))
            raise HostFailure(str(refusal), self._result(untouched, state, changed=False)) from None

    def _check_usr(self, plan: Plan, facts: BootFacts) -> bool | None:
        """Without a reboot there is nothing to prove, except after soft reboots, which can leave both tools mistaken."""
        if not facts.soft_reboots:
            return None
        answer = self.runner.run_one(USR_WITNESS)
        witness = parse_usr_witness(answer.stdout if answer.ok else "")
        proven = witness.confirms(plan.before)
        if proven is False:
            raise HostFailure(_wrong_usr(plan.before, witness), self._result(plan, plan.before, usr_proven=proven))
        return proven

    def _wait_for_inhibitors(self, plan: Plan, facts: BootFacts) -> tuple[Plan, BootFacts]:
        """Until nobody asks for the node to stay up; the plan is made anew then. Raises HostFailure naming who does."""
        started = self.clock()
        while plan.changed and facts.inhibitors and self.policy.inhibitors is not Inhibitors.IGNORE:
            names = "; ".join(lock.describe() for lock in facts.inhibitors)
            left = self.inhibitor_timeout - (self.clock() - started)
            if self.policy.inhibitors is Inhibitors.FAIL or left <= 0:
                waited = "" if self.policy.inhibitors is Inhibitors.FAIL else f" for {self.inhibitor_timeout} s"
                raise HostFailure(
                    f"Not rebooted: the node is kept from going down{waited} by {names}. Let that end, or set inhibitors: wait "
                    "(with inhibitor_timeout), or inhibitors: ignore to reboot in spite of it. "
                    "`systemd-inhibit --list` on the node shows the locks.",
                    self._result(plan, plan.before, changed=False, facts=facts),
                )
            self.notify(f"waits: kept from going down by {names} ({left:.0f} s left)")
            self.sleep(min(_INHIBITOR_POLL_SECONDS, max(1.0, left)))
            plan, facts = self._observe()
        return plan, facts

    def _order(self, plan: Plan, facts: BootFacts, boot_id: str) -> tuple[Plan, bool]:
        """Ask once, only in the boot that was looked at, and only for what was next then: a second controller may have been faster.

        The plan as it was carried out, and whether the reboot is ours. Raises HostFailure if the node refused it.
        """
        following = plan.before.next
        steps = [same_boot(boot_id, facts.soft_reboots), still_next(following)]
        for command in plan.commands[:-1]:
            steps.append(Step(command.argv, timeout=120, gate=command is not RESET_NEXT_ROOT))
        if PREPARE_NEXT_ROOT in plan.commands and following is not None and following.checksum:
            steps.append(is_prepared(following.checksum))
        order = plan.commands[-1].argv
        try:
            guard, still, *prepared, outcome = self.runner.run([*steps, Step(order, timeout=60)])
        except NodeUnreachable:
            # What a reboot does to its own connection. Whether it was one, the boot id will tell.
            return plan, True
        if guard.timed_out:
            raise HostFailure(
                "Not rebooted: systemd of this node did not answer `systemctl show` in time, so it would not reboot in order either. "
                "Look at its load and at `systemctl list-jobs`.",
                self._result(plan, plan.before, changed=False),
            )
        if not guard.ok:
            return plan, False
        if not still.ok:
            raise HostFailure(
                f"Not rebooted: {describe(following)} was to boot next when this node was looked at, and a moment later it was not. "
                "Somebody else stages on it or rolls it back: run again.",
                self._result(plan, plan.before, changed=False),
            )
        if not outcome.ran:
            return self._order(self._without_soft(plan, prepared), facts, boot_id)
        if not outcome.ok and not outcome.timed_out and (outcome.rc or 0) < _STOPPED_BY_SIGNAL:
            raise HostFailure(
                f"The node refused to reboot: `{' '.join(order)}` returned {outcome.rc}: {explain(outcome.stderr)}. An inhibitor "
                "lock or a failing logind does that: see `systemd-inhibit --list` on the node; inhibitors: ignore overrides locks. "
                "The staged deployment is still there.",
                self._result(plan, plan.before, changed=False),
            )
        return plan, True

    def _without_soft(self, plan: Plan, prepared: list[Outcome]) -> Plan:
        """The plan of a full reboot, after preparing a soft one failed. Raises HostFailure where only a soft one will do."""
        failed = next((outcome for outcome in prepared if outcome.ran and not outcome.ok), None)
        said = (
            explain(failed.stderr).rstrip(".") if failed is not None and failed.argv == PREPARE_NEXT_ROOT.argv else ""
        )
        reason = f"ostree could not prepare a soft reboot: {said or 'it prepared another deployment than the next one'}"
        if self.policy.soft is SoftReboot.REQUIRED:
            self.runner.run_one(Step(RESET_NEXT_ROOT.argv, timeout=60))
            raise HostFailure(
                f"Not rebooted: soft is required, and {reason}. What was staged is still there. Set soft: auto to reboot in full "
                "where a soft reboot cannot do.",
                self._result(plan, plan.before, changed=False),
            )
        self.notify(f"reboots in full: {reason}")
        return in_full(plan, self.policy, reason)

    def _wait(self, plan: Plan, facts: BootFacts, boot_id: str, started: float) -> tuple[HostState, UsrWitness]:
        """Poll until the boot is another one, or another soft reboot was counted, and the status can be read."""
        observer = Observer(self.runner, self.busy_timeout, self.notify)
        wait = RebootWait(
            self.runner, observer, self.reboot_timeout, self.reconnect, clock=self.clock, sleep=self.sleep
        )
        try:
            return wait.until(new_boot(boot_id, facts.soft_reboots), started)
        except NotBack as late:
            raise HostFailure(
                f"The node did not come back within {late.waited:.0f} s (reboot_timeout {self.reboot_timeout} s) after it was asked "
                f"to reboot into {describe(plan.before.next)}: {late} Once it is back, run the same command again: it carries on "
                "from there.",
                self._result(plan, plan.before, changed=True),
            ) from None

    def _prove(
        self, plan: Plan, after: HostState, landed: RebootKind, proven: bool | None, result: dict[str, Any]
    ) -> None:
        """Raises HostFailure unless the node is where the plan wanted it."""
        problem = explain_landing(plan.before, after)
        booted, expected = after.booted, self.policy.expected_digests
        if problem is not None and lost_at_shutdown(plan.before, after):
            problem += self._own_words(soft=landed is RebootKind.SOFT)
        elif problem is not None and landed is RebootKind.SOFT:
            problem = (
                f"The soft reboot restarted {describe(booted)} instead of {describe(plan.before.next)}: nothing was left in "
                "/run/nextroot when it began. Run again with soft: never; a full reboot boots what is next."
            )
        elif problem is None and expected and booted and booted.digest not in expected:
            problem = f"The node booted {booted.describe()}, which has none of the expected digests."
        elif problem is None and proven is False:
            problem = _wrong_usr(after, None)
        elif problem is None and landed is RebootKind.SOFT and kind_of(plan) is RebootKind.FULL and result["changed"]:
            problem = (
                f"The node runs {describe(booted)} after a soft reboot, although a full one was ordered: the old kernel still runs, "
                "with its old arguments. Run `SYSTEMCTL_SKIP_AUTO_SOFT_REBOOT=1 systemctl reboot` on it."
            )
        if problem is not None:
            raise HostFailure(problem, result)

    def _own_words(self, soft: bool) -> str:
        """What the node itself says about a lost deployment, as a sentence to append; empty if it says nothing."""
        try:
            status, journal = self.runner.run(why_lost(soft))
        except NodeUnreachable:
            return ""
        lines = status.stdout.splitlines() if status.ok else []
        noted = [n for n, line in enumerate(lines) if "failed to finalize previous deployment" in line]
        words = [line.strip() for line in lines[noted[0] : noted[0] + 2]] if noted else []
        if not words and journal.ok:
            words = [line.strip() for line in journal.stdout.splitlines() if line.strip()][-3:]
        text = " / ".join(words)
        if not text:
            return ""
        advice = explain(f"error: {text}")
        return f" The node says: {advice}"

    def _result(
        self,
        plan: Plan,
        after: HostState,
        *,
        changed: bool | None = None,
        kind: RebootKind | None = None,
        usr_proven: bool | None = None,
        facts: BootFacts | None = None,
    ) -> dict[str, Any]:
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
            "rebooted": kind.value if kind else None,
            "landed": landing_of(plan.before, after).value if kind and after is not plan.after else None,
            "usr_proven": usr_proven,
            "inhibitors": [lock.as_dict() for lock in facts.inhibitors] if facts else [],
            **after.reboot_facts(),
        }


def _verb(plan: Plan) -> str:
    return "soft-reboots" if kind_of(plan) is RebootKind.SOFT else "reboots"


def _wrong_usr(state: HostState, witness: UsrWitness | None) -> str:
    really = f" (it is that of ostree commit {', '.join(sorted(witness.checksums))})" if witness else ""
    return (
        f"{describe(state.booted)} is said to be booted, but /usr is not that of its deployment{really}. bootc and rpm-ostree name "
        "the wrong deployment after a second soft reboot within one boot: reboot the node in full, with "
        "`SYSTEMCTL_SKIP_AUTO_SOFT_REBOOT=1 systemctl reboot`, and look again."
    )
