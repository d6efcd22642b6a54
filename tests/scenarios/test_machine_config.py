# SPDX-License-Identifier: GPL-3.0-or-later
"""MachineConfigs through the real ansible: rendered on the controller by the role, and the nodes' own files put on the nodes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from lab.fixtures import MakeNode, RunPlaybook
from lab.session import run as on_node

SECRET = "hush-hush-hush"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPzDs9EY41jScGvsB0kZbbfuJ4mtMn9fn4B1qE7H3lvX me"


def machine_config(name: str, role: str, **config: Any) -> dict[str, Any]:
    return {
        "apiVersion": "machineconfiguration.openshift.io/v1",
        "kind": "MachineConfig",
        "metadata": {"name": name, "labels": {"machineconfiguration.openshift.io/role": role}},
        "spec": {"kernelArguments": ["nosmt"], "config": {"ignition": {"version": "3.2.0"}, **config}},
    }


FILES = {
    "files": [
        {"path": "/etc/fleet.conf", "mode": 0o644, "contents": {"source": "data:,fleet"}},
        {"path": "/etc/fleet.token", "mode": 0o600, "contents": {"source": f"data:,{SECRET}"}},
    ]
}


def project(directory: Path, *documents: Any) -> dict[str, Any]:
    """The variables of a pool whose documents are in one file."""
    source = directory / "machine-configs"
    source.mkdir(exist_ok=True)
    (source / "pool.yaml").write_text(yaml.safe_dump_all(documents))
    return {"imagemode_machine_configs": [str(source)], "imagemode_machine_config_dest": str(directory / "rendered")}


def play(variables: dict[str, Any], *entries: str) -> list[dict[str, Any]]:
    roles = [
        {"name": entry, "ansible.builtin.include_role": {"name": "imagemode.nodes.machine_config", "tasks_from": entry}}
        for entry in entries
    ]
    return [{"hosts": "workers", "gather_facts": False, "vars": variables, "tasks": roles}]


RENDER, APPLY = "Render the machine configuration of the pool", "Put them on the nodes"


def test_a_pool_is_rendered_once_and_its_nodes_get_their_own_files(
    make_node: MakeNode, run_playbook: RunPlaybook, tmp_path: Path
) -> None:
    nodes = [make_node("n1"), make_node("n2")]
    documents = (
        machine_config("50-keys", "worker", passwd={"users": [{"name": "root", "sshAuthorizedKeys": [KEY]}]}),
        machine_config("50-files", "worker", storage=FILES),
        machine_config("50-master", "master"),
    )
    variables = project(tmp_path, *documents)
    run = run_playbook(play(variables, "main", "host_files"), arguments=["--diff", "-vv"])
    assert run.rc == 0, run.stdout
    (rendered,) = run.results(RENDER)
    assert (rendered["changed"], rendered["sources"], rendered["left_out"]) == (
        True,
        ["50-files", "50-keys"],
        ["50-master"],
    )
    assert {file["path"]: file["owner"] for file in rendered["files"]} == {
        "/etc/fleet.conf": "image",
        "/etc/fleet.token": "host",
        "/usr/lib/bootc/kargs.d/50-machine-config.toml": "image",
        "/var/roothome/.ssh/authorized_keys.d/ignition": "host",
    }
    for node in nodes:
        command = "cat /etc/fleet.token /var/roothome/.ssh/authorized_keys.d/ignition; ls /etc/fleet.conf"
        assert on_node(node, command, stdin=b"").stdout.decode() == f"{SECRET}{KEY}\n"
    assert SECRET not in run.stdout
    assert SECRET not in json.dumps(run.results())
    again = run_playbook(play(variables, "main", "host_files"))
    assert [again.recap(name)["changed"] for name in ("n1", "n2")] == [0, 0]


def test_check_mode_renders_nothing(make_node: MakeNode, run_playbook: RunPlaybook, tmp_path: Path) -> None:
    make_node("n1")
    variables = project(tmp_path, machine_config("50-files", "worker", storage=FILES))
    (checked,) = run_playbook(play(variables, "main"), arguments=["--check"]).results(RENDER)
    assert checked["changed"] is True
    assert not (tmp_path / "rendered").exists()


def test_what_cannot_be_honoured_fails_with_document_and_field(
    make_node: MakeNode, run_playbook: RunPlaybook, tmp_path: Path
) -> None:
    make_node("n1")
    disk = {"disks": [{"device": "/dev/sdb", "wipeTable": True}], **FILES}
    variables = project(tmp_path, machine_config("50-disks", "worker", storage=disk))
    (refused,) = run_playbook(play(variables, "main")).results(RENDER)
    assert refused["event"] == "runner_on_failed"
    (problem,) = refused["problems"]
    assert "50-disks" in problem
    assert "storage.disks[0]" in problem
    accepted = run_playbook(play({**variables, "imagemode_machine_config_acceptable": ["storage.disks"]}, "main"))
    (rendered,) = accepted.results(RENDER)
    assert [one["field"] for one in rendered["unsupported"]] == ["spec.config.storage.disks[0]"]
    assert "made when a host is installed" in str(rendered["warnings"])


def test_inline_documents_are_not_shown_and_broken_yaml_is_not_quoted(
    make_node: MakeNode, run_playbook: RunPlaybook, tmp_path: Path
) -> None:
    make_node("n1")
    variables = project(tmp_path, machine_config("50-files", "worker"))
    inline = {**variables, "imagemode_machine_config_documents": [machine_config("60-inline", "worker", storage=FILES)]}
    run = run_playbook(play(inline, "main"), arguments=["-vvv"])
    (rendered,) = run.results(RENDER)
    assert rendered["sources"] == ["50-files", "60-inline"]
    assert SECRET not in run.stdout
    (tmp_path / "machine-configs" / "z.yaml").write_text(f"a: b\nkey: [{SECRET}\nmore: }}\n")
    broken = run_playbook(play(variables, "main"))
    (failed,) = broken.results(RENDER)
    assert "z.yaml: it is not YAML: line 3: " in failed["msg"]
    assert SECRET not in broken.stdout
