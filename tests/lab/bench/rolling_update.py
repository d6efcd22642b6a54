# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole rolling update: round trips and tool runs per node, and what it costs the controller."""

from __future__ import annotations

import argparse
import contextlib
import statistics
from pathlib import Path

from lab import images
from lab.bench import ansible_process
from lab.bench.hosts import HOSTS
from lab.bench.task_cost import IMAGE_TOOLS, BenchFailure
from lab.ledger import Ledger
from lab.node import Node
from lab.playbook_run import Project
from lab.registry import Registry


def measure(directory: Path, registry: Registry, options: argparse.Namespace, cleanup: contextlib.ExitStack) -> None:
    """Measure and print. CPU is the controller's, without the nodes' own work. Raises BenchFailure."""
    lab = directory / "lab"
    old = images.build_base(registry.address, tag="old", version="1")
    new = images.build_base(registry.address, tag="new", version="2", extra_files={"/usr/share/new": "new\n"})
    kinds = list(HOSTS)
    names = {f"node{number:03}": kinds[number % len(kinds)] for number in range(1, options.nodes + 1)}
    for name, kind in names.items():
        node = Node.create(
            lab, name, old, versions=HOSTS[kind], latency=options.latency, boot_seconds=options.boot_seconds
        )
        cleanup.callback(node.destroy)
    variables = {
        "imagemode_image": new,
        "imagemode_max_unavailable": options.window,
        "imagemode_validate_certs": False,
        "imagemode_store_path": str(directory / "rollouts"),
    }
    project = Project.create(
        directory / "project",
        lab,
        {"workers": list(names)},
        group_vars={"workers": variables},
        forks=max(10, options.window + 2),
    )
    print(f"\nrolling update of {options.nodes} nodes through a window of {options.window}", flush=True)
    run = ansible_process.run(project, "playbooks/rollout.yml", extra_vars={"imagemode_pool": "workers"})
    ledgers = {name: Ledger.of(Node.load(lab, name), run.began, run.ended) for name in names}
    if not all(ledger.reboots == 1 for ledger in ledgers.values()):
        raise BenchFailure(f"not every node booted once: { {name: one.reboots for name, one in ledgers.items()} }")
    controller = max(0.0, run.cpu - sum(ledger.node_cpu for ledger in ledgers.values()))
    print(f"  wall time                {run.seconds:.1f} s")
    print(f"  controller CPU per node  {controller / options.nodes:.2f} s ({controller:.1f} s in all)")
    for kind in kinds:
        _print_nodes(kind, [ledger for name, ledger in ledgers.items() if names[name] == kind])


def _print_nodes(kind: str, ledgers: list[Ledger]) -> None:
    if not ledgers:
        return
    trips = sorted(ledger.round_trips for ledger in ledgers)
    runs = sorted(sum(ledger.tools.get(tool, 0) for tool in IMAGE_TOOLS) for ledger in ledgers)
    print(
        f"  on a host with {kind:<11} {statistics.median(trips):g} round trips ({trips[0]} to {trips[-1]}), "
        f"{statistics.median(runs):g} runs of image tools ({runs[0]} to {runs[-1]})"
    )
