# SPDX-License-Identifier: GPL-3.0-or-later
"""Running what a staging plan says: the pull in a unit that outlives us, and the state read again in the same trip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ansible_collections.imagemode.nodes.plugins.module_utils._core import updaters
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import HostState, Tool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Command, Plan
from ansible_collections.imagemode.nodes.plugins.module_utils._core.tool_failure import explain
from ansible_collections.imagemode.nodes.plugins.module_utils._host.execution import patiently, steps_of
from ansible_collections.imagemode.nodes.plugins.module_utils._host.failure import HostFailure
from ansible_collections.imagemode.nodes.plugins.module_utils._host.long_work import (
    LongWork,
    LongWorkFailed,
    LongWorkNotStarted,
    Work,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.observe import ObservationFailed, Observer
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Outcome, Step

_WHO_UPDATES = Step(updaters.QUESTION, timeout=10)


@dataclass
class StagingRun:
    """Runs the commands of one task. `warnings` gathers what was seen on the way. Deadlines are in seconds.

    `superseded`: another controller stopped the staging for one of its own, so that what is staged now may be that one's.
    """

    observer: Observer
    busy_timeout: int
    stage_timeout: int
    warnings: list[str] = field(default_factory=list)
    superseded: bool = False

    def run(
        self, plan: Plan, commands: Sequence[Command], first: Sequence[Step] = (), last: Sequence[Step] = ()
    ) -> tuple[HostState, list[Outcome], list[Outcome]]:
        """Run `first`, the commands, and in the same trip `last` and the questions after the state.

        The state, the outcomes of `first` and the commands, and those of `last`. Raises HostFailure, NodeUnreachable.
        """
        tool = plan.before.tool
        pulling = next((index for index, command in enumerate(commands) if command.pulls), None)
        try:
            if pulling is None:
                return self._directly(tool, [*first, *self._steps(commands)], last)
            before = [*first, *self._steps(commands[:pulling])]
            work = Work(commands[pulling].argv, self.stage_timeout, description=commands[pulling].purpose)
            return self._as_unit(tool, work, before, last)
        except LongWorkNotStarted as failure:
            raise self._not_started(plan, commands[:pulling], failure) from None
        except (ObservationFailed, LongWorkFailed) as failure:
            ran = " and ".join(f"`{' '.join(command.argv)}`" for command in commands)
            raise HostFailure(
                f"{ran} was run, but what became of it could not be read: {failure}", plan.as_dict()
            ) from None

    @staticmethod
    def _not_started(plan: Plan, before: Sequence[Command], failure: LongWorkNotStarted) -> HostFailure:
        why = explain(str(failure))
        if not before:
            return HostFailure(f"{why} Nothing was staged by this run.", {**plan.as_dict(), "changed": False})
        ran = " and ".join(f"`{' '.join(command.argv)}`" for command in before)
        return HostFailure(f"{why} Before it {ran} was run: look at the node before it reboots.", plan.as_dict())

    def run_patiently(
        self, plan: Plan, commands: Sequence[Command], first: Sequence[Step] = (), last: Sequence[Step] = ()
    ) -> tuple[HostState, list[Outcome], list[Outcome]]:
        """The same, again while another program holds the system lock."""

        def attempt() -> tuple[tuple[HostState, list[Outcome]], list[Outcome]]:
            state, done, tail = self.run(plan, commands, first, last)
            return (state, tail), done

        (state, tail), done = patiently(self.observer, attempt)
        return state, done, tail

    def _steps(self, commands: Sequence[Command]) -> list[Step]:
        """rpm-ostree never waits for a lock, but can work for minutes on what it stages; the others do nothing long but wait."""
        timeouts = (self.stage_timeout if one.argv[0] == "rpm-ostree" else self.busy_timeout for one in commands)
        return [step for one, timeout in zip(commands, timeouts) for step in steps_of([one], timeout)]

    def _directly(
        self, tool: Tool | None, steps: Sequence[Step], last: Sequence[Step]
    ) -> tuple[HostState, list[Outcome], list[Outcome]]:
        state, outcomes = self.observer.with_tool(tool, steps, last)
        return state, outcomes[: len(steps)], outcomes[len(steps) :]

    def _as_unit(
        self, tool: Tool | None, work: Work, before: Sequence[Step], last: Sequence[Step]
    ) -> tuple[HostState, list[Outcome], list[Outcome]]:
        observer = self.observer
        questions = observer.questions(tool)
        found = LongWork(observer.runner, observer.notify, sleep=observer.sleep).run(
            work, [_WHO_UPDATES, *before], [*questions, *last]
        )
        self._note_updaters(found.before[:1])
        self.superseded = found.stopped
        done = [*found.before[1:], found.command]
        answers = found.after[: len(questions)]
        state = observer.understood(answers) if answers else None
        tail = list(found.after[len(questions) :])
        if state is None:
            state, tail = observer.with_tool(tool, last=last)
        if found.vanished:
            self.warnings.append(
                "the node was rebooted while it staged, or somebody stopped the unit imagemode-stage.service: what came of it is told by "
                "the node's state alone"
            )
        return state, done, tail

    def _note_updaters(self, outcomes: Sequence[Outcome]) -> None:
        answer = outcomes[0].stdout if outcomes and outcomes[0].ran else ""
        warnings = map(updaters.warning, updaters.active_updaters(answer))
        self.warnings += [warning for warning in warnings if warning not in self.warnings]
