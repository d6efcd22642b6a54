# SPDX-License-Identifier: GPL-3.0-or-later
"""``make bench``: what a task of the collection costs on a node, beside a plain command, and what an update costs.

All numbers to compare come from one run on one machine: read the ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import resource
import shutil
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab import images, inventory
from lab.ledger import Ledger
from lab.node import Node
from lab.playbook_run import PlaybookRun, Project
from lab.registry import Registry

COLLECTION = "bootc_switch that changes nothing"
COMMAND = "command: bootc status --json"
NODE = "node"


class BenchFailure(Exception):
    """A run that should have worked did not. The text carries its output."""


@dataclasses.dataclass(frozen=True)
class TaskCost:
    """One task on one node: seconds on the controller's clock, and what it made the node do."""

    seconds: float
    round_trips: int
    tool_runs: int


@dataclasses.dataclass(frozen=True)
class UpdateCost:
    """One full rolling update. Seconds are of the whole run; CPU is the controller's, without the nodes' own work."""

    nodes: int
    seconds: float
    controller_cpu: float
    round_trips: Mapping[str, int]


def main(arguments: Sequence[str]) -> int:
    """Measure and print; returns the exit status."""
    options = _options(arguments)
    directory: Path = options.lab.absolute()
    shutil.rmtree(directory, ignore_errors=True)
    try:
        with contextlib.ExitStack() as cleanup:
            registry = cleanup.enter_context(Registry.start(directory / "registry"))
            _compare_tasks(directory, registry, options, cleanup)
            _measure_update(directory, registry, options, cleanup)
    except BenchFailure as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _compare_tasks(
    directory: Path, registry: Registry, options: argparse.Namespace, cleanup: contextlib.ExitStack
) -> None:
    lab = directory / "tasks"
    image = images.build_base(registry.address)
    node = Node.create(lab, NODE, image, python=True, latency=options.latency)
    cleanup.callback(node.destroy)
    project = Project.create(directory / "project-tasks", lab, {"bench": [NODE]})
    costs: dict[str, list[TaskCost]] = {COLLECTION: [], COMMAND: []}
    for number in range(1, options.rounds + 1):
        print(f"round {number} of {options.rounds}: {options.tasks} tasks of each kind, alternating", flush=True)
        run = _checked(project.run([_play(image, options.tasks)]))
        for name, found in costs.items():
            found += _task_costs(run, node, name)
    print(
        f"\n{'task':<36}{'seconds':>9}{'round trips':>13}{'runs of bootc':>15}   (medians of {options.rounds} rounds)"
    )
    for name, found in costs.items():
        seconds = statistics.median(cost.seconds for cost in found)
        trips, tools = (
            statistics.median(getattr(cost, field) for cost in found) for field in ("round_trips", "tool_runs")
        )
        print(f"{name:<36}{seconds:>9.3f}{trips:>13g}{tools:>15g}")
    mine, theirs = (sorted(cost.seconds for cost in costs[name]) for name in (COLLECTION, COMMAND))
    ratio = statistics.median(mine) / statistics.median(theirs)
    print(f"ratio of wall time: {ratio:.2f} (target: at most 0.60); latency {options.latency * 1000:.0f} ms\n")


def _play(image: str, tasks: int) -> dict[str, Any]:
    pair = [
        {"name": COLLECTION, "imagemode.nodes.bootc_switch": {"image": image}},
        {"name": COMMAND, "ansible.builtin.command": "bootc status --json", "changed_when": False},
    ]
    return {"hosts": "bench", "gather_facts": False, "tasks": pair * tasks}


