# SPDX-License-Identifier: GPL-3.0-or-later
"""Which store a task means: from its options and from where the inventory is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store import Store, StoreError
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_file import FileStore


def select_store(options: Mapping[str, Any], task_vars: Mapping[str, Any], action: ActionBase) -> Store:  # noqa: ARG001
    """The pool's store; raises StoreError where it would not be what it seems. A store on a host uses the action's connection."""
    job = platform_job(task_vars)
    if job and not options["store_shared"]:
        raise StoreError(
            f"this is job {job} of Automation Platform or AWX, where files end with the job: the next job, or another slice, "
            "would not know which nodes are out of service. If imagemode_store_path is on storage that every job of this pool "
            "mounts, say so with imagemode_store_shared=true."
        )
    if job and not options["store_path"]:
        raise StoreError(
            "imagemode_store_shared is true, but imagemode_store_path is not set. Name the directory that every job mounts."
        )
    given = os.path.expandvars(os.path.expanduser(options["store_path"] or ""))
    directory = Path(given) if given else default_directory(options["pool"], task_vars)
    return FileStore(directory, options["pool"], options["store_shared"])


def default_directory(pool: str, task_vars: Mapping[str, Any]) -> Path:
    """`.imagemode` beside the pool's inventory, or in the user's state directory for an inventory without a place.

    Every node of a pool must come to the same answer, so it is the place of the pool's first node that counts. Symbolic
    links are resolved: two ways to one inventory are one store.
    """
    members = (task_vars.get("groups") or {}).get(pool) or []
    hostvars = task_vars.get("hostvars")
    place = None
    if members and hostvars is not None:
        place = hostvars[members[0]].get("inventory_dir")
    if place is None:
        return Path.home() / ".local" / "state" / "imagemode"
    return Path(str(place)).resolve() / ".imagemode"


def platform_job(task_vars: Mapping[str, Any]) -> str:
    """The number of the platform's job that this process runs in; empty outside of the platform."""
    return str(task_vars.get("awx_job_id") or task_vars.get("tower_job_id") or "")
