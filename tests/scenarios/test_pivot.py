# SPDX-License-Identifier: GPL-3.0-or-later
"""From the base image of a disk, without a kubelet, to the image of the pool: one reboot, and no kubelet before the proof."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from journal import count, tools
from lab import images, session
from lab.fixtures import MakeNode
from lab.node import Node
from lab.playbook_run import PlaybookRun, Project
from lab.registry import Registry

PLAYBOOK = Path("playbooks/pivot.yml")
KUBELET = "kubelet.service"
HOLD = "/etc/systemd/system/kubelet.service.d/zz-imagemode-hold.conf"
KARGS = {"present": ["nosmt", "mitigations=auto"]}
UNIT = "[Unit]\nDescription=Kubelet\n\n[Service]\n{type}ExecStart={program}\n\n[Install]\nWantedBy=multi-user.target\n"
KINDS: dict[str, dict[str, Any]] = {
    "bootc": {"versions": {"rpm-ostree": None}},
    "rpm-ostree on a plain ref": {"versions": {"bootc": None}, "origin": "ostree"},
    "both": {},
    "both on a plain ref": {"origin": "ostree"},
}
MakePool = Callable[..., tuple[list[Node], Project]]


def node_image(registry: Registry, tag: str, *, kind: str = "", program: str = "/usr/bin/kubelet") -> str:
    """An image with an enabled kubelet, by tag. ``program`` need not be there."""
    unit = UNIT.format(type=f"Type={kind}\n" if kind else "", program=program)
    files: dict[str, str | bytes] = {f"/usr/lib/systemd/system/{KUBELET}": unit, "/usr/bin/kubelet": "#!/bin/sh\n"}
    kargs = {"10-node.toml": ["node=1"]}
    made = images.build_base(
        registry.address, "pivot", tag, version="4.1", extra_files=files, enabled_units=[KUBELET], kargs_d=kargs
    )
    return made.partition("@")[0] + f":{tag}"


@pytest.fixture(scope="module")
def image(registry: Registry) -> str:
    return node_image(registry, "node")


@pytest.fixture(scope="module")
def broken(registry: Registry) -> str:
    return node_image(registry, "broken", kind="notify", program="/usr/bin/nothing")


@pytest.fixture
def make_pool(make_node: MakeNode, make_project: Callable[..., Project], image: str) -> MakePool:
    """Nodes of a pool `workers`, one of each kind that is given, and a project whose group_vars want the image."""

    def make(*kinds: str, boot_seconds: float = 1.0, base: str = "", **variables: Any) -> tuple[list[Node], Project]:
        given = {"image": base} if base else {}
        nodes = [
            make_node(f"n{number}", boot_seconds=boot_seconds, **given, **KINDS[kind])
            for number, kind in enumerate(kinds, 1)
        ]
        wanted = {
            "imagemode_image": image,
            "imagemode_validate_certs": False,
            "imagemode_connect_timeout": 5,
            "imagemode_reboot_timeout": 30,
            **variables,
        }
        return nodes, make_project(
            group_vars={"workers": {name: one for name, one in wanted.items() if one is not None}}
        )

    return make


def pivot(project: Project, *arguments: str, **variables: Any) -> PlaybookRun:
    return project.run(PLAYBOOK, extra_vars={"imagemode_pool": "workers", **variables}, arguments=arguments)


def on(node: Node, command: str) -> str:
    return session.run(node, command, stdin=b"").stdout.decode().strip()


def kubelet(node: Node) -> str:
    return on(node, f"systemctl is-active {KUBELET}")


def is_held(node: Node) -> bool:
    return on(node, f"test -e {HOLD} && echo held") == "held"


def boots(nodes: Sequence[Node]) -> list[int]:
    return [count(node, "boot") for node in nodes]


def starts(node: Node) -> list[str]:
    """What the node's journal says of boots and of the kubelet, in order."""
    return [
        str(entry.get("state", entry["event"])) for entry in node.journal.read() if entry["event"] in ("boot", "unit")
    ]


def failure(run: PlaybookRun, node: str) -> str:
    result = run.result("Say what to do", node)
    assert "Traceback" not in run.stdout
    return str(result["msg"])