def _task_costs(run: PlaybookRun, node: Node, name: str) -> list[TaskCost]:
    entries = [entry for entry in node.journal.read() if entry["event"] in ("exec", "tool")]
    costs = []
    for event in run.events:
        data = event.get("event_data", {})
        if event["event"] != "runner_on_ok" or data.get("task") != name:
            continue
        if data["res"].get("changed"):
            raise BenchFailure(f"{name!r} changed something on {node.name}: {data['res']}")
        start, end = _moment(data["start"]), _moment(data["end"])
        inside = [entry for entry in entries if start <= entry["t"] <= end]
        kinds = [entry["event"] for entry in inside]
        costs.append(TaskCost(data["duration"], kinds.count("exec"), kinds.count("tool")))
    return costs


def _moment(text: str) -> float:
    """Seconds since 1970 of a time in ansible-runner's events, which are in UTC."""
    moment = datetime.datetime.fromisoformat(text)
    return moment.replace(tzinfo=moment.tzinfo or datetime.timezone.utc).timestamp()


def _measure_update(
    directory: Path, registry: Registry, options: argparse.Namespace, cleanup: contextlib.ExitStack
) -> None:
    lab = directory / "update"
    old = images.build_base(registry.address, tag="old", version="1")
    new = images.build_base(registry.address, tag="new", version="2", extra_files={"/usr/share/new": "new\n"})
    names = [f"node{number:03}" for number in range(1, options.nodes + 1)]
    for name in names:
        cleanup.callback(
            Node.create(lab, name, old, latency=options.latency, boot_seconds=options.boot_seconds).destroy
        )
    variables = {
        "imagemode_image": new,
        "imagemode_max_unavailable": options.window,
        "imagemode_validate_certs": False,
        "imagemode_store_path": str(directory / "rollouts"),
    }
    project = Project.create(
        directory / "project-update",
        lab,
        {"workers": names},
        group_vars={"workers": variables},
        forks=max(10, options.window + 2),
    )
    print(f"update of {options.nodes} nodes through a window of {options.window}", flush=True)
    began, clock, before = time.time(), time.monotonic(), _cpu()
    _checked(project.run("playbooks/rollout.yml", extra_vars={"imagemode_pool": "workers"}, timeout=3600))
    seconds, cpu = time.monotonic() - clock, _cpu() - before
    ledgers = {name: Ledger.of(Node.load(lab, name), began) for name in names}
    if not all(ledger.reboots == 1 for ledger in ledgers.values()):
        raise BenchFailure(f"not every node booted once: { {name: one.reboots for name, one in ledgers.items()} }")
    node_cpu = sum(ledger.node_cpu for ledger in ledgers.values())
    trips = {name: ledger.round_trips for name, ledger in ledgers.items()}
    _print_update(UpdateCost(options.nodes, seconds, max(0.0, cpu - node_cpu), trips))


def _print_update(cost: UpdateCost) -> None:
    trips = sorted(cost.round_trips.values())
    print(f"  wall time                {cost.seconds:.1f} s")
    print(f"  round trips per node     {statistics.median(trips):g} (from {trips[0]} to {trips[-1]})")
    print(f"  controller CPU per node  {cost.controller_cpu / cost.nodes:.2f} s ({cost.controller_cpu:.1f} s in all)")


def _checked(run: PlaybookRun) -> PlaybookRun:
    if run.rc != 0:
        raise BenchFailure(f"a run ended with status {run.rc}:\n{run.stdout}")
    return run


def _cpu() -> float:
    """CPU seconds of all our children that have ended: the controller's runs, with their nodes' commands."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--tasks", type=int, default=30, help="tasks of each kind per round (default: 30)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds added to each round trip (default: 0)")
    parser.add_argument("--nodes", type=int, default=12, help="nodes of the full update (default: 12)")
    parser.add_argument("--window", type=int, default=4, help="how many of them may be away at once (default: 4)")
    parser.add_argument("--boot-seconds", type=float, default=1.0, help="how long a node boots (default: 1)")
    parser.add_argument(
        "--lab", type=Path, default=inventory.CHECKOUT / ".lab" / "bench", help="where everything lives"
    )
    return parser.parse_args(list(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
