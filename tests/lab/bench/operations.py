# SPDX-License-Identifier: GPL-3.0-or-later
"""Round trips and runs of the image tools per operation, counted in the nodes' journals."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab import images
from lab.bench.hosts import HOSTS
from lab.bench.task_cost import BenchFailure, TaskCost, checked, task_costs
from lab.node import Node
from lab.playbook_run import Project
from lab.registry import Registry

Operation = tuple[str, str, dict[str, Any], bool]
"""Name, module, options, and whether it changes the node."""


def measure(directory: Path, registry: Registry, _options: argparse.Namespace, cleanup: contextlib.ExitStack) -> None:
    """Measure and print. Raises BenchFailure, also when an operation did not do what it is here for."""
    old, plain, brings = (
        images.build_base(registry.address, tag="operations1", version="1"),
        images.build_base(registry.address, tag="operations2", version="2"),
        images.build_base(registry.address, tag="operations3", version="3", kargs_d={"10-os.toml": ["brought=1"]}),
    )
    lab = directory / "lab"
    nodes = {name: Node.create(lab, name, old, versions=versions) for name, versions in HOSTS.items()}
    for node in nodes.values():
        cleanup.callback(node.destroy)
    operations = _operations(old, plain, brings)
    tasks = [{"name": name, f"imagemode.nodes.{module}": given} for name, module, given, _changes in operations]
    project = Project.create(directory / "project", lab, {"bench": list(nodes)}, forks=1)
    run = checked(project.run([{"hosts": "bench", "gather_facts": False, "tasks": tasks}], timeout=1200))
    _print(operations, {name: task_costs(run, node) for name, node in nodes.items()})


def _operations(old: str, plain: str, brings: str) -> list[Operation]:
    def digests(image: str) -> dict[str, Any]:
        return {"expected_digests": [image.partition("@")[2]]}

    def stage(image: str, **more: Any) -> dict[str, Any]:
        return {"image": image, **digests(image), **more}

    wish = {"present": ["nosmt"]}
    return [
        ("info", "image_mode_info", {}, False),
        ("stage: booted already", "image_stage", stage(old), False),
        ("download", "image_stage", stage(plain, state="downloaded"), True),
        ("download: there already", "image_stage", stage(plain, state="downloaded"), False),
        ("release what is downloaded", "image_stage", stage(plain), True),
        ("stage: staged already", "image_stage", stage(plain), False),
        ("stage over a staged image", "image_stage", stage(brings), True),
        ("unstage", "image_stage", {"state": "unstaged"}, True),
        ("unstage: nothing staged", "image_stage", {"state": "unstaged"}, False),
        ("stage, quick", "image_stage", stage(plain), True),
        ("unstage again", "image_stage", {"state": "unstaged"}, True),
        ("stage, image brings arguments", "image_stage", stage(brings), True),
        ("unstage once more", "image_stage", {"state": "unstaged"}, True),
        ("stage with kargs", "image_stage", stage(plain, kargs=wish), True),
        ("stage with kargs: staged already", "image_stage", stage(plain, kargs=wish), False),
        ("reboot", "node_reboot", digests(plain), True),
        ("reboot: nothing to boot", "node_reboot", digests(plain), False),
        ("kargs: set already", "kargs", wish, False),
        ("kargs: change", "kargs", {"absent": ["nosmt"]}, True),
        ("discard the kargs", "image_stage", {"state": "unstaged"}, True),
        ("rollback", "deployment_rollback", digests(old), True),
        ("rollback: queued already", "deployment_rollback", digests(old), False),
        ("rollback taken back", "deployment_rollback", {"state": "unqueued"}, True),
    ]


def _print(operations: list[Operation], costs: Mapping[str, Mapping[str, list[TaskCost]]]) -> None:
    print("\nround trips / runs of image tools per operation")
    print("  " + f"{'operation':<36}" + "".join(f"{host:>14}" for host in costs) + "  runs")
    for name, _module, _given, changes in operations:
        found = {host: by_task[name][0] for host, by_task in costs.items()}
        wrong = [host for host, cost in found.items() if cost.changed is not changes]
        if wrong:
            raise BenchFailure(f"{name!r} should {'' if changes else 'not '}have changed: {', '.join(wrong)}")
        cells = "".join(f"{f'{cost.round_trips} / {len(cost.runs)}':>14}" for cost in found.values())
        print(f"  {name:<36}{cells}  {' | '.join(cost.described() for cost in found.values())}", flush=True)