def wait_for(said: str, process: subprocess.Popen[str], seconds: float = 120) -> None:
    """Read a run's output until a line matches."""
    assert process.stdout is not None
    lines: list[str] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and (line := process.stdout.readline()):
        lines.append(line)
        if re.search(said, line):
            return
    raise AssertionError(f"the run never said {said!r}:\n{''.join(lines)}")


def test_all_kinds_of_nodes_side_by_side_and_again(make_pool: MakePool) -> None:
    nodes, project = make_pool(*KINDS, imagemode_kargs=KARGS)
    assert {kubelet(node) for node in nodes} == {"inactive"}
    first = pivot(project)
    assert first.rc == 0, first.stdout
    assert boots(nodes) == [2] * len(nodes), "image and arguments in one reboot"
    for node in nodes:
        assert "node=1" in on(node, "cat /proc/cmdline")
        assert "nosmt mitigations=auto" in on(node, "cat /proc/cmdline")
        assert starts(node) == ["boot", "boot", "active"], "the kubelet starts once, after the boot, not by it"
        assert not is_held(node)
        assert on(node, "ls /etc/systemd/system/kubelet.service.d /run/imagemode/pivot-proven 2>/dev/null") == ""

    before = [len(tools(node)) for node in nodes]
    trips = [count(node, "exec") for node in nodes]
    second = pivot(project)
    assert second.rc == 0, second.stdout
    assert [second.recap(node.name)["changed"] for node in nodes] == [0] * len(nodes)
    assert boots(nodes) == [2] * len(nodes)
    for node, known, made in zip(nodes, before, trips):
        asked = [call for call in tools(node)[known:] if "status" in call]
        assert len(asked) == 1, asked
        assert count(node, "exec") - made == 2, "the state, and what is held"


def test_a_pivoted_node_reboots_like_any_other(make_pool: MakePool) -> None:
    [node], project = make_pool("bootc")
    assert pivot(project).rc == 0
    node.power_cut()
    node.boot()
    assert kubelet(node) == "active"


def test_check_mode_changes_nothing(make_pool: MakePool) -> None:
    nodes, project = make_pool("bootc", "both", imagemode_kargs=KARGS)
    run = pivot(project, "--check", "--diff")
    assert run.rc == 0, run.stdout
    assert (boots(nodes), [count(node, "pull") for node in nodes]) == ([1, 1], [1, 1])
    assert not any(is_held(node) for node in nodes)
    assert run.result("Stage the image", "n1")["changed"] is True
    assert run.result("Hold units back until the proof", "n1")["changed"] is True


def test_a_plain_fleet_holds_nothing(make_pool: MakePool) -> None:
    [node], project = make_pool("bootc", imagemode_held_units=[])
    run = pivot(project)
    assert run.rc == 0, run.stdout
    assert starts(node) == ["boot", "active", "boot"], (
        "started by the boot, of which the journal speaks once it is over"
    )
    assert not any("daemon-reload" in call for call in tools(node))


def test_reboots_one_after_the_other_where_that_is_wanted(make_pool: MakePool) -> None:
    nodes, project = make_pool("bootc", "bootc", "both", imagemode_pivot_throttle=1)
    run = pivot(project)
    assert run.rc == 0, run.stdout
    steps = sorted(
        (float(entry["t"]), entry["event"])
        for node in nodes
        for entry in node.journal.read()
        if entry["event"] in ("shutdown", "boot")
    )
    assert [event for _moment, event in steps][-6:] == ["shutdown", "boot"] * 3


def test_a_node_is_told_what_to_trust_before_it_pulls(make_pool: MakePool) -> None:
    auth = {"registry.example.com": {"username": "node", "password": "hunter2"}}
    [node], project = make_pool("bootc", imagemode_registry_auth=auth)
    run = pivot(project)
    assert run.rc == 0, run.stdout
    assert "hunter2" not in run.stdout
    assert "registry.example.com" in on(node, "cat /etc/ostree/auth.json"), "and the new deployment has it"
    assert pivot(project).recap("n1")["changed"] == 0


def test_a_node_in_its_first_boot_is_waited_for(make_pool: MakePool) -> None:
    [node], project = make_pool("bootc", boot_seconds=8.0, imagemode_connect_timeout=60)
    on(node, "systemctl reboot")
    time.sleep(1)
    run = pivot(project)
    assert run.rc == 0, run.stdout
    assert (kubelet(node), boots([node])) == ("active", [3])


