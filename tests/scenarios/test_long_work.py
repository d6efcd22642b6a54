# SPDX-License-Identifier: GPL-3.0-or-later
"""Staging that survives its controller: real units of simulated nodes, with both tools, through a connection that can fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._host.lock_holder import holder
from ansible_collections.imagemode.nodes.plugins.module_utils._host.long_work import (
    STAGE_UNIT,
    LongOutcome,
    LongWork,
    Work,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import NodeUnreachable, Runner, Step
from lab import images, session
from lab.fixtures import MakeNode
from lab.node import Node
from lab.registry import Registry

STATUS = Step(("bootc", "status", "--json"), timeout=30)
TOOLS = ("bootc", "rpm-ostree")


class LabRunner(Runner):
    """The lab's connection without Ansible around it."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = node

    def _execute(self, script: str, limit: int | None) -> tuple[int, str, str]:
        try:
            done = session.run(self.node, "/bin/sh -s", stdin=script.encode())
        except (session.ConnectionRefused, session.ConnectionLost) as failure:
            raise NodeUnreachable(f"The connection to the node failed: {failure}.") from failure
        return done.rc, done.stdout.decode(), done.stderr.decode()


class Controller:
    """One run that stages something, in a thread of its own."""

    def __init__(self, node: Node, argv: tuple[str, ...], *, timeout: int = 60, before: tuple[Step, ...] = ()) -> None:
        self.said: list[str] = []
        self.runner = LabRunner(node)
        self.results: list[LongOutcome] = []
        work = LongWork(self.runner, self.said.append, slice_seconds=2)
        self.thread = threading.Thread(
            target=lambda: self.results.append(work.run(Work(argv, timeout), before, (STATUS,)))
        )
        self.thread.start()

    @property
    def outcome(self) -> LongOutcome:
        self.thread.join(120)
        assert self.results, f"no result; said {self.said}"
        return self.results[0]


@pytest.fixture
def node(make_node: MakeNode) -> Node:
    return make_node("n1", boot_seconds=0.1)


@pytest.fixture
def new_image(registry: Registry, request: pytest.FixtureRequest) -> Callable[[str], str]:
    """``new_image("a")``: an image that no other test has, as ``address/os@sha256:…``."""

    def make(word: str) -> str:
        name = f"{request.node.name}-{word}"
        tag = "".join(letter if letter.isalnum() else "-" for letter in name)
        return images.build_base(registry.address, tag=tag, version=name, extra_files={"usr/share/lab/name": name})

    return make


def staging(tool: str, image: str) -> tuple[str, ...]:
    return (
        ("bootc", "switch", image)
        if tool == "bootc"
        else ("rpm-ostree", "rebase", f"ostree-unverified-registry:{image}")
    )


def staged(outcome: LongOutcome) -> str | None:
    """Digest of what is staged, from the status behind the work."""
    entry = json.loads(outcome.after[0].stdout)["status"]["staged"]
    return entry["image"]["imageDigest"] if entry else None


def wait_until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"still not so after {seconds} s"
        time.sleep(0.05)


def unit_is(node: Node) -> str:
    return session.run(node, f"systemctl is-active {STAGE_UNIT}", stdin=b"").stdout.decode().strip()


def runs_of(node: Node, tool: str) -> int:
    """How many commands of a tool have ended that change something."""
    return sum(
        1 for entry in node.journal.read("tool") if entry["tool"] == tool and entry["argv"][0] in ("switch", "rebase")
    )


@pytest.mark.parametrize("tool", TOOLS)
def test_quick_work_takes_one_round_trip(node: Node, new_image: Callable[[str], str], tool: str) -> None:
    image = new_image("a")
    runner = LabRunner(node)
    outcome = LongWork(runner).run(Work(staging(tool, image), 60), after=(STATUS,))
    assert outcome.command.ok, outcome
    assert staged(outcome) == image.partition("@")[2]
    assert runner.trips == 1
    assert unit_is(node) == "inactive"


def test_progress_of_a_slow_pull(node: Node, new_image: Callable[[str], str]) -> None:
    node.inject("slow-pull", seconds=7.0)
    controller = Controller(node, staging("bootc", new_image("a")))
    assert controller.outcome.command.ok
    shares = [int(line.partition("(")[2].partition(" %")[0]) for line in controller.said if line.startswith("pulled ")]
    assert len(shares) >= 2
    assert shares == sorted(shares)
    assert controller.runner.trips <= 6


