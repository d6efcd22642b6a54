# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of ``make bench``."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lab import bench, inventory
from lab.bench import build, no_op, operations, rolling_update, rollout_cost, rollout_makespan
from lab.bench.task_cost import BenchFailure
from lab.registry import Registry

Measurement = Callable[[Path, Registry, argparse.Namespace, contextlib.ExitStack], None]


def _over_ssh(directory: Path, registry: Registry, options: argparse.Namespace, cleanup: contextlib.ExitStack) -> None:
    no_op.measure(directory, registry, options, cleanup, ssh=True)


def _over_lab(directory: Path, registry: Registry, options: argparse.Namespace, cleanup: contextlib.ExitStack) -> None:
    no_op.measure(directory, registry, options, cleanup, ssh=False)


MEASUREMENTS: dict[str, Measurement] = {
    "ssh": _over_ssh,
    "lab": _over_lab,
    "operations": operations.measure,
    "update": rolling_update.measure,
    "makespan": rollout_makespan.measure,
    "cost": rollout_cost.measure,
    "build": build.measure,
}
GROUPS = {"rollout": ("makespan", "cost")}
"""What ``--only`` takes besides: several measurements under one name."""


def main(arguments: Sequence[str]) -> int:
    """Measure and print; returns the exit status."""
    options = _options(arguments)
    directory: Path = options.lab.absolute()
    shutil.rmtree(directory, ignore_errors=True)
    try:
        with contextlib.ExitStack() as cleanup:
            registry = cleanup.enter_context(Registry.start(directory / "registry"))
            wanted = [name for word in options.only or MEASUREMENTS for name in GROUPS.get(word, (word,))]
            for name in dict.fromkeys(wanted):
                MEASUREMENTS[name](directory / name, registry, options, cleanup)
    except BenchFailure as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=(bench.__doc__ or "").partition("\n\n")[2])
    parser.add_argument(
        "--only", nargs="+", choices=[*MEASUREMENTS, *GROUPS], help="what to measure (default: all of it)"
    )
    parser.add_argument("--tasks", type=int, default=10, help="tasks of each kind per round (default: 10)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument(
        "--latency",
        type=float,
        default=0.0,
        help="seconds added to each round trip of the lab's connection (default: 0)",
    )
    parser.add_argument(
        "--nodes", type=int, default=12, help="nodes of the full update, and of the drains (default: 12)"
    )
    parser.add_argument("--window", type=int, default=4, help="how many of them may be away at once (default: 4)")
    parser.add_argument("--boot-seconds", type=float, default=1.0, help="how long a node boots (default: 1)")
    parser.add_argument("--fleet", type=int, default=24, help="nodes of the uneven fleet (default: 24)")
    parser.add_argument(
        "--stretch", type=float, default=1.0, help="times the boot times of the uneven fleet (default: 1)"
    )
    parser.add_argument(
        "--lab", type=Path, default=inventory.CHECKOUT / ".lab" / "bench", help="where everything lives"
    )
    return parser.parse_args(list(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
