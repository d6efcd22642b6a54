# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of preflight_report, for the module entry and the action plugin."""

from __future__ import annotations

from typing import Any

PREFLIGHT_REPORT: dict[str, dict[str, Any]] = {
    "pool": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["node", "table"], "default": "node"},
    "preflight": {"type": "str", "default": "node_rollout_preflight"},
    "image": {"type": "str", "default": "node_rollout_image"},
    "checked": {"type": "str", "default": "node_rollout_checked"},
    "cluster": {"type": "str", "default": "node_rollout_cluster"},
    "drains": {"type": "bool", "default": False},
    "mistakes": {"type": "list", "elements": "str", "default": []},
    "health_checks": {"type": "raw", "default": []},
}
