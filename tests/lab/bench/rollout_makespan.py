# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a rollout over an uneven fleet takes: against what no order could beat, and against a play in batches.

The boot times are quantiles of a lognormal distribution, as boot times of real machines are spread: most of them near the
median, a few several times that. No rollout knows them beforehand, so that the order of the nodes alone can cost more than
the target allows: half of all orders do, with an engine that costs nothing. This is to measure the engine, so the order is
the first shuffle in which such an engine comes close to the bound; what it and random orders would take is told as well.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import math
import random
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab import images
from lab.bench import ansible_process
from lab.bench.ansible_process import AnsibleProcess
from lab.bench.task_cost import BenchFailure
from lab.node import Node
from lab.playbook_run import Project
from lab.registry import Registry
from lab.simulators.power import STOP_SECONDS

BOUND_TARGET = 1.10
SERIAL_TARGET = 0.75
SHORTEST, MEDIAN, LONGEST = 12.0, 28.0, 80.0  # seconds of a boot
SPREAD = 0.6  # standard deviation of the logarithm
FREE_OF_COST = 1.02  # of the bound, at most, by the order alone
UPDATE, REPORT, SERIAL = "PLAY [Update the nodes through the window]", "PLAY [Report]", "PLAY [Update in batches]"


def measure(directory: Path, registry: Registry, options: argparse.Namespace, cleanup: contextlib.ExitStack) -> None:
    """Measure and print. Raises BenchFailure, also when the window was not kept or a node did not boot once."""
    lab = directory / "lab"
    first, second, third = (
        images.build_base(registry.address, tag=f"makespan{number}", version=str(number)) for number in (1, 2, 3)
    )
    boots = boot_times(options.fleet, options.window, options.stretch)
    nodes = [
        Node.create(lab, f"node{number:03}", first, boot_seconds=seconds)
        for number, seconds in enumerate(boots, start=1)
    ]
    for node in nodes:
        cleanup.callback(node.destroy)
    variables = {
        "imagemode_image": second,
        "imagemode_max_unavailable": options.window,
        "imagemode_validate_certs": False,
        "imagemode_store_path": str(directory / "rollouts"),
    }
    project = Project.create(
        directory / "project",
        lab,
        {"workers": [node.name for node in nodes]},
        group_vars={"workers": variables},
        forks=max(10, options.window + 2),
    )
    print(
        f"\nmakespan: {len(nodes)} nodes, window {options.window}; boots of {min(boots):g} to {max(boots):g} s, "
        f"median {statistics.median(boots):g} s, {sum(boots):.0f} s in all",
        flush=True,
    )
    ours = ansible_process.run(project, "playbooks/rollout.yml", extra_vars={"imagemode_pool": "workers"})
    began, ended = ours.said_at(UPDATE), ours.said_at(REPORT)
    _check(nodes, ours, options.window)
    # What a node is away for whatever orders its reboot.
    work = [STOP_SECONDS + seconds for seconds in boots]
    _print_bound(ended - began, work, options.window)
    _print_costs("the rollout", ours)
    pulled = sum(
        entry["bytes"] for node in nodes for entry in node.journal.read("pull") if began <= entry["t"] <= ended
    )
    print(f"  bytes pulled from the first slot to the end of the last: {pulled}, target 0", flush=True)

    batches = ansible_process.run(project, _in_batches(third, options.window))
    serial_began, serial_ended = batches.said_at(SERIAL), batches.said_at("PLAY RECAP")
    _check(nodes, batches, options.window)
    print(
        f"  a play with serial: {options.window}       {serial_ended - serial_began:>8.1f} s   the same reboots, without slots"
    )
    _print_ratio("makespan / serial", (ended - began) / (serial_ended - serial_began), SERIAL_TARGET)
    _print_costs("the play", batches)


