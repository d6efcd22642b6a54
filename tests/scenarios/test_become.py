# SPDX-License-Identifier: GPL-3.0-or-later
"""become over a real sshd with real users, the machine's own sudo and su, and everything that gets in their way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from journal import tools
from lab import images, sshd_with_users
from lab.fixtures import MakeNode
from lab.node import Node
from lab.playbook_run import PlaybookRun, Project
from lab.registry import Registry
from lab.sshd_with_users import NOEXEC, OPEN_ROOT, ROOT_PASSWORD, USER_PASSWORD, Machine

pytestmark = pytest.mark.skipif(sshd_with_users.missing() is not None, reason=str(sshd_with_users.missing()))

SUDO: dict[str, Any] = {"ansible_become": True}
SU: dict[str, Any] = {"ansible_become": True, "ansible_become_method": "su"}
SUDO_PASSWORD = {**SUDO, "ansible_become_password": USER_PASSWORD}
SU_PASSWORD = {**SU, "ansible_become_password": ROOT_PASSWORD}


@dataclasses.dataclass(frozen=True)
class Way:
    """Who logs in, what the inventory says besides, and what is said where it cannot work."""

    user: str
    variables: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    fails: str | None = None


WAYS = {
    "sudo without password": Way("nopass", SUDO),
    "sudo with password": Way("withpass", SUDO_PASSWORD),
    "sudo that lectures first": Way("lectured", SUDO_PASSWORD),
    "sudo that wants a terminal": Way("needstty", SUDO),
    "sudo, a profile that talks": Way("noisy", SUDO),
    "sudo, no pipelining": Way("nopass", {**SUDO, "ansible_ssh_pipelining": False, "ansible_pipelining": False}),
    "su with password": Way("plain", SU_PASSWORD),
    "su without password": Way("plain", {**SU, "ansible_become_user": OPEN_ROOT}),
    "su, a profile that talks": Way("noisy", SU_PASSWORD),
    "su, nothing may be executed in remote_tmp": Way("plain", {**SU_PASSWORD, "ansible_remote_tmp": f"{NOEXEC}/tmp"}),
    "wrong sudo password": Way("withpass", {**SUDO, "ansible_become_password": "wrong"}, "incorrect password"),
    "no sudo password": Way("withpass", SUDO, "Missing sudo password"),
    "not in sudoers": Way("plain", SUDO_PASSWORD, "plain is not in the sudoers file"),
    "wrong su password": Way("plain", {**SU, "ansible_become_password": "wrong"}, "Incorrect su password"),
    "no su password": Way("plain", SU, "privilege escalation prompt"),
    "no become": Way("nopass", {}, "set become: true"),
}

# Changing a host takes more round trips and longer answers; once for each way that a script can travel.
CHANGING = ("sudo with password", "sudo that wants a terminal", "su with password")


@pytest.fixture
def node(make_node: MakeNode) -> Node:
    return make_node("n1", versions={"bootc": "1.16.9", "rpm-ostree": None})


@pytest.fixture
def machine(node: Node, tmp_path: Path) -> Iterator[Machine]:
    with sshd_with_users.running(node, tmp_path / "sshd") as running:
        yield running


@pytest.fixture
def by_way(machine: Machine, make_project: Callable[..., Project]) -> Callable[..., PlaybookRun]:
    """Run tasks the given way. A prompt that nobody answers would hold the run until the test gives up."""

    def run(name: str, *tasks: dict[str, Any]) -> PlaybookRun:
        way = WAYS[name]
        variables = {"workers": {**machine.variables(way.user), **way.variables}}
        project = make_project({"workers": ["n1"]}, group_vars=variables)
        return project.run([{"hosts": "workers", "gather_facts": False, "tasks": list(tasks)}], timeout=90)

    return run


@pytest.mark.parametrize("name", WAYS)
def test_a_way_to_root(name: str, node: Node, by_way: Callable[..., PlaybookRun]) -> None:
    run = by_way(name, {"name": "info", "imagemode.nodes.image_mode_info": {}})
    assert run.status != "timeout", "something waited for a password for ever"
    result, fails = run.result("info", "n1"), WAYS[name].fails
    assert "Traceback" not in run.stdout
    assert USER_PASSWORD not in run.stdout
    assert ROOT_PASSWORD not in run.stdout
    if fails is None:
        assert result["host"]["booted"]["version"] == "1.0", run.stdout
    else:
        assert result["event"] == "runner_on_failed"
        assert fails in result["msg"]
        assert "bootc status --json" not in tools(node), "nothing ran without rights"


@pytest.mark.parametrize("name", CHANGING)
def test_a_change_as_root(name: str, by_way: Callable[..., PlaybookRun], registry: Registry) -> None:
    image = images.build_base(registry.address, tag="become", version="2.0-become")
    options = {"image": image, "expected_digests": [image.partition("@")[2]]}
    task = {"imagemode.nodes.bootc_switch": options}
    run = by_way(name, {"name": "stage", **task}, {"name": "again", **task})
    assert run.rc == 0, run.stdout
    stage = run.result("stage", "n1")
    assert (stage["changed"], stage.get("warnings", [])) == (True, [])
    assert run.result("again", "n1")["changed"] is False
