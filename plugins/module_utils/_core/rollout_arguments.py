# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the rollout modules, in one place: the module entries and the action plugins both read them here."""

from __future__ import annotations

from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_order import Order
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import OutsideWindow
from ansible_collections.imagemode.nodes.plugins.module_utils._core.store_arguments import STORE


def only_on_the_controller(module: str) -> str:
    """What a rollout module says that was run on a host, because Ansible did not find its action plugin."""
    return (
        f"{module} runs on the controller as an action plugin, and was called as a module on a host. Call it as "
        f"imagemode.nodes.{module}, with the collection installed on the controller."
    )


PLAN: dict[str, dict[str, Any]] = {
    **STORE,
    "state": {"type": "str", "choices": ["checked", "planned"], "default": "planned"},
    "max_unavailable": {"type": "str", "default": "1"},
    "max_failures": {"type": "str", "default": "1"},
    "canaries": {"type": "list", "elements": "str", "default": []},
    "order": {"type": "str", "choices": [order.value for order in Order], "default": Order.INVENTORY.value},
    "zones": {"type": "dict", "default": {}},
    "max_zones": {"type": "int", "default": 0},
    "soak": {"type": "str", "default": "0"},
    "soak_between": {"type": "str", "default": "0"},
    "maintenance_windows": {"type": "list", "elements": "dict", "default": []},
    "outside_window": {
        "type": "str",
        "choices": [outside.value for outside in OutsideWindow],
        "default": OutsideWindow.WAIT.value,
    },
    "approval": {"type": "bool", "default": False},
    "approved": {"type": "bool", "default": False},
    "overdue": {"type": "str", "default": "2h"},
    "cluster": {"type": "dict", "default": {}},
    "health_checks": {"type": "list", "elements": "raw", "default": []},
    "control_plane": {"type": "str", "choices": ["auto", "true", "false"], "default": "auto"},
    "expected_digests": {"type": "list", "elements": "str", "default": []},
    "staging": {"type": "str", "default": "node_rollout_staging"},
    "since": {"type": "float"},
    "pool_size": {"type": "int"},
}

SLOT: dict[str, dict[str, Any]] = {
    **STORE,
    "state": {"type": "str", "choices": ["held", "released", "kept", "failed", "status"], "required": True},
    "expected_digests": {"type": "list", "elements": "str", "default": []},
    "phase": {"type": "str"},
    "zone": {"type": "str", "default": ""},
    "from_digest": {"type": "str"},
    "from_checksum": {"type": "str"},
    "boot_id": {"type": "str"},
    "wait_timeout": {"type": "str", "default": "0"},
    "reason": {"type": "str"},
    "deny": {"type": "bool", "default": False},
}

STORE_COMMAND: dict[str, dict[str, Any]] = {
    **STORE,
    "state": {
        "type": "str",
        "choices": ["shown", "paused", "resumed", "approved", "released", "denied", "allowed"],
        "default": "shown",
    },
    "nodes": {"type": "list", "elements": "str", "default": []},
    "digests": {"type": "list", "elements": "str", "default": []},
    "reason": {"type": "str"},
}

REPORT: dict[str, dict[str, Any]] = {
    "pool": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["node", "table"], "default": "node"},
    "staging": {"type": "str", "default": "node_rollout_staging"},
    "held": {"type": "str", "default": "node_rollout_held"},
    "rebooted": {"type": "str", "default": "node_rollout_reboot"},
    "ended": {"type": "str", "default": "node_rollout_ended"},
    "expected_digests": {"type": "list", "elements": "str", "default": []},
}

MIGRATION_REPORT: dict[str, dict[str, Any]] = {
    **REPORT,
    "state": {"type": "str", "choices": ["survey", "node", "table"], "default": "node"},
    "image": {"type": "str"},
    "survey": {"type": "str", "default": "bootc_migration_survey"},
    "after": {"type": "str", "default": "bootc_migration_proof"},
}