def boot_times(number: int, window: int, stretch: float) -> list[float]:
    """Seconds, node by node."""
    normal = statistics.NormalDist()
    quantiles = [math.exp(SPREAD * normal.inv_cdf((rank + 0.5) / number)) for rank in range(number)]
    seconds = [round(stretch * min(LONGEST, max(SHORTEST, MEDIAN * quantile)), 1) for quantile in quantiles]
    shuffled = random.Random(1)  # noqa: S311 (no secret: the same order in every run)
    orders = [shuffled.sample(seconds, number) for _try in range(1000)]
    good = FREE_OF_COST * lower_bound(seconds, window)
    return next((order for order in orders if schedule(order, window) <= good), orders[0])


def lower_bound(work: Sequence[float], window: int) -> float:
    """Seconds that no order and no engine can beat."""
    return max(*work, sum(work) / window)


def schedule(work: Sequence[float], window: int) -> float:
    """The makespan where each node goes as soon as another is back, in this order, and nothing else takes time."""
    free_at = [0.0] * window
    for seconds in work:
        heapq.heapreplace(free_at, free_at[0] + seconds)
    return max(free_at)


def _print_bound(makespan: float, work: Sequence[float], window: int) -> None:
    bound, ideal = lower_bound(work, window), schedule(work, window)
    shuffled = random.Random(1)  # noqa: S311 (no secret: the same orders in every run)
    orders = [schedule(shuffled.sample(work, len(work)), window) / bound for _number in range(1000)]
    batches = sum(max(work[start : start + window]) for start in range(0, len(work), window))
    longest, mean = max(work), sum(work) / window
    print(f"  lower bound                {bound:>8.1f} s   longest node {longest:.1f} s, work / window {mean:.1f} s")
    print(
        f"  this order, free of cost   {ideal:>8.1f} s   {ideal / bound:.2f} of the bound; "
        f"random orders {statistics.median(orders):.2f}, in batches {batches / bound:.2f}"
    )
    print(f"  makespan of the rollout    {makespan:>8.1f} s")
    _print_ratio("makespan / lower bound", makespan / bound, BOUND_TARGET)
    print(f"  makespan / this order      {makespan / ideal:>8.2f}     what the engine itself costs")


def _print_ratio(what: str, ratio: float, target: float) -> None:
    print(f"  {what:<27}{ratio:>8.2f}     target at most {target:.2f}: {'met' if ratio <= target else 'missed'}")


def _print_costs(what: str, run: AnsibleProcess) -> None:
    print(
        f"  {what} took {run.seconds:.0f} s with its staging, and {run.cpu_share:.0%} of the processors; "
        f"everybody on this machine together {run.machine_busy:.0%}",
        flush=True,
    )


def _in_batches(image: str, window: int) -> list[dict[str, Any]]:
    """The same update without a window: staged everywhere, then so many nodes at a time, and the next when all are back."""
    proven: dict[str, Any] = {"expected_digests": [image.partition("@")[2]]}
    stage = {"name": "Stage", "imagemode.nodes.image_stage": {"image": image, **proven}}
    reboot = {"name": "Reboot", "imagemode.nodes.node_reboot": {**proven, "reboot_timeout": 900}}
    common: dict[str, Any] = {"hosts": "workers", "gather_facts": False}
    return [
        {"name": "Stage everywhere", **common, "tasks": [stage]},
        {"name": "Update in batches", **common, "serial": window, "any_errors_fatal": True, "tasks": [reboot]},
    ]


def _check(nodes: Sequence[Node], run: AnsibleProcess, window: int) -> None:
    """From the nodes' own journals."""
    steps: list[tuple[float, int]] = []
    for node in nodes:
        entries = [entry for entry in node.journal.read() if run.began <= entry["t"] <= run.ended]
        downs, ups = ([entry["t"] for entry in entries if entry["event"] == kind] for kind in ("shutdown", "boot"))
        if len(downs) != 1 or len(ups) != 1:
            raise BenchFailure(f"{node.name} went down {len(downs)} times and booted {len(ups)} times, wanted once")
        steps += [(downs[0], 1), (ups[0], -1)]
    away = most = 0
    for _moment, step in sorted(steps):
        away += step
        most = max(most, away)
    if most > window:
        raise BenchFailure(f"{most} nodes were away at once, in a window of {window}")
