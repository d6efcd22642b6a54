# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan's commands as steps of a batch: each with its deadline, its guard and the signal that stops its tool rightly."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Command
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Outcome, Step

_GUARD_SECONDS = 20


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
