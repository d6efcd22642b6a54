# SPDX-License-Identifier: GPL-3.0-or-later
"""Which store a task means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store import StoreError
from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_selection import select_store

GROUPS = {"groups": {"workers": ["n1", "n2"]}}


def options(**changed: Any) -> dict[str, Any]:
    return {
        "pool": "workers",
        "store": "file",
        "store_path": None,
        "store_shared": False,
        "take_over": False,
        **changed,
    }


def place(task_vars: dict[str, Any], **changed: Any) -> str:
    return select_store(options(**changed), task_vars, None).place


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


@pytest.mark.parametrize("name", ["awx_job_id", "tower_job_id"])
def test_a_platform_job_must_say_that_its_store_is_shared(tmp_path: Path, name: str) -> None:
    job = {**GROUPS, name: 42}
    with pytest.raises(StoreError, match=r"job 42 .*imagemode_store_shared=true"):
        place(job, store_path=str(tmp_path))
    with pytest.raises(StoreError, match="imagemode_store_path is not set"):
        place(job, store_shared=True)
    assert place(job, store_shared=True, store_path=str(tmp_path)) == str(tmp_path / "workers.json")
