# SPDX-License-Identifier: GPL-3.0-or-later
"""``make demo``: an image is built and rolled out over a pool of simulated nodes, with nothing but what anybody would type.

Starts a registry, makes a base image, installs nodes from it; then runs the collection's playbooks over an ordinary
inventory, twice, and checks from the nodes' own journals that the second run did nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lab import images, inventory
from lab.images import ImageBuildError
from lab.ledger import Booted, Ledger
from lab.node import Node, nodes
from lab.registry import Registry, RegistryError

EXAMPLE = Path(__file__).resolve().parent / "example"
POOL = "workers"
OLD_BOOTC = "1.1.6"
CURRENT_BOOTC = "1.16.9"
RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)")
STOP_SECONDS = 5.0  # Ansible itself sometimes hangs when interrupted: a worker died with the lock of the result queue


class DemoFailure(Exception):
    """The demo did not end as it should. The text says what was seen and what to do."""


@dataclasses.dataclass(frozen=True)
class Recap:
    """The counters of a run's last lines, over all hosts."""

    changed: int
    unreachable: int
    failed: int


def main(arguments: Sequence[str]) -> int:
    """Run the demo; returns the exit status."""
    options = _options(arguments)
    if os.geteuid() != 0:
        print("demo: the lab mounts the nodes' file systems, so it has to run as root", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with _alone(options.lab.absolute()), _stage(options) as demo:
            demo.build()
            demo.roll_out()
            demo.roll_out_again()
            demo.report()
        if options.keep:
            lab = f"{_relative(Path(sys.executable))} -m lab --lab {_relative(options.lab)}"
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
    """The stage on which the demo plays: a directory with a registry, nodes and an inventory."""

    directory: Path
    registry: Registry
    base: str
    began: float
    before: dict[str, Booted] = dataclasses.field(default_factory=dict)
    rollout: dict[str, Ledger] = dataclasses.field(default_factory=dict)

    @property
    def nodes(self) -> list[Node]:
        return nodes(self.directory)

    def build(self) -> None:
        """Build the layered image and push it."""
        _headline("1. Build the layered image and push it")
        self._run_playbook("build.yml")
        address, tag = self.registry.address, _image(self.registry.address)
        name, _separator, reference = tag.removeprefix(f"{address}/").rpartition(":")
        if self.registry.digest(name, reference) is None:
            raise DemoFailure(
                f"the build ended well, but the registry has no {tag}; its log is {self.directory}/registry"
            )

    def roll_out(self) -> None:
        """Bring all nodes onto the image."""
        _headline("2. Roll it out: stage everywhere, then reboot through a window of 2")
        self.before = {node.name: Booted.of(node.directory) for node in self.nodes}
        since = time.time()
        self._run_playbook("rollout.yml")
        self.rollout = {node.name: Ledger.of(node, since) for node in self.nodes}
        behind = [name for name, ledger in self.rollout.items() if ledger.reboots != 1]
        if behind:
            raise DemoFailure(f"each node should have booted once, but {', '.join(behind)} did not; see `lab journal`")

    def roll_out_again(self) -> None:
        """Run the same command again; it must find nothing to do."""
        _headline("3. The same command again: nothing may happen")
        since = time.time()
        recap = self._run_playbook("rollout.yml")
        ledgers = [Ledger.of(node, since) for node in self.nodes]
        reboots, pulled = sum(one.reboots for one in ledgers), sum(one.pulled_bytes for one in ledgers)
        print(
            f"\nsecond run: {recap.changed} changed, {reboots} reboots, {pulled} bytes pulled (from the nodes' journals)"
        )
        if recap.changed or reboots or pulled or sum(one.pulls for one in ledgers):
            raise DemoFailure(
                "the second run was not a no-op: that is a bug; the journals are kept below " + str(self.directory)
            )

    def report(self) -> None:
        """Who went from what to what, and how long each was out of service."""
        _headline("Report")
        rows = [("NODE", "BOOTC", "FROM", "TO", "OUT OF SERVICE", "PULLED", "ROUND TRIPS")]
        for node in self.nodes:
            before, after, ledger = self.before[node.name], Booted.of(node.directory), self.rollout[node.name]
            rows.append(
                (
                    node.name,
                    str(node.versions["bootc"]),
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
        print(f"\nAll of them follow {_image(self.registry.address)}. The demo took {time.time() - self.began:.0f} s.")

    def _run_playbook(self, playbook: str) -> Recap:
        """Show the command, run it, pass its output through; raises DemoFailure when it fails."""
        words = ["-i", _relative(self.directory / "inventory/hosts.yml"), f"playbooks/{playbook}"]
        words += ["-e", f"imagemode_pool={POOL}"]
        configuration = _relative(self.directory / "ansible.cfg")
        program = inventory.program("ansible-playbook")
        print(f"$ ANSIBLE_CONFIG={configuration} {_relative(Path(program))} {shlex.join(words)}\n", flush=True)
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(self.directory / "ansible.cfg"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONUNBUFFERED": "1",
            # The demo's builds leave nothing in the machine's own storage and cache: it goes with the directory.
            "CONTAINERS_STORAGE_CONF": str(self.directory / "storage.conf"),
            "XDG_CACHE_HOME": str(self.directory / "cache"),
        }
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", program, *words],  # it ends with us, however we end
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=inventory.CHECKOUT,
            env=environment,
            start_new_session=True,
        )
        changed = unreachable = failed = 0
        with _ended_with_us(process):
            for line in process.stdout or ():
                print(line, end="", flush=True)
                if recap := RECAP.match(line):
                    changed += int(recap[2])
                    unreachable += int(recap[3])
                    failed += int(recap[4])
            status = process.wait()
        if status != 0:
            raise DemoFailure(f"{playbook} ended with status {status}; what it saw is above")
        return Recap(changed, unreachable, failed)


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Refuse a second demo in the same directory: it would clear the first one's nodes away."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with directory.with_name(f"{directory.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoFailure(f"another demo runs in {_relative(directory)}: wait for its end, or stop it") from None
        yield


@contextlib.contextmanager
def _stage(options: argparse.Namespace) -> Iterator[Demo]:
    """Registry, base image, nodes and inventory; all of it stopped at the end, whatever the end."""
    began = time.time()
    directory: Path = options.lab.absolute()
    _headline("0. A registry, a base image and nodes to play with")
    if (directory / "nodes").exists():
        for node in nodes(directory):
            node.destroy()
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    with contextlib.ExitStack() as cleanup:
        registry = Registry.start(directory / "registry", outlives_us=options.keep)
        if not options.keep:
            cleanup.callback(registry.stop)
            cleanup.callback(_switch_off, directory)
        cleanup.callback(signal.signal, signal.SIGINT, signal.SIG_IGN)  # the first thing to do: finish the cleaning up
        print(f"registry    http://{registry.address}")
        base = images.build_base(registry.address, kargs_d={"10-base.toml": ["demo.base=1"]})
        print(f"base image  {base}")
        document = {"registry": registry.address, "base": base}
        (directory / "lab.json").write_text(json.dumps(document) + "\n")
        for number in range(1, options.nodes + 1):
            bootc = OLD_BOOTC if number == options.nodes and options.nodes > 1 else CURRENT_BOOTC
            node = Node.create(
                directory, f"node{number}", base, versions={"bootc": bootc}, boot_seconds=options.boot_seconds
            )
            print(f"node        {node.name}, bootc {bootc}, no Python")
        storage = {"graphroot": directory / "storage", "runroot": directory / "storage-run"}
        lines = [
            "[storage]",
            f'driver = "{images.STORAGE_DRIVER}"',
            *(f'{key} = "{path}"' for key, path in storage.items()),
        ]
        (directory / "storage.conf").write_text("\n".join(lines) + "\n")
        _write_inventory(directory, registry.address, base, options)
        yield Demo(directory, registry, base, began)


def _write_inventory(directory: Path, address: str, base: str, options: argparse.Namespace) -> None:
    variables: dict[str, Any] = {
        "imagemode_image": _image(address),
        "imagemode_max_unavailable": 2,
        "imagemode_validate_certs": False,
        "imagemode_store_path": str(directory / "rollouts"),
        "imagemode_build_base": base,
        "imagemode_build_containerfile": str(options.containerfile.absolute()),
        "imagemode_build_context": str((options.context or options.containerfile.parent).absolute()),
    }
    hosts = inventory.write(
        directory / "inventory",
        directory,
        {POOL: [node.name for node in nodes(directory)]},
        group_vars={POOL: variables},
    )
    inventory.write_configuration(directory, hosts)
    shown = _relative(directory / "inventory" / "group_vars" / f"{POOL}.yml")
    print(f"\n$ cat {shown}\n{(inventory.CHECKOUT / shown).read_text()}", end="")


def _switch_off(directory: Path) -> None:
    """End whatever still runs on the nodes; their journals stay for a look."""
    for node in nodes(directory):
        node.power_cut()


@contextlib.contextmanager
def _ended_with_us(process: subprocess.Popen[str]) -> Iterator[None]:
    """Interrupt the run when we are interrupted, as a person's Ctrl-C would, and insist when it does not end."""
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if process.poll() is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)


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


def _image(address: str) -> str:
    return f"{address}/fleet/node:demo"


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]


def _relative(path: Path) -> str:
    """As short as it can be typed in the checkout."""
    full = path.absolute()
    return str(full.relative_to(inventory.CHECKOUT) if full.is_relative_to(inventory.CHECKOUT) else full)


def _headline(text: str) -> None:
    print(f"\n=== {text}\n", flush=True)


def _interrupt(number: int, frame: object) -> None:
    del number, frame
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
