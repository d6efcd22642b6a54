# SPDX-License-Identifier: GPL-3.0-or-later
"""Which store a task means: from its options and from where the inventory is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.imagemode.nodes.plugins.module_utils._core.store_arguments import StoreKind
from ansible_collections.imagemode.nodes.plugins.plugin_utils._connection_runner import ConnectionRunner
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store import Store, StoreError
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_file import FileStore
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_host import HostStore
from ansible_collections.imagemode.nodes.plugins.plugin_utils._terminal import say

_HOST_DIRECTORY = "/var/lib/imagemode"


def select_store(options: Mapping[str, Any], task_vars: Mapping[str, Any], action: ActionBase) -> Store:
    """The pool's store; raises StoreError where it would not be what it seems. A store on a host uses the action's connection."""
    kind = StoreKind(options["store"])
    if kind is StoreKind.HOST:
        return _on_host(options, task_vars, action)
    if kind is StoreKind.KUBERNETES:
        return _in_cluster(options)
    return _in_file(options, task_vars)


def _in_file(options: Mapping[str, Any], task_vars: Mapping[str, Any]) -> Store:
    job = platform_job(task_vars)
    if job and not options["store_shared"]:
        raise StoreError(
            f"this is job {job} of Automation Platform or AWX, where files end with the job: the next job, or another slice, "
            "would not know which nodes are out of service. Keep the state where every job finds it: imagemode_store=host with an "
            "imagemode_store_host, or imagemode_store=kubernetes. Or, if imagemode_store_path is on storage that every job of this pool "
            "mounts, say so with imagemode_store_shared=true."
        )
    if job and not options["store_path"]:
        raise StoreError(
            "imagemode_store_shared is true, but imagemode_store_path is not set. Name the directory that every job mounts."
        )
    given = os.path.expandvars(os.path.expanduser(options["store_path"] or ""))
    directory = Path(given) if given else default_directory(options["pool"], task_vars)
    return FileStore(directory, options["pool"], options["store_shared"])


def _on_host(options: Mapping[str, Any], task_vars: Mapping[str, Any], action: ActionBase) -> Store:
    host, pool = options["store_host"], options["pool"]
    if not host:
        raise StoreError(
            "imagemode_store is host, but imagemode_store_host is not set. Name the host that keeps the state."
        )
    if host in ((task_vars.get("groups") or {}).get(pool) or ()):
        raise StoreError(
            f"imagemode_store_host is {host}, a node of the pool: while it is out of service, nobody could tell who else is. Name a "
            "host that no rollout of this pool restarts."
        )
    used = str(action._task.delegate_to or task_vars.get("inventory_hostname"))
    if used != host:
        raise StoreError(
            f"the state is kept on {host}, but this task would look for it on {used}. Write 'delegate_to: {host}' into the task."
        )
    directory = (options["store_path"] or _HOST_DIRECTORY).rstrip("/")
    if not directory.startswith("/"):
        raise StoreError(
            f"imagemode_store_path is {options['store_path']}. Give an absolute path of a directory on {host}: a relative one, or one "
            "with ~, would depend on who connects."
        )
    runner = ConnectionRunner(action)
    return HostStore(runner, host, directory, pool, say, runner.reset)


def _in_cluster(options: Mapping[str, Any]) -> Store:
    # Imported here, because the Kubernetes library takes longer to load than everything else that a rollout needs.
    from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster import Cluster, ClusterError, ClusterOptions
    from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_lease import LeaseStore

    try:
        return LeaseStore(Cluster(ClusterOptions.of(options)), options["store_namespace"], options["pool"], say)
    except ClusterError as error:
        raise StoreError(f"imagemode_store is kubernetes: {error}") from error


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