def test_the_role_as_a_whole(make_pool: MakePool) -> None:
    [node], project = make_pool("bootc")
    run = project.run([{"hosts": "workers", "gather_facts": False, "roles": ["imagemode.nodes.bootstrap_pivot"]}])
    assert run.rc == 0, run.stdout
    assert (kubelet(node), boots([node])) == ("active", [2])


# What may be left behind by a run that ended early.


def test_staged_and_not_rebooted(make_pool: MakePool) -> None:
    [node], project = make_pool("bootc")
    node.inject("reboot-inhibited", who="firmware")
    stopped = pivot(project)
    assert stopped.rc != 0
    assert "firmware" in failure(stopped, "n1")
    assert "--limit n1" in failure(stopped, "n1")
    assert is_held(node)
    pulls = count(node, "pull")
    node.clear("reboot-inhibited")
    assert pivot(project).rc == 0
    assert (kubelet(node), boots([node]), count(node, "pull")) == ("active", [2], pulls)


def test_rebooted_by_somebody_and_still_held(make_pool: MakePool) -> None:
    """Between staging and proof anybody may reboot the node: the kubelet waits for the next run."""
    [node], project = make_pool("bootc")
    node.inject("reboot-inhibited")
    assert pivot(project).rc != 0
    node.clear("reboot-inhibited")
    on(node, "systemctl reboot")
    deadline = time.monotonic() + 30
    while boots([node]) == [1] and time.monotonic() < deadline:
        time.sleep(0.2)
        node.is_up()
    assert (kubelet(node), starts(node)) == ("inactive", ["boot", "boot"])
    run = pivot(project)
    assert run.rc == 0, run.stdout
    assert (kubelet(node), boots([node]), is_held(node)) == ("active", [2], False)


