# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a plan's commands: each with its deadline, its guard and the signal that stops its tool rightly; one policy for
a host that is busy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Command
from ansible_collections.imagemode.nodes.plugins.module_utils._core.tool_failure import says_busy
from ansible_collections.imagemode.nodes.plugins.module_utils._host.observe import Observer
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Outcome, Step

_GUARD_SECONDS = 20

Answer = TypeVar("Answer")


def stop_signal(argv: tuple[str, ...]) -> str:
    """INT cancels an rpm-ostree transaction; any other signal leaves it running without a client (recorded, 2026.2)."""
    return "INT" if argv[0] == "rpm-ostree" else "TERM"


def steps_of(commands: Iterable[Command], timeout: int) -> list[Step]:
    """The steps; each is a gate, so that nothing runs after a command that failed or a guard that refused."""
    steps = []
    for command in commands:
        if command.only_if:
            steps.append(Step(command.only_if, timeout=_GUARD_SECONDS, gate=True))
        steps.append(Step(command.argv, timeout=timeout, gate=True, signal=stop_signal(command.argv)))
    return steps


def first_failure(outcomes: Iterable[Outcome]) -> Outcome | None:
    """The step that ran and did not succeed."""
    return next((outcome for outcome in outcomes if outcome.ran and not outcome.ok), None)


def gave_way(outcomes: Iterable[Outcome]) -> bool:
    """Whether a command gave up because another program was at work. It has tried nothing then, and may be tried again.

    bootc waits for the system lock by itself, without an end; rpm-ostree gives up at once.
    """
    failed = first_failure(outcomes)
    return failed is not None and not failed.timed_out and says_busy(failed.stderr)


def patiently(observer: Observer, attempt: Callable[[], tuple[Answer, list[Outcome]]]) -> tuple[Answer, list[Outcome]]:
    """Attempt, and again while another program holds the system lock, up to busy_timeout."""
    waited = 0
    while True:
        answer, outcomes = attempt()
        if not gave_way(outcomes) or waited >= observer.busy_timeout:
            return answer, outcomes
        waited += observer.pause(waited)
