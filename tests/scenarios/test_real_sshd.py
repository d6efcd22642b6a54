# SPDX-License-Identifier: GPL-3.0-or-later
"""One update over a real ssh and a real sshd: what the lab's own connection imitates must not differ where it counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from journal import count, tools
from lab import images, sshd
from lab.fixtures import MakeNode
from lab.node import Node
from lab.playbook_run import Project
from lab.registry import Registry

pytestmark = pytest.mark.skipif(sshd.missing() is not None, reason=str(sshd.missing()))


@pytest.fixture
def node(make_node: MakeNode) -> Node:
    return make_node("n1", boot_seconds=2)


@pytest.fixture
def behind_sshd(node: Node, tmp_path: Path, make_project: Callable[..., Project]) -> Iterator[Project]:
    with sshd.running(node, tmp_path / "sshd") as daemon:
        yield make_project({"workers": ["n1"]}, group_vars={"workers": daemon.inventory_vars()})


def play(*tasks: dict[str, Any], **keywords: Any) -> list[dict[str, Any]]:
    return [{"hosts": "workers", "gather_facts": False, "tasks": list(tasks), **keywords}]


def test_an_update_over_ssh(node: Node, behind_sshd: Project, registry: Registry) -> None:
    image = images.build_base(registry.address, tag="ssh", version="2.0-ssh")
    options = {"expected_digests": [image.partition("@")[2]]}
    tasks = [
        {"name": "info", "imagemode.nodes.image_mode_info": {}},
        {"name": "stage", "imagemode.nodes.bootc_switch": {"image": image, **options}},
        {"name": "reboot", "imagemode.nodes.node_reboot": options},
        {"name": "reboot again", "imagemode.nodes.node_reboot": options},
    ]
    run = behind_sshd.run(play(*tasks))
    assert run.rc == 0, run.stdout
    assert run.result("info", "n1")["host"]["booted"]["version"] == "1.0"
    assert run.result("stage", "n1")["changed"] is True
    assert run.result("reboot", "n1")["booted"]["version"] == "2.0-ssh"
    assert run.result("reboot again", "n1")["changed"] is False
    assert count(node, "boot") == 2
    assert "systemctl reboot" in tools(node)


def test_a_node_that_is_off_can_be_rescued(node: Node, behind_sshd: Project) -> None:
    node.power_cut()
    block = {
        "block": [{"name": "info", "imagemode.nodes.image_mode_info": {}}],
        "rescue": [{"name": "rescued", "ansible.builtin.debug": {"msg": "{{ ansible_failed_result.msg }}"}}],
    }
    run = behind_sshd.run(play(block))
    assert run.rc == 0, run.stdout
    assert "connection to the node failed" in run.result("rescued", "n1")["msg"]
