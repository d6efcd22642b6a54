# SPDX-License-Identifier: GPL-3.0-or-later
"""What the actions of a rollout share that need no node: they run on the controller alone, and every error is a failed task in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.imagemode.nodes.plugins.module_utils._core.duration import DurationError
from ansible_collections.imagemode.nodes.plugins.module_utils._core.maintenance_window import MaintenanceWindowError
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_request import PlanError
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_transitions import TransitionError
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_window import WindowError
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store import StoreError
from ansible_collections.imagemode.nodes.plugins.plugin_utils._terminal import say


class GuardError(Exception):
    """The play is not one in which this can work. The message says what was found and what to change."""


class ControllerAction(ActionBase):  # type: ignore[misc]
    """An action without a connection. Subclasses give the options' specification and do the work in `act`."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    SPEC: dict[str, dict[str, Any]] = {}
    # Errors whose message is written for the person who reads it.
    TOLD: tuple[type[Exception], ...] = (
        StoreError,
        PlanError,
        TransitionError,
        WindowError,
        DurationError,
        MaintenanceWindowError,
        GuardError,
    )

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Validate the options, act, and turn what went wrong into a message."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(argument_spec=self.SPEC)
        result.update(self.acted(options, task_vars or {}))
        return result

    def acted(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """What `act` returns, or a failed task in words."""
        try:
            return self.act(options, task_vars)
        except self.TOLD as error:
            # Not raised: ansible-core would print the message again for every error below it.
            return {"failed": True, "changed": False, "msg": f"{options['pool']}: {error}"}

    def act(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """The task's work; returns the result's fields."""
        raise NotImplementedError

    @property
    def check_mode(self) -> bool:
        """Whether nothing may be changed."""
        return bool(self._task.check_mode)

    def say(self, line: str) -> None:
        """Plain output, at once: a worker's lines reach the terminal and the platform's events while it runs."""
        say(line)


def pool_members(pool: str, task_vars: Mapping[str, Any]) -> tuple[str, ...]:
    """All nodes of the pool, also those that --limit hides; raises GuardError if it is no group or is empty."""
    groups = task_vars.get("groups") or {}
    if pool not in groups:
        raise GuardError(f"the inventory has no group {pool}. It has: {', '.join(sorted(groups)) or 'none'}.")
    members = tuple(str(name) for name in groups[pool])
    if not members:
        raise GuardError(f"the group {pool} of the inventory has no hosts.")
    return members


def play_strategy(task: Any) -> str | None:
    """The strategy of the play that a task is in; None if the task does not tell."""
    parent = getattr(task, "_parent", None)
    while parent is not None:
        play = getattr(parent, "_play", None)
        if play is not None:
            strategy = getattr(play, "strategy", None)
            return str(strategy) if strategy else None
        parent = getattr(parent, "_parent", None)
    return None


def require_forks(window: int, hosts: int, task_vars: Mapping[str, Any]) -> None:
    """Forks cap a play's width silently: with fewer than the window and two waiting ones, the window is never full."""
    forks = int(task_vars.get("ansible_forks") or 0)
    needed = min(window + 2, hosts)
    if forks < needed:
        waiting = {0: "", 1: ", and one for nodes that wait"}.get(needed - window, ", and two for nodes that wait")
        raise GuardError(
            f"ansible runs with {forks} fork{'' if forks == 1 else 's'}, but a window of {window} needs {needed}: one for each node "
            f"that is being updated{waiting}. Run with --forks {needed} (or forks = {needed} in ansible.cfg; 'Forks' of a job template)."
        )
