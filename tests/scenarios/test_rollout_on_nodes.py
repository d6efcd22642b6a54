# SPDX-License-Identifier: GPL-3.0-or-later
"""The rollout playbook on lab nodes: the way it goes when all is well, and everything that may happen to it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
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


@pytest.fixture(scope="module")
def v2(registry: Registry) -> str:
    """The image of the rollouts, by tag, as a pool's variables name it."""
    return images.build_base(registry.address, name="fleet", tag="v2", version="2.0").partition("@")[0] + ":v2"


@pytest.fixture
def make_pool(make_node: MakeNode, make_project: Callable[..., Project], tmp_path: Path, v2: str) -> MakePool:
    """Nodes of a pool `workers`, and a project whose group_vars want v2 on them, two at a time."""

    def make(size: int, *, forks: int = 10, boot_seconds: float = 1.0, **variables: Any) -> tuple[list[Node], Project]:
        nodes = [make_node(f"n{number}", boot_seconds=boot_seconds) for number in range(1, size + 1)]
        wanted = {
            "imagemode_image": v2,
            "imagemode_max_unavailable": 2,
            "imagemode_validate_certs": False,
            "imagemode_reboot_timeout": 30,
            "imagemode_store_path": str(tmp_path / "store"),
            **variables,
        }
        return nodes, make_project(group_vars={"workers": wanted}, forks=forks)

    return make


def rollout(project: Project, *arguments: str, pool: str = "workers", **variables: Any) -> PlaybookRun:
    return project.run(PLAYBOOK, extra_vars={"imagemode_pool": pool, **variables}, arguments=arguments)


def most_out_of_service(nodes: Iterable[Node]) -> int:
    """The most nodes that were down at one moment, by their own journals."""
    steps = []
    for node in nodes:
        for entry in node.journal.read():
            if entry["event"] == "shutdown":
                steps.append((float(entry["t"]), 1))
            elif entry["event"] == "boot":
                steps.append((float(entry["t"]), -1))
    # Each node boots once before its first shutdown.
    now = most = 0
    for _moment, step in sorted(steps):
        now = max(0, now + step)
        most = max(most, now)
    return most


def boots(nodes: Sequence[Node]) -> list[int]:
    return [count(node, "boot") for node in nodes]


def versions(nodes: Sequence[Node], project: Project) -> list[str]:
    run = project.run(
        [
            {
                "hosts": "workers",
                "gather_facts": False,
                "tasks": [{"name": "info", "imagemode.nodes.image_mode_info": {}}],
            }
        ]
    )
    return [run.result("info", node.name)["host"]["booted"]["version"] for node in nodes]


def told_digests(run: PlaybookRun) -> list[tuple[str | None, str | None]]:
    """Of every node the digests before and after, as the closing report and the job artifact have them."""
    [report] = run.results("Show the table")
    nodes = report["ansible_stats"]["data"]["imagemode_rollout"]["nodes"]
    assert nodes == report["nodes"]
    return [(node["from_digest"], node["to_digest"]) for node in nodes]


def booted_digests(run: PlaybookRun, state: str) -> list[str]:
    """Of every node that rebooted in a run the digest that it booted, `before` or `after`."""
    return [result[state]["booted"]["digest"] for result in run.results("Reboot into the image and prove it")]


def wait_for(said: str, process: subprocess.Popen[str], seconds: float = 240) -> str:
    """Read a run's output until a line matches; returns what was read."""
    assert process.stdout is not None
    lines: list[str] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        line = process.stdout.readline()
        if not line:
            break
        lines.append(line)
        if re.search(said, line):
            return "".join(lines)
    raise AssertionError(f"the run never said {said!r}:\n{''.join(lines)}")


def test_a_rollout_and_its_repetition(make_pool: MakePool) -> None:
    nodes, project = make_pool(5)
    first = rollout(project)
    assert first.rc == 0, first.stdout
    assert boots(nodes) == [2] * 5
    assert most_out_of_service(nodes) == 2
    assert versions(nodes, project) == ["2.0"] * 5
    [old], [new] = set(booted_digests(first, "before")), set(booted_digests(first, "after"))
    assert told_digests(first) == [(old, new)] * 5
    pulls = [count(node, "pull") for node in nodes]

    second = rollout(project)
    assert second.rc == 0, second.stdout
    assert [second.recap(node.name)["changed"] for node in nodes] == [0] * 5
    assert told_digests(second) == [(new, new)] * 5
    assert boots(nodes) == [2] * 5
    assert [count(node, "pull") for node in nodes] == pulls


