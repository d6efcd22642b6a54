# SPDX-License-Identifier: GPL-3.0-or-later
"""Putting an image in next place with either tool: observe, plan, act, observe again, prove."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.bootc_plan import BootcTool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_image import (
    DesiredImage,
    LocalChangesPolicy,
    Placement,
    origin_base,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_ref import DesiredRef
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import (
    NO_LOCAL_CHANGES,
    HostState,
    Slot,
    Tool,
    describe,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_wish import KargsWish
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Command, Plan, Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rpm_ostree_plan import RpmOstreeTool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.staging_plan import (
    Desired,
    StagingTool,
    lock_after,
    plan_staging,
    plan_unstaging,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.tool_failure import explain
from ansible_collections.imagemode.nodes.plugins.module_utils._host.execution import first_failure, gave_way
from ansible_collections.imagemode.nodes.plugins.module_utils._host.failure import HostFailure
from ansible_collections.imagemode.nodes.plugins.module_utils._host.kargs_view import STEP as READ_ARGUMENTS
from ansible_collections.imagemode.nodes.plugins.module_utils._host.kargs_view import KargsView, step_if_staged
from ansible_collections.imagemode.nodes.plugins.module_utils._host.kargs_view import parse as parse_arguments
from ansible_collections.imagemode.nodes.plugins.module_utils._host.long_work import (
    EARLIER_WORK,
    EarlierWork,
    LongWork,
    LongWorkFailed,
    earlier_work,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.next_arguments import (
    DROP_NOTE,
    READ_NOTE,
    Addition,
    NextArguments,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.observe import (
    GateClosed,
    ObservationFailed,
    Observer,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Outcome, Runner, Step
from ansible_collections.imagemode.nodes.plugins.module_utils._host.staging_proof import (
    StagingProof,
    repeated_arguments,
    staging_result,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.staging_run import StagingRun

_APPLY_LIVE = Command(("rpm-ostree", "apply-live"), "apply the staged deployment to the running system")


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
        options = self.options
        self._observer = Observer(self.runner, options.busy_timeout, self.notify, self.sleep)
        self._execution = StagingRun(self._observer, options.busy_timeout, options.stage_timeout)
        self._arguments = NextArguments(options.kargs, options.desired.describe() if options.desired else "")

    def run(self, check_mode: bool) -> dict[str, Any]:
        """The module's result. Raises HostFailure, ObservationFailed, Refusal, NodeUnreachable."""
        waited = 0
        while True:
            state, view = self._look(check_mode)
            plan = self._plan(state)
            view, note = self._prepare(plan, view)
            if check_mode:
                return self._predicted(plan, view)
            started = time.monotonic()
            after, done, view = self._act(plan, note) if plan.changed else (plan.before, [], view)
            # Whoever held the system lock may have changed everything, so all of it is looked at again.
            if not gave_way(done) or not self._proof(plan).is_untouched(after) or waited >= self.options.busy_timeout:
                break
            waited += self._observer.pause(waited)
        if self._execution.superseded and not self._proof(plan).is_in_place(after):
            raise self._proof(plan).kept(after, _superseded_by(after))
        if plan.changed:
            self._execution.warnings += self._proof(plan).require(after, done)
        plan, after = self._complete(plan, after, view)
        if self._stages(plan):
            self._execution.warnings += repeated_arguments(plan.before, after)
            verb = "downloaded" if after.staged is not None and after.staged.download_only else "staged"
            self.notify(f"{verb} {describe(after.staged)} in {time.monotonic() - started:.0f} s, digest proven")
        return self._result(plan, after)

    # before

    def _look(self, check_mode: bool) -> tuple[HostState, KargsView | None]:
        """The state as the tool that is going to act sees it, and what an earlier run had still to do.

        The arguments as well, where they will be needed even if nothing is to be staged.
        """
        tool = self.options.tool
        last = [replace(step, always=False) for step in self._first_arguments(tool)]
        while True:
            try:
                # A check run stops nothing, and so waits like for anybody else's work.
                gate = [] if check_mode else [EARLIER_WORK]
                state, outcomes = self._observer.when_idle(tool, [READ_NOTE, *gate], last, gated=True)
                break
            except GateClosed as closed:
                self._settle(earlier_work(closed.outcomes[-1]))
        note, found = outcomes[0], outcomes[1 + len(gate) :]
        self._arguments.resume(note.stdout)
        state = self._observer.name_local_changes(state)
        desired = self.options.desired
        keeps = desired is not None and desired.local_changes is LocalChangesPolicy.KEEP
        changed = any(one is not None and one.local_changes for one in (state.booted, state.staged))
        only_rpm_ostree = isinstance(desired, DesiredRef) or (keeps and changed)
        known = all(one is None or one.local_changes.known for one in (state.booted, state.staged))
        may_reset = changed and known and self._gives_up_local_changes
        if self.options.tool is None and state.tool is Tool.BOOTC and (only_rpm_ostree or may_reset):
            other, answers = self._observer.when_idle(Tool.RPM_OSTREE, last=self._first_arguments(Tool.RPM_OSTREE))
            if only_rpm_ostree or self._only_local_changes_are_in_the_way(other):
                state, found = other, answers
        return state, self._view([one for one in found if one.stdout or not one.ok])

    def _settle(self, earlier: EarlierWork | None) -> None:
        """An earlier run's staging goes on, and no tool answers before it ends: waited for if it is what this run wants too.

        Raises HostFailure.
        """
        if earlier is None:
            raise ObservationFailed(
                "The staging of an earlier run goes on on this node, and what it stages cannot be told."
            )
        work = LongWork(self.runner, self.notify, sleep=self.sleep)
        try:
            if self._is_wanted(earlier.argv):
                work.wait_for(earlier, self.options.stage_timeout)
            else:
                work.stop(earlier)
        except LongWorkFailed as failure:
            raise HostFailure(str(failure), {"changed": False}) from None

    def _is_wanted(self, argv: Sequence[str]) -> bool:
        """Whether an earlier command may lead to what is wanted now. One without a target follows what the node follows."""
        desired = self.options.desired
        if self.options.unstage or desired is None:
            return False
        targets = [word for word in argv[2:] if not word.startswith("-")]
        return not targets or any(desired.is_named_by(word) for word in targets)

    @property
    def _gives_up_local_changes(self) -> bool:
        desired = self.options.desired
        return (
            isinstance(desired, DesiredImage)
            and desired.local_changes is LocalChangesPolicy.DISCARD
            and desired.placement is Placement.STAGED
            and not self.options.unstage
        )

    def _only_local_changes_are_in_the_way(self, state: HostState) -> bool:
        """Whether `rpm-ostree reset` does, which asks no registry; bootc would fetch the manifest once more."""
        base, desired = origin_base(state), self.options.desired
        if base is None or desired is None or base.local_changes.cliwrap:
            return False
        return desired.satisfied_by(replace(base, local_changes=NO_LOCAL_CHANGES), desired.signature_on(state))

    def _first_arguments(self, tool: Tool | None) -> list[Step]:
        desired = self.options.desired
        if self.options.unstage or (desired is not None and desired.placement is Placement.DOWNLOADED):
            return []
        if self.options.kargs:
            return [READ_ARGUMENTS]
        return [] if tool is Tool.BOOTC else [step_if_staged(tool)]

    def _plan(self, state: HostState) -> Plan:
        desired = self.options.desired
        if self.options.unstage:
            return plan_unstaging(state, desired)
        if desired is None:
            raise Refusal("Nothing was asked for: name an image.")
        tool: StagingTool = BootcTool() if state.tool is Tool.BOOTC else RpmOstreeTool(self.options.bypass_driver)
        return plan_staging(tool, state, desired)

    def _prepare(self, plan: Plan, view: KargsView | None) -> tuple[KargsView | None, Step | None]:
        """Whatever could forbid the staging for the sake of kernel arguments shows here; and the note of what it would lose."""
        staged = plan.before.staged
        # On bootc's composefs backend nobody can have changed arguments, and nothing would tell them either.
        over = staged is not None and not staged.composefs
        replaces = self._stages(plan) and over and plan.before.tool is Tool.BOOTC
        if self._stages(plan) and not replaces:
            self._arguments.carried = None
        if self.options.unstage or not (self.options.kargs or replaces):
            return view, None
        view = view or parse_arguments(self.runner.run_one(READ_ARGUMENTS))
        if not self._stages(plan):
            return view, None
        return view, self._arguments.prepare(plan.before, view, replaces)

    @staticmethod
    def _stages(plan: Plan) -> bool:
        return any(command.pulls for command in plan.commands)

    # acting

    def _act(self, plan: Plan, note: Step | None) -> tuple[HostState, list[Outcome], KargsView | None]:
        if self._stages(plan) and self.options.desired is not None:
            self.notify(f"stages {self.options.desired.describe()} with {_name(plan.before.tool)}")
        # What is to be locked afterwards is staged unlocked first.
        rebases = self._stages(plan) and plan.before.tool is Tool.RPM_OSTREE
        looks = rebases or self._looks_at_arguments(plan.after)
        last = [READ_ARGUMENTS] if looks else []
        after, done, tail = self._execution.run(plan, plan.commands, [note] if note else [], last)
        return after, done, self._view(tail)

    def _looks_at_arguments(self, state: HostState) -> bool:
        """rpm-ostree leaves out the arguments that an image brings, so a staged image has to be looked at."""
        if self.options.unstage or (self.options.desired and self._is_locked(state)):
            return False
        return self._arguments.matter or (state.tool is Tool.RPM_OSTREE and state.next_slot is Slot.STAGED)

    def _is_locked(self, state: HostState) -> bool:
        """Locked by an earlier run, which had completed it; changing arguments would stage it again, unlocked."""
        return state.staged is not None and state.staged.download_only and state.staged.checksum is not None

    def _complete(self, plan: Plan, state: HostState, view: KargsView | None) -> tuple[Plan, HostState]:
        """Arguments, lock and live application, as far as they are not what was asked for already."""
        if self._looks_at_arguments(state):
            plan, state = self._with_arguments(plan, state, view)
        plan, state = self._with_lock(plan, state)
        return self._with_live_changes(plan, state)

    def _with_arguments(self, plan: Plan, state: HostState, view: KargsView | None) -> tuple[Plan, HostState]:
        if view is None:
            view = parse_arguments(self.runner.run_one(READ_ARGUMENTS))
        try:
            addition = self._arguments.addition(state, view)
        except (Refusal, ObservationFailed) as failure:
            raise self._proof(plan).incomplete(state, str(failure)) from None
        if not addition.commands:
            self._tidy(addition)
            return plan, state
        memory = [addition.memory] if addition.memory else []
        plan = _with_changed_arguments(plan, addition.commands)
        state, done, tail = self._execution.run_patiently(plan, addition.commands, memory, [READ_ARGUMENTS])
        left = self._left(state, self._view(tail))
        if left is None or left.commands or not self._proof(plan).is_in_place(state):
            failed = first_failure(done)
            why = (
                f"`{' '.join(failed.argv)}` failed with code {failed.rc}: {explain(failed.stderr)}"
                if failed
                else "the command reported success, but the next boot does not have the wanted kernel arguments"
            )
            raise self._proof(plan).incomplete(state, why)
        self._tidy(left)
        words = addition.before.without_machine_words.words, left.after.without_machine_words.words
        return replace(plan, arguments=words), state

    def _left(self, state: HostState, view: KargsView | None) -> Addition | None:
        try:
            return self._arguments.addition(state, view) if view else None
        except (Refusal, ObservationFailed):
            return None

    def _tidy(self, addition: Addition) -> None:
        """Bookkeeping on the node, no change of it: the owner's list, and the note that is not needed any more."""
        steps = [addition.memory] if addition.memory else []
        steps += [DROP_NOTE] if self._arguments.carried else []
        if steps:
            self.runner.run(steps)

    def _with_lock(self, plan: Plan, state: HostState) -> tuple[Plan, HostState]:
        """Lock what was to be downloaded only: neither tool can stage every image locked."""
        desired, staged = self.options.desired, state.staged
        if self.options.unstage or desired is None or staged is None or not self._proof(plan).is_staged(state):
            return plan, state
        command = lock_after(desired, staged)
        if command is None:
            return plan, state
        plan = _extended(plan, [command])
        state, done, _tail = self._execution.run_patiently(plan, [command])
        if state.staged is None or not state.staged.download_only:
            failed = first_failure(done)
            raise self._proof(plan).incomplete(
                state, f"it could not be locked: {explain(failed.stderr)}" if failed else "it is not locked"
            )
        return plan, state

    def _with_live_changes(self, plan: Plan, state: HostState) -> tuple[Plan, HostState]:
        staged = state.staged
        if not self.options.apply_live or staged is None or state.live_replaced == staged.checksum:
            return plan, state
        plan = _extended(plan, [_APPLY_LIVE])
        state, done, _tail = self._execution.run_patiently(plan, [_APPLY_LIVE])
        if state.staged is None or state.live_replaced != state.staged.checksum:
            failed = first_failure(done)
            why = explain(failed.stderr) if failed else "rpm-ostree reported success, but its status does not say so"
            raise self._proof(plan).kept(
                state, f"It is staged for the next reboot, but could not be applied live: {why}"
            )
        return plan, state

    # results

    def _view(self, outcomes: Sequence[Outcome]) -> KargsView | None:
        return parse_arguments(outcomes[0]) if outcomes and outcomes[0].ran else None

    def _proof(self, plan: Plan) -> StagingProof:
        options = self.options
        return StagingProof(
            self.runner, plan, options.desired, options.unstage, options.busy_timeout, options.stage_timeout
        )

    def _predicted(self, plan: Plan, view: KargsView | None) -> dict[str, Any]:
        """What a real run would return, as far as that can be known before the pull."""
        after, stages = plan.after, self._stages(plan)
        if view is not None and self.options.kargs:
            commands = self._arguments.predicted(plan.before, view, stages)
            if commands and not plan.changed and after.next is not None:
                # The same deployment once more, with other arguments.
                after = replace(after, staged=replace(after.next, serial=None), kargs_next=None)
            plan = _with_changed_arguments(plan, commands) if commands else plan
        desired = self.options.desired
        if desired is not None and desired.placement is Placement.DOWNLOADED and stages and after.tool is Tool.BOOTC:
            lock = Command(("ostree", "admin", "lock-finalization"), "lock the staged deployment")
            plan = _extended(plan, [lock])
        if self.options.apply_live and after.staged is not None and plan.changed:
            plan = _extended(plan, [_APPLY_LIVE])
        return self._result(plan, after)

    def _result(self, plan: Plan, after: HostState) -> dict[str, Any]:
        plan = replace(plan, warnings=(*plan.warnings, *self._execution.warnings))
        return staging_result(plan, after)


def _extended(plan: Plan, commands: Sequence[Command]) -> Plan:
    return replace(plan, commands=(*plan.commands, *commands))


def _with_changed_arguments(plan: Plan, commands: Sequence[Command]) -> Plan:
    return replace(_extended(plan, commands), summary=f"{plan.summary}; kernel arguments changed for the next boot")


def _superseded_by(state: HostState) -> str:
    return (
        "Another controller stopped this staging on the node, to stage something else there. Staged is now "
        f"{describe(state.staged)}, and that was left alone. Let one controller at a time decide what a node runs."
    )


def _name(tool: Tool | None) -> str:
    return tool.value if tool else "no tool"
