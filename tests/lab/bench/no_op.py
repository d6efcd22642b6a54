# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks that change nothing, beside ``ansible.builtin.command`` running the tool's status, in turns on the same node.

Over a real sshd, with what an ordinary inventory has: Ansible's default ssh arguments (ControlMaster, ControlPersist of 60 s)
and pipelining, without which the plain command would take several round trips. The row of an empty round trip shows what
Ansible and ssh cost by themselves.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab import images, sshd
from lab.bench.hosts import HOSTS, STATUS, Versions, has, own_tool
from lab.bench.task_cost import BenchFailure, TaskCost, checked, median, task_costs, typical
from lab.node import Node
from lab.playbook_run import Project
from lab.registry import Registry

TARGET = 0.5
_FILE = {"path": "/etc/bench.conf", "content": "the same\n"}


def measure(
    directory: Path, registry: Registry, options: argparse.Namespace, cleanup: contextlib.ExitStack, *, ssh: bool
) -> None:
    """Measure and print. Raises BenchFailure, also when a task changed something."""
    way = "a real sshd (ControlPersist, pipelining)" if ssh else "the lab's connection"
    missing = sshd.missing() if ssh else None
    if missing:
        print(f"\nno-op cost over {way}: not measured, {missing}")
        return
    image = images.build_base(registry.address)
    print(
        f"\nno-op cost over {way}: medians of {options.rounds} rounds of {options.tasks} tasks of each kind, in turns"
    )
    for host, versions in HOSTS.items():
        costs = _on(directory / host, host, versions, image, options, cleanup, ssh)
        _print(host, costs)


def _on(
    directory: Path,
    host: str,
    versions: Versions,
    image: str,
    options: argparse.Namespace,
    cleanup: contextlib.ExitStack,
    ssh: bool,
) -> dict[str, list[TaskCost]]:
    node = Node.create(directory / "lab", host, image, python=True, versions=versions, latency=options.latency)
    cleanup.callback(node.destroy)
    found: dict[str, list[TaskCost]] = {}
    with contextlib.ExitStack() as daemon:
        variables: Mapping[str, Any] = {}
        if ssh:
            variables = daemon.enter_context(sshd.running(node, directory / "sshd", prepared=True)).inventory_vars()
        project = Project.create(
            directory / "project", directory / "lab", {"bench": [host]}, group_vars={"bench": variables}
        )
        checked(project.run([_play([{"imagemode.nodes.host_files": {"files": [_FILE]}}])]))
        for _round in range(options.rounds):
            run = checked(project.run([_play(_tasks(host, image) * options.tasks)], timeout=1200))
            for name, costs in task_costs(run, node).items():
                # The first of a round opens the connection.
                found.setdefault(name, []).extend(costs[1:] or costs)
    changed = [name for name, costs in found.items() if any(cost.changed for cost in costs)]
    if changed:
        raise BenchFailure(f"these changed something on a host with {host}: {', '.join(changed)}")
    return found


def _tasks(host: str, image: str) -> list[dict[str, Any]]:
    switches = {"bootc": "bootc_switch", "rpm-ostree": "rpmostree_rebase"}
    digests = [image.partition("@")[2]]
    own: dict[str, tuple[str, dict[str, Any]]] = {
        module: (module, {"image": image}) for tool, module in switches.items() if has(host, tool)
    }
    own["image_stage"] = ("image_stage", {"image": image})
    own["image_stage with kargs"] = ("image_stage", {"image": image, "kargs": {"present": ["rw"]}})
    own["kargs"] = ("kargs", {"present": ["rw"]})
    own["image_mode_info"] = ("image_mode_info", {})
    own["node_reboot"] = ("node_reboot", {"expected_digests": digests})
    own["deployment_rollback"] = ("deployment_rollback", {"state": "unqueued"})
    own["host_files"] = ("host_files", {"files": [_FILE]})
    plain = [
        {"name": _command(tool), "ansible.builtin.command": line, "changed_when": False}
        for tool, line in STATUS.items()
        if has(host, tool)
    ]
    empty = {"name": "raw: true", "ansible.builtin.raw": "true", "changed_when": False}
    return [
        empty,
        *plain,
        *({"name": name, f"imagemode.nodes.{module}": given} for name, (module, given) in own.items()),
    ]


def _play(tasks: list[dict[str, Any]]) -> dict[str, Any]:
    return {"hosts": "bench", "gather_facts": False, "tasks": tasks}


def _command(tool: str) -> str:
    return f"command: {STATUS[tool]}"


def _print(host: str, costs: Mapping[str, list[TaskCost]]) -> None:
    print(f"\non a host with {host}")
    print(f"  {'task':<36}{'seconds':>8}{'ratio':>7}{'trips':>7}{'tools':>7}  runs")
    for name, found in costs.items():
        tool = "rpm-ostree" if name == "rpmostree_rebase" else own_tool(host)
        ratio = median(found) / median(costs[_command(tool)])
        one = typical(found)
        missed = f"   above {TARGET}" if name in ("bootc_switch", "rpmostree_rebase") and ratio > TARGET else ""
        print(
            f"  {name:<36}{median(found):>8.3f}{ratio:>7.2f}{one.round_trips:>7}{len(one.runs):>7}  {one.described()}{missed}",
            flush=True,
        )
