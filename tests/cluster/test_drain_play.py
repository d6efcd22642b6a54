# SPDX-License-Identifier: GPL-3.0-or-later
"""node_drain and node_cluster_info in plays of the real ansible-playbook, over hosts that cannot be reached."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.cluster import Cluster
from cluster.draining import annotation, token_of

ROOT = Path(__file__).resolve().parents[2]
UNREACHABLE = {
    "ansible_connection": "ssh",
    "ansible_host": "192.0.2.1",
    "ansible_ssh_common_args": "-o ConnectTimeout=1",
}


class Play:
    """A project with the pool `workers` of these nodes; `n1` is called `first` in the inventory, and a template tells so."""

    def __init__(self, directory: Path, kubeconfig: Path, *nodes: str) -> None:
        self.directory = directory
        hosts: dict[str, dict[str, Any]] = {node: {} for node in nodes}
        if "n1" in hosts:
            hosts = {
                "first": {"imagemode_node_name": "n{{ number }}", "number": 1},
                **{n: v for n, v in hosts.items() if n != "n1"},
            }
        inventory = {"workers": {"hosts": hosts, "vars": UNREACHABLE}}
        (directory / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
        self.kubeconfig = kubeconfig

    def begin(self, *tasks: dict[str, Any], arguments: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        book = [{"hosts": "workers", "gather_facts": False, "strategy": "free", "tasks": list(tasks)}]
        (self.directory / "play.yml").write_text(yaml.safe_dump(book), encoding="utf-8")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
            "KUBECONFIG": str(self.kubeconfig),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_HOME": str(self.directory / "home"),
        }
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "hosts.yml", "-f", "5", "play.yml"]
        return subprocess.Popen(
            [*command, *arguments],
            cwd=self.directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *tasks: dict[str, Any], arguments: tuple[str, ...] = ()) -> tuple[int, str]:
        process = self.begin(*tasks, arguments=arguments)
        output, _nothing = process.communicate(timeout=240)
        return process.returncode, output

    def results(self, host: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.directory / f"{host}.json").read_text(encoding="utf-8"))
        return found


def drain(**options: Any) -> dict[str, Any]:
    return {
        "imagemode.nodes.node_drain": {"pool": "workers", "deadline": "60s", **options},
        "register": "drained",
    }


KEEP = {
    "ansible.builtin.copy": {
        "content": "{{ drained | to_json }}",
        "dest": "{{ playbook_dir }}/{{ inventory_hostname }}.json",
    },
    "delegate_to": "localhost",
    "vars": {"ansible_connection": "local", "ansible_host": "localhost"},
}


@pytest.fixture
def play(cluster: Cluster, tmp_path: Path) -> Play:
    cluster.node("n1")
    cluster.node("n2")
    cluster.node("n3")
    return Play(tmp_path, cluster.kubeconfig("rollout"), "n1", "n2")


def test_nodes_are_drained_and_taken_back_without_a_connection_to_them(cluster: Cluster, play: Play) -> None:
    namespace = cluster.namespace()
    cluster.pod(namespace, "n1", "web")
    cluster.pod(namespace, "n2", "db")
    rc, output = play.run(drain(), KEEP, arguments=("--diff",))
    assert rc == 0, output
    assert play.results("first")["msg"].startswith("workers: n1 is drained: 1 pod moved in ")
    assert "workers: n2 drains: 1 pod to move" in output
    assert "+++ after" in output
    assert cluster.is_cordoned("n1")
    assert cluster.is_cordoned("n2")
    info = {"imagemode.nodes.node_cluster_info": {"pool": "workers"}, "run_once": True, "register": "drained"}
    rc, output = play.run(info, KEEP)
    assert rc == 0, output
    assert {host: node["name"] for host, node in play.results("first")["nodes"].items()} == {"first": "n1", "n2": "n2"}
    rc, output = play.run(drain(state="uncordoned"), KEEP)
    assert rc == 0, output
    assert not cluster.is_cordoned("n1")


def test_no_cluster_to_be_found(play: Play) -> None:
    play.kubeconfig = play.directory / "nowhere"
    rc, output = play.run(drain())
    assert rc == 2
    assert "nowhere" in output
    assert "KUBECONFIG" in output


def test_a_worker_whose_play_was_killed_ends_and_the_next_run_goes_on(cluster: Cluster, play: Play) -> None:
    """A worker that went on alone would lift the cordon at its deadline, while the next run reboots the node."""
    namespace = cluster.namespace()
    cluster.pod(namespace, "n1", "db", labels={"app": "db"})
    cluster.budget(namespace, "keep", labels={"app": "db"}, min_available=1)
    process = play.begin(drain(deadline="12s"), arguments=("--limit", "first"))
    cluster.wait_for(lambda: bool(cluster.requests("rollout", "create", "pods/eviction")), "nothing was evicted")
    os.kill(process.pid, signal.SIGKILL)
    killed = time.time()
    process.wait()
    time.sleep(14)
    assert annotation(cluster, "n1") == "workers"
    assert max(request.at for request in cluster.requests("rollout")) < killed + 6
    cluster.set_budget(namespace, "keep", min_available=0)
    rc, output = play.run(drain(), KEEP, arguments=("--limit", "first"))
    assert rc == 0, output
    assert play.results("first")["cordoned_by_us"]
    rc, output = play.run(drain(state="uncordoned"), arguments=("--limit", "first"))
    assert rc == 0, output
    assert not cluster.is_cordoned("n1")


def test_what_a_credential_program_says_is_told_nobody(cluster: Cluster, play: Play) -> None:
    """Programs print tokens, also in what they complain about."""
    token = token_of(cluster.kubeconfig("rollout"))
    program = play.directory / "credentials"
    program.write_text(f"#!/bin/sh\necho 'no: {token}' >&2\nexit 1\n", encoding="utf-8")
    program.chmod(0o755)
    config = yaml.safe_load(cluster.kubeconfig("rollout").read_text(encoding="utf-8"))
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(program), "interactiveMode": "Never"}
    config["users"][0]["user"] = {"exec": command}
    play.kubeconfig = play.directory / "exec.yml"
    play.kubeconfig.write_text(yaml.safe_dump(config), encoding="utf-8")
    rc, output = play.run(drain(), arguments=("-vvv",))
    assert rc == 2
    assert "credential program" in output
    assert token not in output
