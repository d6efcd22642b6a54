# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of the node lab: create nodes, look at them, break them, destroy them."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from lab import enter, faults, images, inventory, status
from lab.images import ImageBuildError
from lab.node import REFSPEC, Node, nodes
from lab.registry import Registry, RegistryError
from lab.session import ConnectionLost, ConnectionRefused, run
from lab.simulators.ostree_remote import OstreeRemote

EPILOG = """\
A first session:
  python -m lab up --nodes 3              registry, base image, three nodes n1 to n3, an inventory
  python -m lab status                    who is up, on which image, what is staged
  python -m lab run n1 bootc status       one command on a node
  python -m lab break n2 boot-hangs       the next reboot of n2 does not come back
  python -m lab mend n2
  python -m lab down                      remove everything

Playbooks reach the nodes with the files that `up` and `inventory` write:
  ANSIBLE_CONFIG=.lab/ansible.cfg ansible-playbook PLAYBOOK
"""


class Mistake(Exception):
    """The command cannot be carried out as given. The text says why and what to do."""


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(list(arguments))
    action: Callable[[argparse.Namespace], int] = options.action
    if os.geteuid() != 0:
        print("lab: the lab mounts the nodes' file systems, so it has to run as root", file=sys.stderr)
        return 1
    try:
        return action(options)
    except (Mistake, RegistryError, ImageBuildError, ConnectionRefused, ConnectionLost, faults.UnknownFault) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    default = Path(os.environ.get("IMAGEMODE_LAB", inventory.CHECKOUT / ".lab"))
    parser = argparse.ArgumentParser(
        prog="python -m lab",
        description="Simulated image-mode hosts on this machine, for ansible-playbook and for your hands.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--lab", type=Path, default=default, help="directory of the lab (default: %(default)s)")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, action: Callable[[argparse.Namespace], int], text: str, *names: str) -> Any:
        sub = commands.add_parser(name, help=text, description=text, aliases=names)
        sub.set_defaults(action=action)
        return sub

    up = command("up", _up, "start the registry, make a base image and nodes, write an inventory")
    up.add_argument("--nodes", type=int, default=3, metavar="N", help="how many nodes there shall be (default: 3)")
    _add_node_options(up)
    create = command("create", _create, "create one node and boot it")
    create.add_argument("node")
    _add_node_options(create)
    command("status", _status, "table of all nodes", "list")
    shell = command("shell", _shell, "a shell on a node, or one command with your terminal")
    shell.add_argument("node")
    shell.add_argument("words", nargs=argparse.REMAINDER, metavar="cmd")
    once = command("run", _run, "run one command on a node, as Ansible would")
    once.add_argument("--tty", action="store_true", help="with a terminal: merged streams, CRLF")
    once.add_argument("--user", default="root")
    once.add_argument("node")
    once.add_argument("words", nargs=argparse.REMAINDER, metavar="cmd")
    journal = command("journal", _journal, "what happened on a node, in order")
    journal.add_argument("node")
    journal.add_argument("--event", help="only entries of this kind: connect, exec, tool, pull, boot, shutdown, fault")
    journal.add_argument("--json", action="store_true", help="as JSON lines")
    publish = command("publish", _publish, "put an image's content on an ostree branch, as its newest commit")
    publish.add_argument("refspec", metavar="REMOTE:BRANCH")
    publish.add_argument("image")
    publish.add_argument("--version", metavar="V", help="version of the commit (default: the image's)")
    command("faults", _faults, "the faults there are, and their parameters")
    breaking = command("break", _break, "inject a fault (see: faults)")
    breaking.add_argument("node")
    breaking.add_argument("fault")
    breaking.add_argument("parameters", nargs="*", metavar="name=value")
    mend = command("mend", _mend, "clear one fault of a node, or all of them")
    mend.add_argument("node")
    mend.add_argument("fault", nargs="?")
    for name, method, text in (
        ("power-cut", Node.power_cut, "cut the power of a node: nothing is finalized, what is staged is lost"),
        ("boot", Node.boot, "switch a node on that is off"),
        ("destroy", Node.destroy, "remove a node"),
    ):
        sub = command(name, _for_each(method), text)
        sub.add_argument("nodes", nargs="+", metavar="node")
    listing = command("inventory", _inventory, "write an inventory of all nodes and an ansible.cfg")
    listing.add_argument("--group", default="workers", help="the group the nodes are in (default: workers)")
    listing.add_argument("--stdout", action="store_true", help="print the inventory and write nothing")
    command("down", _down, "destroy all nodes, stop the registry, remove the lab")
    return parser


