# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the rollout modules, in one place: the module entries and the action plugins both read them here."""

from __future__ import annotations

from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.store_arguments import STORE


def only_on_the_controller(module: str) -> str:
    """What a rollout module says that was run on a host, because Ansible did not find its action plugin."""
    return (
        f"{module} runs on the controller as an action plugin, and was called as a module on a host. Call it as "
        f"imagemode.nodes.{module}, with the collection installed on the controller."
    )


PLAN: dict[str, dict[str, Any]] = {
    **STORE,
    "state": {"type": "str", "choices": ["checked", "planned", "paused", "resumed"], "default": "planned"},
    "max_unavailable": {"type": "str", "default": "1"},
    "max_failures": {"type": "int", "default": 1},
    "canaries": {"type": "list", "elements": "str", "default": []},
    "expected_digests": {"type": "list", "elements": "str", "default": []},
    "staging": {"type": "str", "default": "node_rollout_staging"},
    "since": {"type": "float"},
    "pool_size": {"type": "int"},
    "forget": {"type": "list", "elements": "str", "default": []},
    "allow": {"type": "list", "elements": "str", "default": []},
}

SLOT: dict[str, dict[str, Any]] = {
    **STORE,
    "state": {"type": "str", "choices": ["held", "released", "failed", "status"], "required": True},
    "expected_digests": {"type": "list", "elements": "str", "default": []},
    "phase": {"type": "str", "default": "out of service"},
    "from_digest": {"type": "str"},
    "boot_id": {"type": "str"},
    "wait_timeout": {"type": "int", "default": 0},
    "reason": {"type": "str"},
    "deny": {"type": "bool", "default": False},
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
