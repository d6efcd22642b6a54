# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller dies while a node pulls: the next run waits for that pull, or ends it, whatever busy_timeout says."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from journal import count, tools
from lab import images, session
from lab.fixtures import MakeNode
from lab.node import Node
from lab.registry import Registry

TOOLS: dict[str, dict[str, str | None]] = {"bootc": {"rpm-ostree": None}, "rpm-ostree": {"bootc": None}}
UNIT = "imagemode-stage.service"


@pytest.fixture(scope="module")
def image(registry: Registry) -> str:
    return images.build_base(registry.address, tag="interrupted", version="2.0")


@pytest.fixture(scope="module")
def other(registry: Registry) -> str:
    return images.build_base(registry.address, tag="other", version="3.0")


def play(image: str, **options: Any) -> list[dict[str, Any]]:
    stage = {"name": "stage", "imagemode.nodes.image_stage": {"image": image, **options}}
    return [{"hosts": "workers", "gather_facts": False, "tasks": [stage]}]


def wait_until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.2)


def works(node: Node) -> bool:
    shown = session.run(node, f"systemctl show {UNIT} -p SubState --value", stdin=b"")
    return shown.stdout.strip() == b"running"


def start_and_kill(project: Any, node: Node, image: str) -> None:
    """What kill -9 of the controller leaves: the unit goes on, and nobody waits for it."""
    controller = project.start(play(image))
    wait_until(lambda: works(node))
    time.sleep(1)
    os.killpg(os.getpgid(controller.pid), signal.SIGKILL)
    controller.wait()
    assert works(node)


@pytest.mark.parametrize("versions", TOOLS.values(), ids=list(TOOLS))
def test_the_same_image_is_waited_for(
    versions: dict[str, str | None], make_node: MakeNode, make_project: Any, image: str
) -> None:
    node = make_node("n1", versions=versions)
    project = make_project()
    node.inject("slow-pull", seconds=15)
    start_and_kill(project, node, image)
    run = project.run(play(image, expected_digests=[image.partition("@")[2]], busy_timeout=3))
    assert run.rc == 0, run.stdout
    assert "goes on as imagemode-stage.service: waits for that" in run.stdout
    result = run.result("stage", "n1")
    assert (result["reboot_required"], result["digest"]) == (True, image.partition("@")[2])
    assert count(node, "pull") == 2, "the base, and the image once"


@pytest.mark.parametrize("versions", TOOLS.values(), ids=list(TOOLS))
@pytest.mark.parametrize("check", [False, True], ids=["", "check"])
def test_another_image_ends_it(
    check: bool,
    versions: dict[str, str | None],
    make_node: MakeNode,
    make_project: Any,
    other: str,
    image: str,
) -> None:
    node = make_node("n1", versions=versions)
    project = make_project()
    node.inject("slow-pull", seconds=60)
    start_and_kill(project, node, other)
    node.clear("slow-pull")
    if check:
        run = project.run(play(image, busy_timeout=3), arguments=["--check"])
        assert run.rc != 0
        assert works(node), "a check run stops nothing"
        session.run(node, f"systemctl stop {UNIT}", stdin=b"")
        return
    run = project.run(play(image, busy_timeout=3))
    assert run.rc == 0, run.stdout
    assert "stops what imagemode-stage.service was doing for an earlier run" in run.stdout
    assert run.result("stage", "n1")["changed"] is True
    if versions == TOOLS["rpm-ostree"]:
        assert '"transaction" : null' in session.run(node, "rpm-ostree status --json", stdin=b"").stdout.decode()


def test_unstaging_ends_it(make_node: MakeNode, make_project: Any, image: str) -> None:
    node = make_node("n1")
    project = make_project()
    node.inject("registry-stalls")
    start_and_kill(project, node, image)
    stop = {"name": "stage", "imagemode.nodes.image_stage": {"state": "unstaged", "busy_timeout": 3}}
    run = project.run([{"hosts": "workers", "gather_facts": False, "tasks": [stop]}])
    assert run.rc == 0, run.stdout
    assert not works(node)
    assert not any("undeploy" in call for call in tools(node))
