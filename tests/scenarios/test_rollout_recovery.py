# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of nodes whose update fails: rolled back, kept on the old image, or left; and of the image, and of the others."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from journal import count
from lab import images
from lab.fixtures import MakeNode
from lab.node import Node
from lab.playbook_run import PlaybookRun, Project
from lab.registry import Registry

PLAYBOOK = Path("playbooks/rollout.yml")
MakePool = Callable[..., tuple[list[Node], Project]]
# Only the good image has the file.
WELL = [{"name": "the service works", "command": ["test", "-e", "/usr/share/well"]}]


@pytest.fixture(scope="module")
def sick(registry: Registry) -> str:
    """An image on which the health check fails."""
    return images.build_base(registry.address, name="fleet", tag="sick", version="2.0")


@pytest.fixture(scope="module")
def good(registry: Registry) -> str:
    """An image on which it passes."""
    return images.build_base(
        registry.address, name="fleet", tag="good", version="3.0", extra_files={"/usr/share/well": "yes\n"}
    )


@pytest.fixture(scope="module")
def first(registry: Registry) -> str:
    """What the nodes run before; it passes as well."""
    return images.build_base(
        registry.address, name="fleet", tag="first", version="1.0", extra_files={"/usr/share/well": "yes\n"}
    )


@pytest.fixture
def make_pool(
    make_node: MakeNode, make_project: Callable[..., Project], tmp_path: Path, first: str, sick: str
) -> MakePool:
    """Nodes of a pool `workers`, and a project whose group_vars want the sick image on them, one at a time."""

    def make(
        size: int, versions: Sequence[Any] = (), boot_seconds: float = 0.5, **variables: Any
    ) -> tuple[list[Node], Project]:
        nodes = [
            make_node(
                f"n{n}", image=first, boot_seconds=boot_seconds, **({"versions": versions[n - 1]} if versions else {})
            )
            for n in range(1, size + 1)
        ]
        wanted = {
            "imagemode_image": sick,
            "imagemode_validate_certs": False,
            "imagemode_reboot_timeout": 30,
            "imagemode_store_path": str(tmp_path / "store"),
            "imagemode_health_deadline": "3s",
            "imagemode_health_checks": WELL,
            **variables,
        }
        return nodes, make_project(group_vars={"workers": wanted}, forks=6)

    return make


def rollout(project: Project, *arguments: str, **variables: Any) -> PlaybookRun:
    return project.run(PLAYBOOK, extra_vars={"imagemode_pool": "workers", **variables}, arguments=arguments)


def looked_at(nodes: Sequence[Node], project: Project) -> list[tuple[str, bool]]:
    """Of every node the version that it runs, and whether a reboot would bring another one."""
    play = {
        "hosts": "workers",
        "gather_facts": False,
        "tasks": [{"name": "info", "imagemode.nodes.image_mode_info": {}}],
    }
    run = project.run([play])
    hosts = [run.result("info", node.name)["host"] for node in nodes]
    return [(host["booted"]["version"], host["reboot_required"]) for host in hosts]


