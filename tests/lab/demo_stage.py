# SPDX-License-Identifier: GPL-3.0-or-later
"""The stage on which the demo plays: a directory with a registry, images, nodes of several kinds and an inventory."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab import images, inventory
from lab.demo_playbook import DemoFailure, relative
from lab.node import Node, nodes
from lab.registry import Registry

POOL = "workers"
BOOTC, OLD_BOOTC = "1.16.9", "1.1.6"
RPM_OSTREE, OLD_RPM_OSTREE = "2026.2", "2024.6"
KERNEL_ARGUMENTS = {"10-base.toml": ["demo.base=1"]}


@dataclasses.dataclass(frozen=True)
class Stage:
    """``tools`` has of every node the tool, and its version, that it was installed with."""

    directory: Path
    registry: Registry
    tools: dict[str, str]

    @property
    def nodes(self) -> list[Node]:
        return nodes(self.directory)

    @property
    def image(self) -> str:
        """What the pool wants, by tag."""
        return wanted_image(self.registry.address)


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Refuse a second demo in the same directory: it would clear the first one's nodes away."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with directory.with_name(f"{directory.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoFailure(f"another demo runs in {relative(directory)}: wait for its end, or stop it") from None
        yield


@contextlib.contextmanager
def set_up(options: argparse.Namespace) -> Iterator[Stage]:
    """Everything, started; all of it stopped at the end, whatever the end."""
    directory: Path = options.lab.absolute()
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
        installed = images.build_base(registry.address, tag="installed", version="1.0", kargs_d=KERNEL_ARGUMENTS)
        print(f"installed   {installed}")
        brought = {"/usr/lib/lab/tools.json": json.dumps({"bootc": BOOTC})}
        base = images.build_base(registry.address, version="1.1", kargs_d=KERNEL_ARGUMENTS, extra_files=brought)
        print(f"base image  {base}, newer, and with bootc {BOOTC}")
        document = {"registry": registry.address, "base": base}
        (directory / "lab.json").write_text(json.dumps(document) + "\n")
        tools = _install(directory, installed, options)
        _write_storage(directory)
        _write_inventory(directory, registry.address, base, options)
        yield Stage(directory, registry, tools)


def _install(directory: Path, image: str, options: argparse.Namespace) -> dict[str, str]:
    """Nodes with bootc alone, then as many with rpm-ostree alone; the last of each kind with an old version."""
    found = {}
    of_bootc = (options.nodes + 1) // 2
    for number in range(1, options.nodes + 1):
        name = f"node{number}"
        if number <= of_bootc:
            tool, version = "bootc", OLD_BOOTC if number == of_bootc > 1 else BOOTC
        else:
            tool, version = "rpm-ostree", OLD_RPM_OSTREE if number == options.nodes > of_bootc + 1 else RPM_OSTREE
        versions = {"bootc": None, "rpm-ostree": None, tool: version}
        Node.create(directory, name, image, versions=versions, boot_seconds=options.boot_seconds)
        found[name] = f"{tool} {version}"
        print(f"node        {name}, {found[name]}, no Python")
    return found


def _write_storage(directory: Path) -> None:
    storage = {"graphroot": directory / "storage", "runroot": directory / "storage-run"}
    lines = [
        "[storage]",
        f'driver = "{images.STORAGE_DRIVER}"',
        *(f'{key} = "{path}"' for key, path in storage.items()),
    ]
    (directory / "storage.conf").write_text("\n".join(lines) + "\n")


def _write_inventory(directory: Path, address: str, base: str, options: argparse.Namespace) -> None:
    variables: dict[str, Any] = {
        "imagemode_image": wanted_image(address),
        "imagemode_max_unavailable": 2,
        "imagemode_validate_certs": False,
        "imagemode_health_checks": [{"failed_units": {}}],
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
    shown = relative(directory / "inventory" / "group_vars" / f"{POOL}.yml")
    print(f"\n$ cat {shown}\n{(inventory.CHECKOUT / shown).read_text()}", end="")


def _switch_off(directory: Path) -> None:
    """End whatever still runs on the nodes; their journals stay for a look."""
    for node in nodes(directory):
        node.power_cut()


def wanted_image(address: str) -> str:
    """The image that the demo builds and rolls out."""
    return f"{address}/fleet/node:demo"
