# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for node_preflight_info on a pretended node: whether it answers, and has space."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from rollout_stand_ins.pretend_node import PretendNode


class ActionModule(ActionBase):  # type: ignore[misc]
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        node = PretendNode(str((task_vars or {})["inventory_hostname"]))
        told = {"reachable": "it does not answer"} if node.is_away() else {}
        if node.read()["fault"] == "no space":
            told = {"disk": "no space left"}
        findings = [
            {"check": check, "severity": "error", "told": words, "fix": "", "node": node.name}
            for check, words in told.items()
        ]
        return {"changed": False, "findings": findings, "ready": not findings}
