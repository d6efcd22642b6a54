# SPDX-License-Identifier: GPL-3.0-or-later
"""``make demo``: an image is built and rolled out over a pool of simulated nodes, with nothing but what anybody would type.

Starts a registry, makes base images, installs nodes from one, half of them with bootc and half with rpm-ostree; then runs
the collection's playbooks over an ordinary inventory: the build, the rollout, the rollout again, and the migration of the
rpm-ostree nodes to bootc. What they say is checked against the nodes' own journals.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lab import demo_playbook, demo_stage, inventory, session
from lab.demo_playbook import DemoFailure, Recap, relative
from lab.demo_stage import POOL, Stage
from lab.images import ImageBuildError
from lab.ledger import Booted, Ledger
from lab.node import Node
from lab.registry import RegistryError

EXAMPLE = Path(__file__).resolve().parent / "example"


def main(arguments: Sequence[str]) -> int:
    """Run the demo; returns the exit status."""
    options = _options(arguments)
    if os.geteuid() != 0:
        print("demo: the lab mounts the nodes' file systems, so it has to run as root", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, _interrupt)
    began = time.time()
    try:
        with demo_stage.alone(options.lab.absolute()):
            _headline("0. A registry, base images and nodes to play with: one half has bootc, the other rpm-ostree")
            with demo_stage.set_up(options) as stage:
                demo = Demo(stage)
                demo.build()
                demo.roll_out()
                demo.roll_out_again()
                demo.migrate()
                demo.report()
                print(f"\nAll of them follow {stage.image}. The demo took {time.time() - began:.0f} s.")
        if options.keep:
            lab = f"{relative(Path(sys.executable))} -m lab --lab {relative(options.lab)}"
            print(f"\nKept running. Look around with `{lab} status`, end it with `{lab} down`.")
        return 0
    except KeyboardInterrupt:
        print("\ndemo: interrupted; nothing is left running", file=sys.stderr)
        return 130
    except (DemoFailure, RegistryError, ImageBuildError) as failure:
        print(f"\ndemo: {failure}", file=sys.stderr)
        return 1


@dataclasses.dataclass
class Demo:
    """The acts, in order."""

    stage: Stage
    before: dict[str, Booted] = dataclasses.field(default_factory=dict)
    rollout: dict[str, Ledger] = dataclasses.field(default_factory=dict)

    @property
    def nodes(self) -> list[Node]:
        return self.stage.nodes

    def build(self) -> None:
        """Build the layered image and push it."""
        _headline("1. Build the layered image and push it")
        self._run("build.yml")
        address, tag = self.stage.registry.address, self.stage.image
        name, _separator, reference = tag.removeprefix(f"{address}/").rpartition(":")
        if self.stage.registry.digest(name, reference) is None:
            raise DemoFailure(
                f"the build ended well, but the registry has no {tag}; its log is {self.stage.directory}/registry"
            )

    def roll_out(self) -> None:
        """Bring all nodes onto the image."""
        _headline("2. Roll it out with each node's own tool: stage everywhere, then reboot through a window of 2")
        self.before = {node.name: Booted.of(node.directory) for node in self.nodes}
        since = time.time()
        self._run("rollout.yml")
        self.rollout = {node.name: Ledger.of(node, since) for node in self.nodes}
        behind = [name for name, ledger in self.rollout.items() if ledger.reboots != 1]
        if behind:
            raise DemoFailure(f"each node should have booted once, but {', '.join(behind)} did not; see `lab journal`")

    def roll_out_again(self) -> None:
        """Run the same command again; it must find nothing to do."""
        _headline("3. The same command again: nothing may happen")
        self._run_for_nothing("rollout.yml", "second run")

    def migrate(self) -> None:
        """Have bootc look after the rpm-ostree nodes too; their image brought it, so that must cost nothing."""
        moved = [node for node in self.nodes if self.stage.tools[node.name].startswith("rpm-ostree")]
        if not moved:
            return
        _headline(
            f"4. Migrate {', '.join(node.name for node in moved)} from rpm-ostree to bootc, which the image brought"
        )
        self._run_for_nothing("migrate.yml", "migration")
        print()
        for node in moved:
            answer = session.run(node, "bootc status --json", stdin=b"")
            booted = json.loads(answer.stdout)["status"]["booted"] if answer.rc == 0 else {}
            if not booted or booted["incompatible"] or booted["image"] is None:
                raise DemoFailure(f"bootc does not look after {node.name}: {(answer.stderr or answer.stdout).decode()}")
            print(f"$ bootc status    # on {node.name}\nBooted image: {booted['image']['image']['image']}")

    def report(self) -> None:
        """Who went from what to what, and how long each was out of service."""
        _headline("Report")
        rows = [("NODE", "UPDATED BY", "FROM", "TO", "OUT OF SERVICE", "PULLED", "ROUND TRIPS")]
        for node in self.nodes:
            before, after, ledger = self.before[node.name], Booted.of(node.directory), self.rollout[node.name]
            rows.append(
                (
                    node.name,
                    self.stage.tools[node.name],
                    f"{before.version} {_short(before.digest)}",
                    f"{after.version} {_short(after.digest)}",
                    f"{ledger.out_of_service:.1f} s",
                    f"{ledger.pulled_bytes / 1000:.0f} kB",
                    str(ledger.round_trips),
                )
            )
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    def _run(self, playbook: str) -> Recap:
        return demo_playbook.run(self.stage.directory, playbook, POOL)

    def _run_for_nothing(self, playbook: str, name: str) -> None:
        """A run that must change nothing, by its own recap and by the nodes' journals."""
        since = time.time()
        recap = self._run(playbook)
        ledgers = [Ledger.of(node, since) for node in self.nodes]
        reboots, pulled = sum(one.reboots for one in ledgers), sum(one.pulled_bytes for one in ledgers)
        print(f"\n{name}: {recap.changed} changed, {reboots} reboots, {pulled} bytes pulled (from the nodes' journals)")
        if recap.changed or reboots or pulled or sum(one.pulls for one in ledgers):
            raise DemoFailure(
                f"the {name} was not a no-op: that is a bug; the journals are kept below {self.stage.directory}"
            )


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--containerfile", type=Path, help="what to build on top of the base image")
    parser.add_argument("--context", type=Path, help="build context (default: the directory of the Containerfile)")
    parser.add_argument("--nodes", type=int, default=6, help="how many nodes (default: 6)")
    parser.add_argument("--boot-seconds", type=float, default=2.0, help="how long a node boots (default: 2)")
    parser.add_argument("--keep", action="store_true", help="leave registry and nodes running at the end, to play with")
    parser.add_argument("--lab", type=Path, default=inventory.CHECKOUT / ".lab" / "demo", help="where everything lives")
    options = parser.parse_args(list(arguments))
    if options.containerfile is None and options.context is not None:
        options.containerfile = options.context / "Containerfile"
    options.containerfile = options.containerfile or EXAMPLE / "Containerfile"
    if not options.containerfile.is_file():
        parser.error(f"there is no Containerfile at {options.containerfile}")
    if options.context is not None and not options.context.is_dir():
        parser.error(f"there is no directory {options.context} to build in")
    if options.nodes < 1:
        parser.error("a rollout needs at least one node")
    return options


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]


def _headline(text: str) -> None:
    print(f"\n=== {text}\n", flush=True)


def _interrupt(number: int, frame: object) -> None:
    del number, frame
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