def test_check_mode_changes_nothing(make_pool: MakePool) -> None:
    nodes, project = make_pool(3)
    run = rollout(project, "--check", "--diff")
    assert run.rc == 0, run.stdout
    assert (boots(nodes), [count(node, "pull") for node in nodes]) == ([1] * 3, [1] * 3)
    assert not list(project.directory.parent.glob("store/*.json"))


def test_nothing_is_pulled_while_a_node_is_out_of_service(make_pool: MakePool) -> None:
    nodes, project = make_pool(2)
    assert rollout(project).rc == 0
    for node in nodes:
        events = [entry["event"] for entry in node.journal.read() if entry["event"] in ("pull", "shutdown")]
        assert events == ["pull", "pull", "shutdown"]


def test_a_node_that_does_not_come_back_stops_the_others_and_the_next_run_carries_on(make_pool: MakePool) -> None:
    nodes, project = make_pool(4, imagemode_max_unavailable=1, imagemode_reboot_timeout=8, imagemode_canaries=["n1"])
    nodes[0].inject("boot-hangs")
    halted = rollout(project)
    assert halted.rc != 0
    assert "did not come back within" in halted.stdout
    assert boots(nodes[1:]) == [1, 1, 1], "nobody follows a node that failed"

    nodes[0].clear("boot-hangs")
    nodes[0].boot()
    again = rollout(project)
    assert again.rc == 0, again.stdout
    assert versions(nodes, project) == ["2.0"] * 4
    assert boots(nodes) == [2] * 4, "the node that hung in its boot is not rebooted a second time"


def test_a_node_that_comes_back_on_the_old_system_is_a_failure(make_pool: MakePool) -> None:
    nodes, project = make_pool(3, imagemode_max_unavailable=1, imagemode_canaries=["n1"])
    nodes[0].inject("boots-old-deployment")
    run = rollout(project)
    assert run.rc != 0
    assert "the boot loader fell back" in run.stdout
    assert boots(nodes[1:]) == [1, 1]


def test_an_unreachable_node_takes_part_of_the_window(make_pool: MakePool) -> None:
    nodes, project = make_pool(4, imagemode_max_failures=2)
    nodes[3].inject("unreachable")
    run = rollout(project)
    assert run.rc != 0, "a pool with a node nobody can reach is not updated"
    assert versions(nodes[:3], project) == ["2.0"] * 3
    assert most_out_of_service(nodes) == 1, "one of the two places is taken by the node that is away"
    assert run.recap("n4")["unreachable"] == 0


def test_a_node_that_cannot_be_staged_is_named_and_stays_in_service(make_pool: MakePool) -> None:
    nodes, project = make_pool(3, imagemode_max_failures=2)
    nodes[1].inject("layered-packages", packages=["htop"])
    run = rollout(project)
    assert run.rc != 0
    assert "layered packages" in run.stdout
    assert boots(nodes) == [2, 1, 2]
    assert run.recap("n2")["failed"] == 1


