# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The action behind rollout_store: runs on the controller, once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_arguments import STORE_COMMAND
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_decision import Alive
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import PoolState
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state_json import (
    slot_as_dict,
    state_as_dict,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_table import state_lines
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_transitions import (
    allow,
    approve,
    deny,
    forget,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_wording import names
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_action import ControllerAction, GuardError
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_controller import Controller
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store import transact
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_selection import platform_job, select_store


class ActionModule(ControllerAction):
    """Shows and mends the state of a pool's rollout."""

    SPEC = STORE_COMMAND

    def act(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """See the module's documentation."""
        _guard(options)
        store = select_store(options, task_vars, self)
        controller = Controller(platform_job(task_vars))
        now = time.time()

        def change(state: PoolState | None) -> tuple[PoolState | None, tuple[PoolState | None, PoolState | None]]:
            if state is None:
                return None, (None, None)
            after = _changed(state, options, controller.liveness, now)
            return (None if self.check_mode else after), (state, after)

        before, after = transact(store, change)
        if before is None or after is None:
            if options["state"] != "shown":
                raise GuardError(f"{store.place} does not exist: no rollout of this pool was ever planned.")
            lines = [f"{options['pool']}: no rollout was ever planned ({store.place} does not exist)"]
        else:
            lines = state_lines(after, controller.liveness, now)
        changed = after is not before
        msg = _said(options, before, after) if before and after and options["state"] != "shown" else lines[0]
        for line in lines if options["state"] == "shown" else [msg]:
            self.say(line)
        old, new = state_as_dict(before) if before else {}, state_as_dict(after) if after else {}
        return {
            "changed": changed,
            "nodes": {name: slot_as_dict(slot) for name, slot in sorted(after.nodes.items())} if after else {},
            "rollout": new or None,
            "denied": new.get("denied", []),
            "paused": bool(after and after.paused),
            "store_path": store.place,
            "lines": lines,
            "msg": msg,
            "diff": {"before_header": "rollout state", "after_header": "rollout state", "before": old, "after": new},
        }


def _guard(options: Mapping[str, Any]) -> None:
    needed = {"released": "nodes", "denied": "digests"}.get(options["state"])
    if needed and not options[needed]:
        raise GuardError(f"state is {options['state']}, but {needed} is empty. Name them (imagemode_store_{needed}).")


def _changed(state: PoolState, options: Mapping[str, Any], alive: Alive, now: float) -> PoolState:
    wanted, digests = options["state"], options["digests"]
    if wanted in ("paused", "resumed"):
        paused = wanted == "paused"
        return state if state.paused is paused else replace(state, paused=paused)
    if wanted == "approved":
        return approve(state, digests or state.target_digests)
    if wanted == "released":
        return forget(state, options["nodes"], alive)
    if wanted == "denied":
        return deny(state, digests, options["reason"] or "denied by hand", now)
    if wanted == "allowed":
        return allow(state, digests or [denial.digest for denial in state.denied])
    return state


def _said(options: Mapping[str, Any], before: PoolState, after: PoolState) -> str:
    words = {
        "paused": "paused: no further node goes out of service, and runs that wait end",
        "resumed": "free to go on: run the rollout again",
        "approved": f"approved: {names(after.approved)}. Run the rollout again",
        "released": f"{names(tuple(name for name in before.nodes if name not in after.nodes))} released: in service as far as is known",
        "denied": f"denied: {names(tuple(denial.digest for denial in after.denied))}",
        "allowed": f"allowed again: {names(tuple(item.digest for item in before.denied if item not in after.denied))}",
    }
    told = words[options["state"]] if after is not before else f"nothing to change, it is {options['state']} already"
    return f"{options['pool']}: {told}"