@pytest.mark.parametrize("moment", [r"stages .*pivot", r"reboots into", r"starts kubelet"])
def test_killed_and_run_again(moment: str, make_pool: MakePool) -> None:
    nodes, project = make_pool("bootc", "both", boot_seconds=3.0, imagemode_connect_timeout=60)
    process = project.start(PLAYBOOK, extra_vars={"imagemode_pool": "workers"})
    wait_for(moment, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    run = pivot(project)
    assert run.rc == 0, run.stdout
    assert (boots(nodes), [kubelet(node) for node in nodes]) == ([2, 2], ["active", "active"])
    assert not any(is_held(node) for node in nodes)
    assert all(starts(node) == ["boot", "boot", "active"] for node in nodes)


# What goes wrong.


def test_a_node_that_is_away_and_one_that_fails_keep_nobody_waiting(make_pool: MakePool) -> None:
    nodes, project = make_pool("bootc", "both", "rpm-ostree on a plain ref")
    nodes[0].inject("unreachable")
    nodes[1].inject("layered-packages", packages=["htop"])
    run = pivot(project)
    assert run.rc != 0
    assert "--limit n1" in failure(run, "n1")
    assert "layered packages" in failure(run, "n2")
    assert (boots(nodes[1:]), kubelet(nodes[2])) == ([1, 2], "active")
    assert [run.recap(node.name)["unreachable"] for node in nodes] == [0, 0, 0]
    nodes[0].clear("unreachable")
    nodes[1].clear("layered-packages")
    assert pivot(project).rc == 0
    assert boots(nodes) == [2, 2, 2]


def test_a_node_that_comes_back_on_something_else_stays_held(make_pool: MakePool, registry: Registry) -> None:
    """Its old image has a kubelet too, which would join the cluster from the wrong system."""
    old = images.build_base(
        registry.address,
        "pivot",
        "old",
        version="4.0",
        extra_files={
            f"/usr/lib/systemd/system/{KUBELET}": UNIT.format(type="", program="/usr/bin/kubelet"),
            "/usr/bin/kubelet": "#!/bin/sh\n",
        },
        enabled_units=[KUBELET],
    )
    [node], project = make_pool("bootc", base=old)
    on(node, f"systemctl stop {KUBELET}")
    node.inject("boots-old-deployment")
    run = pivot(project)
    assert run.rc != 0
    assert "fell back" in failure(run, "n1")
    assert (kubelet(node), is_held(node)) == ("inactive", True)
    again = pivot(project)
    assert again.rc == 0, again.stdout
    assert (kubelet(node), is_held(node)) == ("active", False)


def test_a_kubelet_that_does_not_start_is_a_failure_until_it_does(make_pool: MakePool, broken: str) -> None:
    [node], project = make_pool("bootc", imagemode_image=broken)
    run = pivot(project)
    assert run.rc != 0
    assert "is not held any more, but did not start" in failure(run, "n1")
    assert "journalctl -b -u kubelet.service" in failure(run, "n1")
    assert not is_held(node), "systemd may start it again, now and after a reboot"
    assert pivot(project).rc != 0
    on(node, "printf '[Service]\\nExecStart=\\nExecStart=/usr/bin/kubelet\\n' > /run/fixed.conf")
    on(node, "mkdir -p /etc/systemd/system/kubelet.service.d")
    on(node, "cp /run/fixed.conf /etc/systemd/system/kubelet.service.d/10-fixed.conf; systemctl daemon-reload")
    run = pivot(project)
    assert run.rc == 0, run.stdout
    assert (kubelet(node), boots([node])) == ("active", [2])


def test_a_node_in_service_is_refused_unless_said(make_pool: MakePool, image: str, base_image: str) -> None:
    [node], project = make_pool("bootc", base=image, imagemode_image=base_image.partition("@")[0] + ":base")
    assert kubelet(node) == "active"
    run = pivot(project)
    assert run.rc != 0
    assert "imagemode.nodes.rollout" in failure(run, "n1")
    assert "imagemode_pivot_in_service" in failure(run, "n1")
    assert (boots([node]), count(node, "pull"), is_held(node)) == ([1], 1, False)
    run = pivot(project, imagemode_image=image)
    assert run.rc == 0, run.stdout
    assert (boots([node]), run.recap("n1")["changed"]) == ([1], 0), "a node that is right is right, in service or not"
    run = pivot(project, imagemode_pivot_in_service=True)
    assert run.rc == 0, run.stdout
    assert (boots([node]), is_held(node)) == ([2], False)
    assert any("not in the image" in warning for warning in run.result("Release the units", "n1")["warnings"])


def test_a_node_in_service_whose_staging_fails_gets_its_units_back(
    make_pool: MakePool, base_image: str, image: str
) -> None:
    [node], project = make_pool("bootc", base=image, imagemode_image=base_image.partition("@")[0] + ":base")
    node.inject("disk-full")
    run = pivot(project, imagemode_pivot_in_service=True)
    assert run.rc != 0
    assert "space" in failure(run, "n1")
    assert (kubelet(node), is_held(node), boots([node])) == ("active", False, [1])


def test_image_by_a_digest_that_the_registry_does_not_have(make_pool: MakePool, image: str) -> None:
    nodes, project = make_pool("bootc", imagemode_image=image.rpartition(":")[0] + "@sha256:" + "0" * 64)
    run = pivot(project)
    assert run.rc != 0
    assert "Traceback" not in run.stdout
    assert (boots(nodes), count(nodes[0], "pull"), tools(nodes[0])) == ([1], 1, [])


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "a mistyped pool": ({"imagemode_pool": "wrkers"}, "workers"),
    "a mistyped tag": ({"tag": "typo"}, "typo"),
    "a mistyped choice": ({"imagemode_tool": "rpmostree"}, "rpm-ostree"),
    "no image": ({"imagemode_image": None}, "imagemode_image"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_shows_before_any_node_is_asked(mistake: str, make_pool: MakePool, image: str) -> None:
    variables, said = MISTAKES[mistake]
    variables = dict(variables)
    if "tag" in variables:
        variables["imagemode_image"] = image.replace(":node", f":{variables.pop('tag')}")
    pool = variables.pop("imagemode_pool", "workers")
    [node], project = make_pool("bootc", **variables)
    run = pivot(project, imagemode_pool=pool)
    assert run.rc != 0, run.stdout
    assert said in run.stdout
    assert "Traceback" not in run.stdout
    assert tools(node) == []


def test_a_unit_without_its_kind_is_refused_before_anything_is_staged(make_pool: MakePool) -> None:
    [node], project = make_pool("bootc", imagemode_held_units=["kubelet"])
    run = pivot(project)
    assert run.rc != 0
    assert "such as kubelet.service" in failure(run, "n1")
    assert count(node, "pull") == 1
