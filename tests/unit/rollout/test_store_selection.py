# SPDX-License-Identifier: GPL-3.0-or-later
"""Which store a task means."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store import StoreError
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_lease import lease_name
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_selection import select_store

GROUPS = {"groups": {"workers": ["n1", "n2"]}}


def options(**changed: Any) -> dict[str, Any]:
    return {
        "pool": "workers",
        "store": "file",
        "store_path": None,
        "store_shared": False,
        "store_host": None,
        "store_namespace": "imagemode",
        "kubeconfig": None,
        "context": None,
        "take_over": False,
        **changed,
    }


def action(delegate_to: str | None = None) -> Any:
    """As much of an action as tells where its task runs."""
    return SimpleNamespace(_task=SimpleNamespace(delegate_to=delegate_to))


def place(task_vars: dict[str, Any], delegate_to: str | None = None, **changed: Any) -> str:
    return select_store(options(**changed), task_vars, action(delegate_to)).place


def test_beside_the_inventory_of_the_pools_first_node(tmp_path: Path) -> None:
    hostvars = {"n1": {"inventory_dir": str(tmp_path)}, "n2": {"inventory_dir": "/elsewhere"}}
    for inventory_dir in (str(tmp_path), "/elsewhere"):
        task_vars = {**GROUPS, "hostvars": hostvars, "inventory_dir": inventory_dir}
        assert place(task_vars) == str(tmp_path / ".imagemode" / "workers.json")


def test_two_ways_to_one_inventory_are_one_store(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    places = {place({**GROUPS, "hostvars": {"n1": {"inventory_dir": str(tmp_path / way)}}}) for way in ("real", "link")}
    assert places == {str(tmp_path / "real" / ".imagemode" / "workers.json")}


@pytest.mark.parametrize("inventory_dir", [{}, {"inventory_dir": None}])
def test_an_inventory_without_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inventory_dir: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    found = place({**GROUPS, "hostvars": {"n1": inventory_dir}})
    assert found == str(tmp_path / ".local/state/imagemode/workers.json")


def test_a_place_of_its_own(tmp_path: Path) -> None:
    assert place({}, store_path=str(tmp_path)) == str(tmp_path / "workers.json")


def test_a_place_in_the_home_of_who_runs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert place({}, store_path="~/state") == place({}, store_path="$HOME/state") == f"{tmp_path}/state/workers.json"


@pytest.mark.parametrize("name", ["awx_job_id", "tower_job_id"])
def test_a_platform_job_must_say_that_its_store_is_shared(tmp_path: Path, name: str) -> None:
    job = {**GROUPS, name: 42}
    with pytest.raises(StoreError, match=r"job 42 .*imagemode_store_shared=true"):
        place(job, store_path=str(tmp_path))
    with pytest.raises(StoreError, match="imagemode_store_path is not set"):
        place(job, store_shared=True)
    assert place(job, store_shared=True, store_path=str(tmp_path)) == str(tmp_path / "workers.json")


def test_a_file_is_shared_if_one_says_so_and_the_others_always_are(tmp_path: Path) -> None:
    given = {"store_path": str(tmp_path)}
    on_host = {**given, "store": "host", "store_host": "bastion"}
    for shared, changed in ((False, given), (True, {**given, "store_shared": True}), (True, on_host)):
        assert select_store(options(**changed), GROUPS, action("bastion")).is_shared is shared


@pytest.mark.parametrize("job", [{}, {"awx_job_id": 42}])
def test_on_a_host(job: dict[str, Any]) -> None:
    task_vars = {**GROUPS, **job, "inventory_hostname": "n1"}
    on_bastion = {"store": "host", "store_host": "bastion"}
    assert place(task_vars, "bastion", **on_bastion) == "/var/lib/imagemode/workers.json on bastion"
    found = place(task_vars, "bastion", **on_bastion, store_path="/srv/state/")
    assert found == "/srv/state/workers.json on bastion"
    assert place({**task_vars, "inventory_hostname": "bastion"}, **on_bastion).endswith("on bastion")


@pytest.mark.parametrize(
    ("changed", "delegate_to", "told"),
    [
        ({"store_host": None}, None, "imagemode_store_host is not set"),
        ({}, None, "look for it on n1. Write 'delegate_to: bastion'"),
        ({}, "localhost", "look for it on localhost. Write 'delegate_to: bastion'"),
        ({"store_host": "n2"}, "n2", "imagemode_store_host is n2, a node of the pool"),
        ({"store_path": "state"}, "bastion", "absolute path of a directory on bastion"),
        ({"store_path": "~/state"}, "bastion", "absolute path of a directory on bastion"),
    ],
)
def test_a_store_on_a_host_that_would_not_be_what_it_seems(
    changed: dict[str, Any], delegate_to: str | None, told: str
) -> None:
    task_vars = {**GROUPS, "inventory_hostname": "n1"}
    with pytest.raises(StoreError, match=told):
        place(task_vars, delegate_to, **{"store": "host", "store_host": "bastion", **changed})


def test_in_a_cluster(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(
        """{apiVersion: v1, kind: Config, current-context: a,
        contexts: [{name: a, context: {cluster: a, user: u}}, {name: b, context: {cluster: b, user: u}}],
        clusters: [{name: a, cluster: {server: "http://127.0.0.1:1"}}, {name: b, cluster: {server: "http://127.0.0.1:2"}}],
        users: [{name: u, user: {token: t}}]}""",
        encoding="utf-8",
    )
    given = {"store": "kubernetes", "kubeconfig": str(kubeconfig)}
    job = {**GROUPS, "awx_job_id": 42}
    assert place(job, **given) == "Lease imagemode/imagemode-workers of http://127.0.0.1:1"
    assert place(job, **given, context="b", store_namespace="ops").startswith(
        "Lease ops/imagemode-workers of http://127.0.0.1:2"
    )
    with pytest.raises(StoreError, match=r"imagemode_store is kubernetes: .*/config2"):
        place(job, **{**given, "kubeconfig": f"{kubeconfig}2"})


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ("workers", "imagemode-workers"),
        ("rhel-9", "imagemode-rhel-9"),
        ("rhel_9", "imagemode-rhel-9-"),
        ("Workers", "imagemode-workers-"),
        ("wörkers", "imagemode-w-rkers-"),
        ("_", "imagemode-"),
        ("w" * 300, "imagemode-" + "w" * 180 + "-"),
    ],
)
def test_every_pool_has_a_lease_of_a_name_that_kubernetes_takes(pool: str, expected: str) -> None:
    name = lease_name(pool)
    assert name == expected if expected[-1] != "-" else re.fullmatch(re.escape(expected) + "[0-9a-f]{10}", name)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)
    assert len(name) <= 253


def test_the_kubernetes_library_is_loaded_for_a_lease_alone() -> None:
    """It takes longer to load than all the rest of a rollout."""
    program = (
        "import sys\n"
        "from ansible_collections.imagemode.nodes.plugins.action import rollout_plan, rollout_slot\n"
        "sys.exit('kubernetes' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
