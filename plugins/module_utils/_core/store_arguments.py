# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that say where a pool's state is, in one place for every module that reads or changes it."""

from __future__ import annotations

from enum import Enum
from typing import Any


class StoreKind(str, Enum):
    """What keeps a pool's state."""

    FILE = "file"  # a file on the controller
    HOST = "host"  # a file on a host of the inventory, over its connection
    KUBERNETES = "kubernetes"  # an annotation of a Lease


STORE: dict[str, dict[str, Any]] = {
    "pool": {"type": "str", "required": True},
    "store": {"type": "str", "choices": [kind.value for kind in StoreKind], "default": StoreKind.FILE.value},
    # Not of type path: Ansible would expand a path of the store's host with the controller's home and environment.
    "store_path": {"type": "str"},
    "store_shared": {"type": "bool", "default": False},
    "store_host": {"type": "str"},
    "store_namespace": {"type": "str", "default": "imagemode"},
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
    "take_over": {"type": "bool", "default": False},
}
