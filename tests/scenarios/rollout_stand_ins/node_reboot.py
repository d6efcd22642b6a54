# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for node_reboot on a pretended node."""

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
        expected = self._task.args["expected_digests"]
        if node.read()["booted"] in expected:
            return {"changed": False, "booted": {"digest": node.read()["booted"]}}
        if node.read()["staged"] not in expected:
            return {"failed": True, "changed": False, "msg": "what is staged has none of the expected digests"}
        node.reboot()
        until = time.time() + float(self._task.args["reboot_timeout"])
        while node.is_away():
            if time.time() > until:
                return {"failed": True, "changed": True, "unreachable_host": True, "msg": "it did not come back"}
            time.sleep(0.1)
        return {"changed": True, "booted": {"digest": node.read()["booted"]}}
