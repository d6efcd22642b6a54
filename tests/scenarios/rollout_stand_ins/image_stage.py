# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for image_stage on a pretended node."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from rollout_stand_ins.pretend_node import PretendNode


class ActionModule(ActionBase):  # type: ignore[misc]
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        node = PretendNode(str((task_vars or {})["inventory_hostname"]))
        before = node.read()
        if node.is_away():
            return {"failed": True, "changed": False, "unreachable_host": True, "msg": f"{node.name} does not answer"}
        if before["fault"] == "no space":
            return {"failed": True, "changed": False, "msg": f"{node.name} has no space left"}
        digest = self._task.args["image"].partition("@")[2]
        if not self._task.check_mode:
            node.stage(digest)
        return {
            "changed": digest not in (before["booted"], before["staged"]),
            "digest": digest,
            "reboot_required": digest != before["booted"],
            "before": {"boot_id": f"boot-{before['boots']}", "booted": {"digest": before["booted"]}},
        }
