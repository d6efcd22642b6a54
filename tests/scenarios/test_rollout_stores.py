# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool's state on a host of the inventory: real plays with real slots, over a connection that can be lost.

The host is a node of the lab without Python. The pool's nodes are names alone, because the store is asked for them from the
controller.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from journal import count
from lab.fixtures import MakeNode
from lab.node import Node
from lab.playbook_run import Play, Project

POOL = tuple(f"w{number}" for number in range(1, 5))
BASTION = {"store": "host", "store_host": "bastion", "pool": "workers"}
DIGESTS: dict[str, Any] = {"expected_digests": ["sha256:new"]}
MakeBastion = Callable[..., Node]


@pytest.fixture
def make_bastion(make_node: MakeNode) -> MakeBastion:
    """A node with a flock: the lab's base image has busybox as Debian builds it, without one."""

    def make(**options: Any) -> Node:
        node = make_node("bastion", **options)
        place = node.directory / "var/lib/flock"
        place.mkdir()
        program = shutil.which("flock")
        assert program
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout.split()
        for file in (program, *(word for word in listed if word.startswith("/"))):
            shutil.copy(file, place)
        loader = next(file.name for file in place.iterdir() if file.name.startswith("ld-linux"))
        command = node.mounts().tree / "usr/bin/flock"
        inside = "/var/lib/flock"
        command.write_text(f'#!/bin/sh\nexec {inside}/{loader} --library-path {inside} {inside}/flock "$@"\n')
        command.chmod(0o755)
        return node

    return make


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project({"workers": POOL, "stores": ["bastion"]}, forks=10)


def task(module: str, delegate_to: str = "bastion", store: Mapping[str, Any] | None = None, **options: Any) -> Play:
    return {
        "name": f"{module} {options.get('state', '')}",
        f"imagemode.nodes.{module}": {**(store or BASTION), **options},
        "delegate_to": delegate_to,
        "register": "answer",
    }


def plan(store: Mapping[str, Any] | None = None, **options: Any) -> Play:
    staged = {"node_rollout_staging": {"reboot_required": True, "digest": "sha256:new"}}
    given = {**DIGESTS, "max_unavailable": "2", **options}
    return {
        "hosts": "workers",
        "gather_facts": False,
        "tasks": [
            {"ansible.builtin.set_fact": staged},
            {**task("rollout_plan", store=store, state="checked", **given), "run_once": True},
            {**task("rollout_plan", store=store, state="planned", **given), "run_once": True},
        ],
    }


def update(journal: Path, seconds: float = 0.5) -> Play:
    node = "{{ inventory_hostname }}"
    command = f"echo out {node} >>{journal}; sleep {seconds}; echo in {node} >>{journal}"
    return {
        "hosts": "workers",
        "gather_facts": False,
        "strategy": "ansible.builtin.host_pinned",
        "tasks": [
            task("rollout_slot", state="held", phase="rebooting", **DIGESTS),
            {"ansible.builtin.shell": command, "delegate_to": "localhost"},
            task("rollout_slot", state="released"),
        ],
    }


def most_out_at_once(journal: Path) -> int:
    out = most = 0
    for line in journal.read_text(encoding="utf-8").splitlines():
        out += 1 if line.startswith("out") else -1
        most = max(most, out)
    return most


def stored(bastion: Node) -> dict[str, Any]:
    text = (bastion.directory / "var/lib/imagemode/workers.json").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(text)
    return data


def test_two_controllers_share_one_window_through_a_host_without_python(
    make_bastion: MakeBastion, project: Project, tmp_path: Path
) -> None:
    bastion, journal = make_bastion(), tmp_path / "journal"
    plays = [plan(), update(journal)]
    runs = [project.start(plays), project.start(plays)]
    ends = [run.communicate(timeout=240)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], "\n".join(ends)
    assert most_out_at_once(journal) <= 2
    lines = journal.read_text(encoding="utf-8").splitlines()
    assert {line.split()[1] for line in lines if line.startswith("out")} == set(POOL)
    assert stored(bastion)["nodes"] == {}


def test_a_task_that_is_not_delegated_is_told_where_it_belongs(make_bastion: MakeBastion, project: Project) -> None:
    make_bastion()
    run = project.run(
        [{"hosts": "w1", "gather_facts": False, "tasks": [task("rollout_slot", "localhost", state="status")]}]
    )
    assert run.result("rollout_slot status", "w1")["msg"].startswith("workers: the state is kept on bastion")
    assert "Write 'delegate_to: bastion'" in run.stdout


def test_a_store_that_is_down_fails_the_task_before_anything_moves(make_bastion: MakeBastion, project: Project) -> None:
    bastion = make_bastion()
    bastion.power_cut()
    run = project.run([plan()])
    recap = run.recap("w1")
    assert (recap["failed"], recap["unreachable"]) == (1, 0)
    assert "workers: The store's host bastion does not answer" in run.stdout
    bastion.boot()
    assert not (bastion.directory / "var/lib/imagemode/workers.json").exists()


def test_a_store_that_restarts_in_a_rollout_is_waited_for(
    make_bastion: MakeBastion, project: Project, tmp_path: Path
) -> None:
    bastion, journal = make_bastion(), tmp_path / "journal"
    run = project.start([plan(), update(journal, seconds=2.0)])

    def restart() -> None:
        until = time.monotonic() + 60
        while not (journal.exists() and "out" in journal.read_text(encoding="utf-8")) and time.monotonic() < until:
            time.sleep(0.05)
        bastion.power_cut()
        time.sleep(4)
        bastion.boot()

    restarter = threading.Thread(target=restart)
    restarter.start()
    said = run.communicate(timeout=240)[0]
    restarter.join()
    assert run.returncode == 0, said
    assert "workers: The store's host bastion does not answer" in said
    assert "No node goes meanwhile" in said
    assert most_out_at_once(journal) <= 2
    assert stored(bastion)["nodes"] == {}


@pytest.mark.parametrize("kind", ["host", "file"])
def test_one_expression_delegates_for_a_store_on_a_host_alone(
    make_bastion: MakeBastion, project: Project, tmp_path: Path, kind: str
) -> None:
    """As the role has it: with a file, the task is its host's own."""
    bastion = make_bastion()
    before = count(bastion, "exec")
    store: dict[str, Any] = {"store": "{{ kind }}", "pool": "workers", "store_host": "bastion"}
    if kind == "file":
        store["store_path"] = str(tmp_path / "state")
    asked = plan(store)
    for item in asked["tasks"][1:]:
        item["delegate_to"] = "{{ 'bastion' if kind == 'host' else omit }}"
    run = project.run([asked], extra_vars={"kind": kind})
    assert run.rc == 0, run.stdout
    assert (count(bastion, "exec") > before) is (kind == "host")
    assert (tmp_path / "state/workers.json").exists() is (kind == "file")
