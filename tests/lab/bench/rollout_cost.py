# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollout with drains costs the controller: against a plain playbook of the collections that everybody has.

Both on the same nodes and a real Kubernetes API, one after the other, each with the same pods on every node. The plain playbook
is k8s_drain, bootc_manage, reboot and k8s_drain again, in batches as wide as the window. It has less to do: it waits for no
node to be Ready, proves no digest and writes no report. There is no PodDisruptionBudget, at which k8s_drain gives up.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cluster import build
from cluster.audit import Request
from cluster.cluster import Cluster

from lab import images
from lab.bench import ansible_process, bundled_ansible
from lab.bench.ansible_process import AnsibleProcess
from lab.bench.task_cost import BenchFailure
from lab.ledger import Ledger
from lab.node import Node
from lab.playbook_run import Project
from lab.registry import Registry

CPU_TARGET = 0.6
PODS_PER_NODE = 2
PLAIN = "plain"


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one of the two took for the whole pool. ``pulled_away``: bytes pulled between a node's cordon and its uncordon."""

    run: AnsibleProcess
    controller_cpu: float
    node_cpu: float
    executions: int
    requests: int
    away: float
    pulled: int
    pulled_away: int


def measure(directory: Path, registry: Registry, options: argparse.Namespace, cleanup: contextlib.ExitStack) -> None:
    """Measure and print. Raises BenchFailure. Where the API cannot be built, or ansible not be installed, that is all it prints."""
    try:
        build.ensure()
        programs = bundled_ansible.ensure()
    except (build.CannotBuild, bundled_ansible.CannotInstall) as error:
        print(f"\ncost of a rollout with drains: not measured, {error}")
        return
    directory.mkdir(parents=True)
    cluster = cleanup.enter_context(Cluster.start(directory / "cluster"))
    cluster.add_user(PLAIN, [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}])
    first, second, third = (
        images.build_base(
            registry.address,
            tag=f"cost{number}",
            version=str(number),
            extra_files={f"/usr/share/{number}": "x" * 50_000},
        )
        for number in (1, 2, 3)
    )
    lab = directory / "lab"
    nodes = [
        Node.create(lab, f"node{number:03}", first, python=True, boot_seconds=options.boot_seconds)
        for number in range(1, options.nodes + 1)
    ]
    for node in nodes:
        cleanup.callback(node.destroy)
    cleanup.callback(cluster.follow_nobody)
    project = Project.create(
        directory / "project",
        lab,
        {"workers": [node.name for node in nodes]},
        group_vars={"workers": _variables(directory, cluster, second, options.window)},
        forks=max(10, options.window + 2),
    )
    print(
        f"\ncost of a rollout with drains: {options.nodes} nodes, window {options.window}, {PODS_PER_NODE} pods on each, boots of "
        f"{options.boot_seconds:g} s\n  compared with {bundled_ansible.versions(programs)}",
        flush=True,
    )
    plain_project = _plain_project(directory, lab, nodes, options.window)
    _fill(cluster, nodes)
    ours = _cost(
        cluster,
        "rollout",
        nodes,
        ansible_process.run(project, "playbooks/rollout.yml", extra_vars={"imagemode_pool": "workers"}),
    )
    cluster.reset()
    _fill(cluster, nodes)
    kubeconfig = str(cluster.kubeconfig(PLAIN))
    plain = _cost(
        cluster,
        PLAIN,
        nodes,
        ansible_process.run(plain_project, _plain(third, kubeconfig, options.window), programs=programs),
    )
    _print(ours, plain, len(nodes))


def _variables(directory: Path, cluster: Cluster, image: str, window: int) -> dict[str, Any]:
    return {
        "imagemode_image": image,
        "imagemode_max_unavailable": window,
        "imagemode_validate_certs": False,
        "imagemode_store_path": str(directory / "rollouts"),
        "imagemode_drain": "kubernetes",
        "imagemode_kubeconfig": str(cluster.kubeconfig("rollout")),
    }


def _plain_project(directory: Path, lab: Path, nodes: Sequence[Node], window: int) -> Project:
    """The same inventory, without variables."""
    return Project.create(
        directory / "plain", lab, {"workers": [node.name for node in nodes]}, forks=max(10, window + 2)
    )


