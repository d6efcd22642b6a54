# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for image_mode_info on a pretended node: whether it answers, and what it runs."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from rollout_stand_ins.pretend_node import PretendNode


class ActionModule(ActionBase):  # type: ignore[misc]
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        node = PretendNode(str((task_vars or {})["inventory_hostname"]))
        state = node.read()
        if node.is_away():
            time.sleep(state["seconds_to_notice"])
            return {"failed": True, "changed": False, "unreachable_host": True, "msg": f"{node.name} does not answer"}
        return {
            "changed": False,
            "host": {"booted": {"digest": state["booted"]}, "reboot_required": bool(state["staged"])},
        }