def test_a_tool_without_progress_still_says_that_it_works(make_node: MakeNode, new_image: Callable[[str], str]) -> None:
    node = make_node("n1", boot_seconds=0.1)
    node.inject("slow-pull", seconds=4.0)
    controller = Controller(node, staging("rpm-ostree", new_image("a")))
    assert controller.outcome.command.ok
    assert controller.said[0].startswith("still staging after ")


@pytest.mark.parametrize("tool", TOOLS)
def test_a_stalled_registry_is_given_up_and_leaves_nothing(
    node: Node, new_image: Callable[[str], str], tool: str
) -> None:
    node.inject("registry-stalls")
    outcome = Controller(node, staging(tool, new_image("a")), timeout=4).outcome
    assert outcome.command.timed_out
    assert not outcome.command.ok
    assert outcome.after[0].ok, "the lock is free again: bootc answers"
    assert staged(outcome) is None
    assert unit_is(node) == "inactive"
    node.clear("registry-stalls")
    again = Controller(node, staging(tool, new_image("b"))).outcome
    assert again.command.ok, "nothing of the first run is in the way"


def test_rpm_ostree_is_told_to_cancel(node: Node, new_image: Callable[[str], str]) -> None:
    node.inject("registry-stalls")
    outcome = Controller(node, staging("rpm-ostree", new_image("a")), timeout=4).outcome
    assert "Caught SIGINT, cancelling transaction" in outcome.command.stderr
    status = session.run(node, "rpm-ostree status --json", stdin=b"")
    assert json.loads(status.stdout)["transaction"] is None


def test_a_transaction_whose_client_was_killed_is_cancelled(node: Node, new_image: Callable[[str], str]) -> None:
    node.inject("registry-stalls")
    controller = Controller(node, staging("rpm-ostree", new_image("a")))
    wait_until(lambda: b"true" in session.run(node, "test -e /run/imagemode && echo true", stdin=b"").stdout)
    wait_until(lambda: b'"transaction" : [' in session.run(node, "rpm-ostree status --json", stdin=b"").stdout)
    session.run(node, f"systemctl kill --kill-who=main --signal=SIGKILL {STAGE_UNIT}", stdin=b"")
    assert controller.outcome.command.rc == 137
    status = session.run(node, "rpm-ostree status --json", stdin=b"")
    assert json.loads(status.stdout)["transaction"] is None


class TestTheControllerGoesAway:
    """The unit belongs to the node."""

    def test_a_connection_that_drops(self, node: Node, new_image: Callable[[str], str]) -> None:
        node.inject("slow-pull", seconds=5.0)
        node.inject("connection-drops", seconds=1.5)
        image = new_image("a")
        controller = Controller(node, staging("bootc", image))
        assert controller.outcome.command.ok
        assert staged(controller.outcome) == image.partition("@")[2]
        assert runs_of(node, "bootc") == 1

    def test_kill_9(self, node: Node, new_image: Callable[[str], str], tmp_path: Path) -> None:
        image = new_image("a")
        node.inject("registry-stalls")
        controller = start_controller(node, image)
        wait_until(lambda: unit_is(node) == "active")
        controller.kill()
        controller.wait()
        time.sleep(1)
        assert unit_is(node) == "active"
        second = Controller(node, staging("bootc", image))
        wait_until(lambda: second.said)
        node.clear("registry-stalls")
        assert second.outcome.adopted
        assert second.outcome.command.ok
        assert staged(second.outcome) == image.partition("@")[2]
        assert runs_of(node, "bootc") == 1

    def test_what_ended_meanwhile_is_only_tidied_up(self, node: Node, new_image: Callable[[str], str]) -> None:
        image = new_image("a")
        node.inject("slow-pull", seconds=2.0)
        controller = start_controller(node, image)
        wait_until(lambda: unit_is(node) == "active")
        controller.kill()
        controller.wait()
        wait_until(lambda: runs_of(node, "bootc") == 1 and unit_is(node) != "active")
        outcome = Controller(node, staging("bootc", image)).outcome
        assert outcome.command.ok
        assert not outcome.adopted
        assert staged(outcome) == image.partition("@")[2]