MISTAKES: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "a mistyped pool": ({"pool": "wrkers"}, (), "workers"),
    "too few forks": ({"imagemode_max_unavailable": 4}, ("--forks", "3"), "forks"),
    "a window of nothing": ({"imagemode_max_unavailable": 0}, (), "max_unavailable"),
    "a mistyped tag": ({"image_tag": "typo"}, (), "typo"),
    "a canary that is no node": ({"imagemode_canaries": ["n9"]}, (), "n9"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_shows_before_any_node_is_touched(mistake: str, make_pool: MakePool, v2: str) -> None:
    variables, arguments, said = MISTAKES[mistake]
    variables = dict(variables)
    if "image_tag" in variables:
        variables["imagemode_image"] = v2.replace(":v2", f":{variables.pop('image_tag')}")
    nodes, project = make_pool(5)
    run = rollout(project, *arguments, **variables)
    assert run.rc != 0, run.stdout
    assert said in run.stdout
    assert "Traceback" not in run.stdout
    assert (boots(nodes), [count(node, "pull") for node in nodes]) == ([1] * 5, [1] * 5)


def test_another_strategy_is_refused(make_pool: MakePool) -> None:
    _nodes, project = make_pool(2)
    slot = {"name": "slot", "imagemode.nodes.rollout_slot": {"pool": "workers", "state": "held", "store_path": "store"}}
    run = project.run([{"hosts": "workers", "gather_facts": False, "strategy": "linear", "tasks": [slot]}])
    assert run.rc != 0
    assert "strategy: ansible.builtin.host_pinned" in run.stdout


@pytest.mark.parametrize("how", ["interrupt", "kill"])
def test_a_rollout_that_was_stopped_is_finished_by_the_same_command(how: str, make_pool: MakePool) -> None:
    nodes, project = make_pool(4, boot_seconds=4.0)
    process = project.start(PLAYBOOK, extra_vars={"imagemode_pool": "workers"})
    wait_for(r"reboots into", process)
    if how == "interrupt":
        os.killpg(process.pid, signal.SIGINT)
    else:
        os.kill(process.pid, signal.SIGKILL)
    try:
        process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        # ansible-core's own handler can fail half-way ("process object is closed") and then waits for its workers, for ever.
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    out_of_service = json.loads((project.directory.parent / "store" / "workers.json").read_text())["nodes"]

    again = rollout(project)
    assert again.rc == 0, again.stdout
    assert versions(nodes, project) == ["2.0"] * 4
    assert boots(nodes) == [2] * 4, "no node reboots twice for one change"
    digests = dict(zip((node.name for node in nodes), told_digests(again)))
    assert None not in {digest for pair in digests.values() for digest in pair}, digests
    for name in out_of_service:
        before, after = digests[name]
        assert before != after, f"{name} was out of service in the run that was stopped, and its slot knows from where"
    assert most_out_of_service(nodes) <= 2


def test_two_controllers_keep_one_window(make_pool: MakePool) -> None:
    nodes, project = make_pool(5, boot_seconds=2.0)
    both = [project.start(PLAYBOOK, extra_vars={"imagemode_pool": "workers"}) for _unused in range(2)]
    outputs = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], "\n=====\n".join(outputs)
    assert versions(nodes, project) == ["2.0"] * 5
    assert boots(nodes) == [2] * 5
    assert most_out_of_service(nodes) <= 2


def test_a_limited_run_keeps_the_window_of_the_whole_pool(make_pool: MakePool) -> None:
    nodes, project = make_pool(4, imagemode_max_unavailable="50%")
    run = rollout(project, "--limit", "n1,n2,n3")
    assert run.rc == 0, run.stdout
    assert boots(nodes) == [2, 2, 2, 1]
    assert most_out_of_service(nodes) == 2


def test_a_run_for_another_image_is_refused_before_it_stages_anything(make_pool: MakePool, v2: str) -> None:
    nodes, project = make_pool(3, boot_seconds=6.0, imagemode_max_unavailable=1)
    first = project.start(PLAYBOOK, extra_vars={"imagemode_pool": "workers"})
    seen = wait_for(r"reboots into", first)
    pulls = [count(node, "pull") for node in nodes]
    second = rollout(project, imagemode_image=v2.replace("fleet:v2", "os:base"))
    assert second.rc != 0
    assert "is just being updated to" in second.stdout
    assert [count(node, "pull") for node in nodes] == pulls
    output, _nothing = first.communicate(timeout=240)
    assert first.returncode == 0, seen + output
    assert versions(nodes, project) == ["2.0"] * 3


def test_a_slot_of_a_pool_that_is_none_is_no_success(make_pool: MakePool) -> None:
    _nodes, project = make_pool(1)
    for state in ("held", "released", "status"):
        slot = {"name": "slot", "imagemode.nodes.rollout_slot": {"pool": "wrkers", "state": state}}
        run = project.run([{"hosts": "workers", "gather_facts": False, "strategy": "host_pinned", "tasks": [slot]}])
        assert run.rc != 0
        assert "has no group wrkers" in run.stdout
