# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of rollout_report: the module entry and the action plugin both read them here."""

from __future__ import annotations

from typing import Any

KEPT_REPORTS = 20

REPORT: dict[str, dict[str, Any]] = {
    "pool": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["node", "table"], "default": "node"},
    "image": {"type": "str", "default": ""},
    "expected_digests": {"type": "list", "elements": "str", "default": []},
    "results": {"type": "str", "default": "node_rollout_"},
    "report_dir": {"type": "path"},
    "keep": {"type": "int", "default": KEPT_REPORTS},
}