def stored(tmp_path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((tmp_path / "store" / "workers.json").read_text(encoding="utf-8"))
    return data


def boots(nodes: Sequence[Node]) -> list[int]:
    return [count(node, "boot") for node in nodes]


@pytest.mark.parametrize("versions", [(), ({"bootc": None},) * 3], ids=["bootc", "rpm-ostree"])
def test_an_image_that_is_not_well_is_undone_and_denied_and_another_one_follows(
    make_pool: MakePool, tmp_path: Path, sick: str, good: str, versions: Sequence[Any]
) -> None:
    nodes, project = make_pool(3, versions)
    run = rollout(project)
    assert run.rc != 0
    assert boots(nodes) == [3, 1, 1], "there and back, and nobody follows"
    assert looked_at(nodes, project) == [("1.0", False)] * 3, "and nobody would boot the image by accident"
    state = stored(tmp_path)
    assert [denial["digest"] for denial in state["denied"]] == [sick.rpartition("@")[2]]
    assert {name: slot["state"] for name, slot in state["nodes"].items()} == {"n1": "kept"}
    assert "the service works" in state["nodes"]["n1"]["reason"]

    pulls = [count(node, "pull") for node in nodes]
    again = rollout(project)
    assert again.rc != 0
    assert "is denied in pool workers" in again.stdout
    assert (boots(nodes), [count(node, "pull") for node in nodes]) == ([3, 1, 1], pulls), "nothing is staged again"

    fixed = rollout(project, imagemode_image=good)
    assert fixed.rc == 0, fixed.stdout
    assert looked_at(nodes, project) == [("3.0", False)] * 3
    assert stored(tmp_path)["nodes"] == {}


def test_without_automatic_rollback_the_node_is_left_for_a_person(make_pool: MakePool, tmp_path: Path) -> None:
    nodes, project = make_pool(2, imagemode_rollback=False)
    assert rollout(project).rc != 0
    assert looked_at(nodes, project) == [("2.0", False), ("1.0", False)]
    state = stored(tmp_path)
    assert state["nodes"]["n1"]["state"] == "failed"
    assert state["denied"], "the next run must not go on with it"


def test_a_node_that_fell_back_by_itself_returns_to_service(make_pool: MakePool, tmp_path: Path, sick: str) -> None:
    nodes, project = make_pool(2)
    nodes[0].inject("boots-old-deployment")
    run = rollout(project)
    assert run.rc != 0
    assert boots(nodes) == [2, 1]
    assert looked_at(nodes, project) == [("1.0", False)] * 2
    state = stored(tmp_path)
    assert state["nodes"]["n1"]["state"] == "kept"
    assert [denial["digest"] for denial in state["denied"]] == [sick.rpartition("@")[2]]


def test_a_run_that_dies_in_a_rollback_is_followed_by_one_that_ends_it(make_pool: MakePool, tmp_path: Path) -> None:
    """The node is away when the next run finds its image denied, and so is not even asked to stage anything."""
    nodes, project = make_pool(2, boot_seconds=12)
    process = project.start(PLAYBOOK, extra_vars={"imagemode_pool": "workers"})
    until = time.monotonic() + 120
    while count(nodes[0], "shutdown") < 2:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert stored(tmp_path)["nodes"]["n1"]["phase"] == "rolling back"

    again = rollout(project)
    assert again.rc != 0
    assert "is denied in pool workers" in again.stdout
    assert boots(nodes) == [3, 1], "there and back, once"
    assert looked_at(nodes, project) == [("1.0", False)] * 2
    assert {name: slot["state"] for name, slot in stored(tmp_path)["nodes"].items()} == {"n1": "kept"}


def hook(project: Project, name: str, *tasks: dict[str, Any]) -> str:
    """A task file beside the inventory that writes its name and the node's into `hooks`, and then does `tasks`."""
    noted = {
        "ansible.builtin.lineinfile": {
            "path": str(project.directory / "hooks"),
            "line": f"{name} {{{{ inventory_hostname }}}}",
            "create": True,
        },
        "delegate_to": "localhost",
        "vars": {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"},
    }
    (project.directory / "inventory" / f"{name}.yml").write_text(json.dumps([noted, *tasks]), encoding="utf-8")
    return f"{name}.yml"


def hooks(project: Project) -> list[str]:
    return (project.directory / "hooks").read_text(encoding="utf-8").splitlines()


def test_task_files_take_nodes_out_of_service_and_put_them_back(make_pool: MakePool, good: str) -> None:
    nodes, project = make_pool(2, imagemode_drain="hooks")
    before, after = hook(project, "before"), hook(project, "after")
    run = rollout(project, imagemode_image=good, imagemode_drain_before=before, imagemode_drain_after=after)
    assert run.rc == 0, run.stdout
    assert hooks(project) == ["before n1", "after n1", "before n2", "after n2"]
    assert boots(nodes) == [2, 2]


def test_a_task_file_that_fails_keeps_the_node_in_service(make_pool: MakePool, tmp_path: Path, good: str) -> None:
    nodes, project = make_pool(2, imagemode_drain="hooks")
    refusal = {"ansible.builtin.fail": {"msg": "the load balancer does not answer"}}
    before, after = hook(project, "before", refusal), hook(project, "after")
    run = rollout(project, imagemode_image=good, imagemode_drain_before=before, imagemode_drain_after=after)
    assert run.rc != 0
    assert hooks(project) == ["before n1", "after n1"]
    assert boots(nodes) == [1, 1]
    slot = stored(tmp_path)["nodes"]["n1"]
    assert (slot["state"], slot["reason"]) == ("kept", "the load balancer does not answer")
    assert stored(tmp_path)["denied"] == []

    hook(project, "before")
    again = rollout(project, imagemode_image=good, imagemode_drain_before=before, imagemode_drain_after=after)
    assert again.rc == 0, again.stdout


def test_a_task_file_that_is_not_there_is_told_before_anything_is_staged(make_pool: MakePool, good: str) -> None:
    nodes, project = make_pool(1, imagemode_drain="hooks")
    run = rollout(project, imagemode_image=good, imagemode_drain_before="befor.yml")
    assert run.rc != 0
    assert "befor.yml" in run.stdout
    assert count(nodes[0], "pull") == 1, "that of its installation"
