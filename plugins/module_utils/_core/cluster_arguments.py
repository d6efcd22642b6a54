# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the modules that speak to a cluster: the module entries and the action plugins both read them here."""

from __future__ import annotations

from typing import Any

CONNECTION: dict[str, dict[str, Any]] = {
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
}

DRAIN: dict[str, dict[str, Any]] = {
    **CONNECTION,
    "pool": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["cordoned", "drained", "uncordoned"], "default": "drained"},
    "node": {"type": "str"},
    "deadline": {"type": "str", "default": "1h"},
    "grace_period": {"type": "int"},
    "empty_dir": {"type": "str", "choices": ["evict", "fail"], "default": "evict"},
    "unmanaged": {"type": "str", "choices": ["fail", "delete"], "default": "fail"},
    "force": {"type": "bool", "default": False},
    "quorum": {"type": "str", "choices": ["auto", "ignore"], "default": "auto"},
    "only_node": {"type": "str", "choices": ["skip", "drain"], "default": "skip"},
    "ready_deadline": {"type": "str", "default": "10m"},
    "boot_id": {"type": "str"},
    "missing": {"type": "str", "choices": ["fail", "ignore"], "default": "fail"},
    "evict_parallel": {"type": "int", "default": 16},
}

CLUSTER_INFO: dict[str, dict[str, Any]] = {
    **CONNECTION,
    "pool": {"type": "str", "required": True},
    "rights": {
        "type": "list",
        "elements": "str",
        "choices": ["read", "drain", "force", "store"],
        "default": ["read", "drain"],
    },
    "store_namespace": {"type": "str", "default": "imagemode"},
}