def _plain(image: str, kubeconfig: str, window: int) -> list[dict[str, Any]]:
    cluster = {"kubeconfig": kubeconfig, "name": "{{ inventory_hostname }}"}
    pods = {"ignore_daemonsets": True, "delete_emptydir_data": True, "wait_timeout": 120}
    tasks: list[dict[str, Any]] = [
        {
            "name": "Drain",
            "kubernetes.core.k8s_drain": {**cluster, "state": "drain", "delete_options": pods},
            "delegate_to": "localhost",
        },
        {"name": "Switch", "community.general.bootc_manage": {"state": "switch", "image": image}},
        {"name": "Reboot", "ansible.builtin.reboot": {"reboot_timeout": 300}},
        {
            "name": "Uncordon",
            "kubernetes.core.k8s_drain": {**cluster, "state": "uncordon"},
            "delegate_to": "localhost",
        },
    ]
    return [{"name": "Update", "hosts": "workers", "gather_facts": False, "serial": window, "tasks": tasks}]


def _fill(cluster: Cluster, nodes: Sequence[Node]) -> None:
    """Pods on every node that come back elsewhere, and one of a DaemonSet."""
    cluster.follow(nodes)
    namespace = cluster.namespace()
    for node in nodes:
        for _number in range(PODS_PER_NODE):
            cluster.pod(namespace, node.name)
        cluster.pod(namespace, node.name, owner="DaemonSet")
    cluster.begin()


def _cost(cluster: Cluster, user: str, nodes: Sequence[Node], run: AnsibleProcess) -> Cost:
    """From the nodes' journals and the API's audit log. Raises BenchFailure unless every node was drained and booted once."""
    requests = cluster.requests(user)
    executions, node_cpu, away, pulled, pulled_away = 0, 0.0, 0.0, 0, 0
    for node in nodes:
        ledger = Ledger.of(node, run.began, run.ended)
        down, up = _cordons(requests, node)
        if ledger.reboots != 1:
            raise BenchFailure(f"{user}: {node.name} booted {ledger.reboots} times, wanted once")
        executions += ledger.round_trips
        node_cpu += ledger.node_cpu
        away += up - down
        pulled += ledger.pulled_bytes
        pulled_away += Ledger.of(node, down, up).pulled_bytes
    return Cost(run, run.cpu - node_cpu, node_cpu, executions, len(requests), away, pulled, pulled_away)


def _cordons(requests: Sequence[Request], node: Node) -> tuple[float, float]:
    """When the node was cordoned, and when uncordoned. Raises BenchFailure unless each was done once."""
    moments: dict[bool, list[float]] = {True: [], False: []}
    for request in requests:
        about_it = request.verb == "patch" and request.resource == "nodes" and request.name == node.name
        if about_it and request.status == 200 and not request.dry_run and request.body and "spec" in request.body:
            moments[bool(request.body["spec"].get("unschedulable"))].append(request.at)
    if [len(moments[True]), len(moments[False])] != [1, 1]:
        raise BenchFailure(
            f"{node.name} was cordoned {len(moments[True])} times and uncordoned {len(moments[False])} times"
        )
    return moments[True][0], moments[False][0]


def _print(ours: Cost, plain: Cost, number: int) -> None:
    ratio = ours.controller_cpu / plain.controller_cpu
    print(f"  {'per node':<30}{'rollout':>10}{'plain':>10}{'ratio':>8}")
    _row("controller CPU, s", ours.controller_cpu / number, plain.controller_cpu / number, 2)
    _row("CPU on the node, s", ours.node_cpu / number, plain.node_cpu / number, 2)
    _row("remote executions", ours.executions / number, plain.executions / number, 1)
    _row("requests to the API", ours.requests / number, plain.requests / number, 1)
    _row("out of service, s", ours.away / number, plain.away / number, 1)
    _row("bytes pulled", ours.pulled / number, plain.pulled / number, 0)
    _row("bytes pulled out of service", ours.pulled_away / number, plain.pulled_away / number, 0)
    _row("wall time, s", ours.run.seconds / number, plain.run.seconds / number, 1)
    print(f"  CPU ratio {ratio:.2f}, target at most {CPU_TARGET}: {'met' if ratio <= CPU_TARGET else 'missed'}")
    print(
        f"  bytes out of service {ours.pulled_away}, target 0: {'met' if ours.pulled_away == 0 else 'missed'}; machine busy "
        f"{ours.run.machine_busy:.0%} and {plain.run.machine_busy:.0%}",
        flush=True,
    )


def _row(what: str, ours: float, plain: float, digits: int) -> None:
    ratio = f"{ours / plain:.2f}" if plain else "-"
    print(f"  {what:<30}{ours:>10.{digits}f}{plain:>10.{digits}f}{ratio:>8}", flush=True)