def start_controller(node: Node, image: str) -> subprocess.Popen[bytes]:
    """A run in a process of its own, to be killed."""
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from test_long_work import LabRunner, LongWork, Node, Work, staging\n"
        "LongWork(LabRunner(Node(Path(sys.argv[2])))).run(Work(staging('bootc', sys.argv[3]), 60))\n"
    )
    here = str(Path(__file__).parent)
    return subprocess.Popen(
        [sys.executable, "-c", program, here, str(node.directory), image],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


class TestTwoControllers:
    """The unit's name is the lock."""

    @pytest.mark.parametrize("tool", TOOLS)
    def test_the_same_wish_is_fulfilled_once(self, node: Node, new_image: Callable[[str], str], tool: str) -> None:
        node.inject("registry-stalls")
        image = new_image("a")
        controllers = [Controller(node, staging(tool, image)) for _number in range(3)]
        wait_until(lambda: all(controller.said for controller in controllers))
        node.clear("registry-stalls")
        outcomes = [controller.outcome for controller in controllers]
        assert sorted(outcome.adopted for outcome in outcomes) == [False, True, True]
        assert all(outcome.command.ok for outcome in outcomes)
        assert {outcome.command.stdout for outcome in outcomes} == {outcomes[0].command.stdout}
        assert runs_of(node, tool) == 1

    @pytest.mark.parametrize(
        ("first", "second"), [("bootc", "rpm-ostree"), ("rpm-ostree", "bootc"), ("bootc", "bootc")]
    )
    def test_another_wish_takes_over(
        self, node: Node, new_image: Callable[[str], str], first: str, second: str
    ) -> None:
        node.inject("registry-stalls")
        earlier = Controller(node, staging(first, new_image("a")))
        wait_until(lambda: unit_is(node) == "active")
        image = new_image("b")
        later = Controller(node, staging(second, image))
        assert earlier.outcome.stopped
        assert not earlier.outcome.command.timed_out
        node.clear("registry-stalls")
        assert later.outcome.superseded
        assert later.outcome.command.ok
        assert staged(later.outcome) == image.partition("@")[2]
        assert [line for line in later.said if line.startswith(f"stops what {STAGE_UNIT} was doing")]


def test_a_reboot_ends_the_work(node: Node, new_image: Callable[[str], str]) -> None:
    node.inject("registry-stalls")
    controller = Controller(node, staging("bootc", new_image("a")))
    wait_until(lambda: controller.said)
    node.power_cut()
    node.boot()
    assert controller.outcome.vanished
    assert staged(controller.outcome) is None
    assert unit_is(node) == "inactive"


def test_a_gate_keeps_work_from_another_boot(node: Node, new_image: Callable[[str], str]) -> None:
    """A first trip that is lost is made again, with its gates: what was planned for one boot is not for the next."""
    same_boot = ("sh", "-c", '[ "$(cat /proc/sys/kernel/random/boot_id)" = "$1" ]', "sh", node.boot_id)
    node.inject("registry-stalls")
    controller = Controller(node, staging("bootc", new_image("a")), before=(Step(same_boot, timeout=10, gate=True),))
    wait_until(lambda: unit_is(node) == "active")
    node.power_cut()
    node.boot()
    assert controller.outcome.gated or controller.outcome.vanished
    assert unit_is(node) == "inactive"


def test_the_holder_of_the_lock_has_a_name(node: Node, new_image: Callable[[str], str]) -> None:
    runner = LabRunner(node)
    assert holder(runner) is None
    node.inject("registry-stalls")
    controller = Controller(node, staging("bootc", new_image("a")))
    wait_until(lambda: holder(runner) is not None)
    named = holder(runner)
    assert named is not None
    assert named.startswith("bootc (process ")
    node.clear("registry-stalls")
    assert controller.outcome.command.ok
    assert holder(runner) is None


def test_another_nodes_lock_is_none_of_ours(make_node: MakeNode, new_image: Callable[[str], str]) -> None:
    busy, idle = make_node("n1"), make_node("n2")
    busy.inject("registry-stalls")
    controller = Controller(busy, staging("bootc", new_image("a")))
    wait_until(lambda: holder(LabRunner(busy)) is not None)
    assert holder(LabRunner(idle)) is None
    busy.clear("registry-stalls")
    assert controller.outcome.command.ok
