# SPDX-License-Identifier: GPL-3.0-or-later
"""What ansible-playbook needs to reach a lab: an ordinary inventory, and an ansible.cfg that finds the connection."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lab import node_python
from lab.node import Node

CHECKOUT = Path(__file__).resolve().parents[2]
CONNECTION_PLUGINS = Path(__file__).resolve().parent / "connection"


def connection_variables(lab: Path) -> dict[str, Any]:
    """The variables of every host of a lab. ``localhost`` must not get them: put them on the lab's own group."""
    return {"ansible_connection": "lab", "lab_directory": str(lab)}


def as_document(lab: Path, groups: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The inventory as Ansible's YAML plugin reads it: group name to node names, all of them below ``lab_nodes``."""
    children = {name: {"hosts": {host: _host_variables(lab, host) for host in hosts}} for name, hosts in groups.items()}
    return {"all": {"children": {"lab_nodes": {"vars": connection_variables(lab), "children": children}}}}


def _host_variables(lab: Path, name: str) -> dict[str, Any]:
    try:
        has_python = Node.load(lab, name).python
    except FileNotFoundError:  # an inventory may name what does not exist
        has_python = False
    return {"ansible_python_interpreter": node_python.INSIDE} if has_python else {}


def write(
    directory: Path,
    lab: Path,
    groups: Mapping[str, Sequence[str]],
    *,
    group_vars: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """Write ``hosts.yml`` and ``group_vars/*.yml`` below ``directory``; return the path of the inventory."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "hosts.yml"
    path.write_text(_dump(as_document(lab, groups)))
    for group, variables in (group_vars or {}).items():
        (directory / "group_vars").mkdir(exist_ok=True)
        (directory / "group_vars" / f"{group}.yml").write_text(_dump(dict(variables)))
    return path


def write_configuration(directory: Path, inventory: Path, *, forks: int = 10) -> Path:
    """Write an ``ansible.cfg`` that finds the lab's connection plugin; return its path (for ANSIBLE_CONFIG)."""
    path = directory / "ansible.cfg"
    path.write_text(
        "[defaults]\n"
        f"inventory = {inventory}\n"
        f"connection_plugins = {CONNECTION_PLUGINS}\n"
        f"local_tmp = {directory / 'tmp'}\n"
        f"forks = {forks}\n"
        "host_key_checking = False\n"
        "retry_files_enabled = False\n"
        "stdout_callback = default\n"
        "nocolor = True\n"
        "interpreter_python = auto_silent\n"
        "\n[connection]\npipelining = True\n"
    )
    return path


def program(name: str) -> str:
    """Path of one of Ansible's commands: of the virtual environment that runs us."""
    return str(Path(sys.executable).parent / name)


def _dump(document: Mapping[str, Any]) -> str:
    return "---\n" + yaml.safe_dump(dict(document), sort_keys=False, default_flow_style=False, width=120)