def _add_node_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", help="image to install (default: the lab's base image)")
    parser.add_argument("--bootc-version", default="1.16.9", metavar="V", help="1.16.9 (default), 1.1.6, or none")
    parser.add_argument("--rpm-ostree-version", default="2026.2", metavar="V", help="2026.2 (default), 2024.6, or none")
    parser.add_argument("--origin", choices=("container", "ostree"), default="container")
    parser.add_argument("--refspec", default=REFSPEC, help="what --origin ostree follows (default: %(default)s)")
    parser.add_argument("--python", action="store_true", help="give the node a Python")
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS", help="added to every round trip")
    parser.add_argument("--boot-seconds", type=float, default=1.0, metavar="SECONDS", help="how long a boot takes")


def _up(options: argparse.Namespace) -> int:
    lab = _lab(options)
    lab.mkdir(parents=True, exist_ok=True)
    registry = Registry.running(lab / "registry")
    if registry is None:
        registry = Registry.start(lab / "registry", port=_known(lab).get("port"), outlives_us=True)
        print(f"registry    http://{registry.address}")
    base = images.build_base(registry.address)
    port = int(registry.address.rpartition(":")[2])
    (lab / "lab.json").write_text(json.dumps({"registry": registry.address, "port": port, "base": base}) + "\n")
    print(f"base image  {base}")
    existing = {node.name for node in nodes(lab)}
    for number in range(1, options.nodes + 1):
        name = f"n{number}"
        if name not in existing:
            _make(options, lab, name)
            print(f"node        {name}")
    inventory_path, configuration = _write_inventory(lab, "workers")
    print(f"inventory   {inventory_path}")
    print(f"\nTry:  ANSIBLE_CONFIG={configuration} {inventory.program('ansible')} workers -m raw -a 'bootc status'")
    return 0


def _create(options: argparse.Namespace) -> int:
    lab = _lab(options)
    if options.node in {node.name for node in nodes(lab)}:
        raise Mistake(f"there is a node {options.node} already; `lab destroy {options.node}` removes it")
    node = _make(options, lab, options.node)
    _write_inventory(lab, "workers")
    print(f"{node.name} is up")
    return 0


def _make(options: argparse.Namespace, lab: Path, name: str) -> Node:
    image = options.image or _known(lab).get("base")
    if image is None:
        raise Mistake(f"the lab {lab} has no base image yet: run `lab up` first, or say which image with --image")
    versions = {
        "bootc": None if options.bootc_version == "none" else options.bootc_version,
        "rpm-ostree": None if options.rpm_ostree_version == "none" else options.rpm_ostree_version,
        "ostree": "2026.4",
    }
    return Node.create(
        lab,
        name,
        image,
        versions=versions,
        python=options.python,
        latency=options.latency,
        boot_seconds=options.boot_seconds,
        origin=options.origin,
        refspec=options.refspec,
    )


def _status(options: argparse.Namespace) -> int:
    lab = _lab(options)
    registry = Registry.running(lab / "registry")
    print(f"registry: {'http://' + registry.address if registry else 'not running'}")
    found = nodes(lab)
    print(status.table(found) if found else f"no nodes in {lab}; `lab up` makes some")
    return 0


def _shell(options: argparse.Namespace) -> int:
    node = _node(options)
    if not node.is_up():
        raise Mistake(f"{node.name} is down; `lab boot {node.name}` switches it on")
    argv = ["/bin/sh", "-c", " ".join(options.words)] if options.words else ["/bin/sh", "-i"]
    return subprocess.run(enter.command(node, argv), check=False).returncode


def _run(options: argparse.Namespace) -> int:
    if not options.words:
        raise Mistake("say which command to run, for example: lab run n1 bootc status")
    result = run(_node(options), " ".join(options.words), user=options.user, tty=options.tty)
    sys.stdout.buffer.write(result.stdout)
    sys.stdout.flush()
    sys.stderr.buffer.write(result.stderr)
    return result.rc


def _journal(options: argparse.Namespace) -> int:
    for entry in _node(options).journal.read(options.event):
        if options.json:
            print(json.dumps(entry))
            continue
        moment = time.strftime("%H:%M:%S", time.localtime(entry["t"])) + f"{entry['t'] % 1:.3f}"[1:]
        rest = " ".join(f"{name}={_brief(value)}" for name, value in entry.items() if name not in ("t", "event"))
        print(f"{moment}  {entry['event']:<8}  {rest}")
    return 0


def _faults(options: argparse.Namespace) -> int:
    del options
    print(faults.as_table())
    return 0


def _publish(options: argparse.Namespace) -> int:
    remote, colon, branch = options.refspec.partition(":")
    if not colon or not branch:
        raise Mistake(f"{options.refspec!r} is not of the form REMOTE:BRANCH")
    print(OstreeRemote(_lab(options), remote).commit(branch, options.image, version=options.version))
    return 0


def _break(options: argparse.Namespace) -> int:
    node = _node(options)
    parameters: dict[str, Any] = {}
    for word in options.parameters:
        name, equals, value = word.partition("=")
        if not equals:
            raise Mistake(f"{word!r} is not of the form name=value")
        parameters[name] = yaml.safe_load(value)
    node.inject(options.fault, **parameters)
    print(f"{node.name}: {options.fault}")
    return 0


def _mend(options: argparse.Namespace) -> int:
    node = _node(options)
    present = list(node.faults)
    if options.fault is not None and options.fault not in present:
        raise Mistake(f"{node.name} has no fault {options.fault}; it has: {', '.join(present) or 'none'}")
    for name in present if options.fault is None else [options.fault]:
        node.clear(name)
        print(f"{node.name}: {name} cleared")
    return 0


def _for_each(method: Callable[[Node], object]) -> Callable[[argparse.Namespace], int]:
    def act(options: argparse.Namespace) -> int:
        chosen = [_load(options, name) for name in options.nodes]
        for node in chosen:
            method(node)
        return 0

    return act


def _inventory(options: argparse.Namespace) -> int:
    lab = _lab(options)
    if options.stdout:
        names = [node.name for node in nodes(lab)]
        print(yaml.safe_dump(inventory.as_document(lab, {options.group: names}), sort_keys=False), end="")
        return 0
    path, configuration = _write_inventory(lab, options.group)
    print(f"{path}\n{configuration}")
    return 0


def _down(options: argparse.Namespace) -> int:
    lab = _lab(options)
    for node in nodes(lab):
        node.destroy()
    registry = Registry.running(lab / "registry")
    if registry is not None:
        registry.stop()
    shutil.rmtree(lab, ignore_errors=True)
    return 0


def _write_inventory(lab: Path, group: str) -> tuple[Path, Path]:
    path = inventory.write(lab / "inventory", lab, {group: [node.name for node in nodes(lab)]})
    return path, inventory.write_configuration(lab, path)


def _lab(options: argparse.Namespace) -> Path:
    lab: Path = options.lab
    return lab.absolute()


def _known(lab: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads((lab / "lab.json").read_text())
    except FileNotFoundError:
        return {}
    return document


def _node(options: argparse.Namespace) -> Node:
    return _load(options, options.node)


def _load(options: argparse.Namespace, name: str) -> Node:
    lab = _lab(options)
    try:
        return Node.load(lab, name)
    except FileNotFoundError:
        known = ", ".join(node.name for node in nodes(lab)) or "none"
        raise Mistake(f"there is no node {name} in {lab}; there are: {known}") from None


def _brief(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    text = " ".join(text.split())
    return text if len(text) <= 100 else f"{text[:97]}..."
