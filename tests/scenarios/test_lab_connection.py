# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's connection behaves like SSH does under Ansible, in what the collection has to cope with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.playbook.play_context import PlayContext
from ansible.plugins.loader import connection_loader
from lab import inventory
from lab.fixtures import MakeNode, RunPlaybook
from lab.node import Node
from lab.playbook_run import PlaybookRun

Connect = Callable[..., Any]
WAIT_SECONDS = 10.0


@pytest.fixture
def node(make_node: MakeNode) -> Node:
    """One node that is up."""
    return make_node("n1")


@pytest.fixture
def connect() -> Connect:
    """``connect(node)``: the plugin as a task of Ansible would hold it."""
    connection_loader.add_directory(str(inventory.CONNECTION_PLUGINS))

    def make(node: Node, **variables: Any) -> Any:
        connection = connection_loader.get("lab", PlayContext(), os.devnull)
        connection.set_options(
            var_options={"inventory_hostname": node.name, "lab_directory": str(node.lab), **variables}
        )
        return connection

    return make


def raw(command: str, **keywords: Any) -> dict[str, Any]:
    """A play of one task, named ``raw``."""
    task = {"name": "raw", "ansible.builtin.raw": command, **keywords}
    return {"hosts": "workers", "gather_facts": False, "tasks": [task]}


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def only_event(run: PlaybookRun, kind: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = [event["event_data"] for event in run.events if event["event"] == kind]
    assert len(found) == 1, run.stdout
    return found[0]


# Streams


def test_a_raw_command_gets_a_terminal_with_merged_streams_and_crlf(node: Node, run_playbook: RunPlaybook) -> None:
    run = run_playbook([raw("echo out; echo err >&2; [ -t 1 ] && echo terminal")])
    result = run.result("raw", node.name)
    assert (result["rc"], result["stdout"], result["stderr"]) == (0, "out\r\nerr\r\nterminal\r\n", "")


def test_a_command_with_data_on_its_input_has_its_streams_apart(node: Node, connect: Connect) -> None:
    script = b"echo out; echo err >&2; [ -t 1 ] || echo no terminal; exit 3"
    assert connect(node).exec_command("/bin/sh -s", in_data=script) == (3, b"out\nno terminal\n", b"err\n")


def test_large_data_passes_on_standard_input_but_not_on_a_command_line(node: Node, connect: Connect) -> None:
    large = b"x" * 300_000
    assert connect(node).exec_command("wc -c", in_data=large) == (0, b"300000\n", b"")
    with pytest.raises(OSError, match="Argument list too long"):
        connect(node).exec_command(f"echo {large.decode()}")


def test_large_data_arrives_at_a_command_that_reads_it_late(node: Node, connect: Connect) -> None:
    script = "sleep 0.7; wc -c"
    assert connect(node).exec_command(f"/bin/sh -c '{script}'", in_data=b"x" * 300_000) == (0, b"300000\n", b"")


def test_a_command_that_ignores_large_data_ends_well(node: Node, connect: Connect) -> None:
    assert connect(node).exec_command("echo done", in_data=b"x" * 300_000) == (0, b"done\n", b"")


def test_five_megabytes_come_back(node: Node, connect: Connect) -> None:
    rc, stdout, _unused = connect(node).exec_command("/bin/sh -s", in_data=b"head -c 5000000 /dev/zero")
    assert (rc, len(stdout)) == (0, 5_000_000)


def test_files_arrive_byte_for_byte_both_ways(node: Node, connect: Connect, tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    (tmp_path / "sent").write_bytes(content)
    connection = connect(node)
    connection.put_file(str(tmp_path / "sent"), "/var/tmp it's")
    connection.fetch_file("/var/tmp it's", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == content


# Where a command finds itself


def test_a_command_sees_the_node_and_not_the_machine(node: Node, connect: Connect) -> None:
    script = (
        b"hostname; cat /proc/sys/kernel/random/boot_id; . /etc/os-release; echo $ID; command -v python3; touch /usr/x"
    )
    rc, stdout, stderr = connect(node).exec_command("/bin/sh -s", in_data=script)
    machine = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    name, boot_id, system = stdout.decode().split()
    assert (name, system, rc) == (node.name, "labos", 1)
    assert boot_id != machine
    assert b"Read-only file system" in stderr


def test_another_user_is_refused_what_root_may_and_sudo_gives_it(node: Node, run_playbook: RunPlaybook) -> None:
    plays = [raw("id -u; cat /etc/shadow", remote_user="core", ignore_errors=True)]
    plain = run_playbook(plays).result("raw", node.name)
    assert plain["rc"] == 1
    assert plain["stdout"].startswith("1000\r\n")
    assert "Permission denied" in plain["stdout"]
    elevated = run_playbook([raw("id -u; cat /etc/shadow", remote_user="core", become=True)]).result("raw", node.name)
    assert (elevated["rc"], elevated["stdout"].splitlines()[0]) == (0, "0")


def test_a_user_the_node_does_not_know_cannot_log_in(node: Node, connect: Connect) -> None:
    with pytest.raises(AnsibleConnectionFailure, match="Permission denied"):
        connect(node, ansible_user="joe").exec_command("true")


# Nodes that do not answer


def test_a_node_without_power_is_unreachable_and_rescue_is_skipped(node: Node, run_playbook: RunPlaybook) -> None:
    node.power_cut()
    rescued = {"name": "rescued", "ansible.builtin.debug": {"msg": "rescued"}}
    play = raw("true")
    play["tasks"] = [{"block": play["tasks"], "rescue": [rescued]}]
    run = run_playbook([play])
    assert run.recap(node.name)["unreachable"] == 1
    assert run.rc == 4
    assert run.results("rescued") == []
    assert "Connection refused" in only_event(run, "runner_on_unreachable")["res"]["msg"]


def test_a_node_that_reboots_ends_the_connection_and_comes_back(node: Node, run_playbook: RunPlaybook) -> None:
    before = (node.mounts().boot_id).read_text()
    run = run_playbook([raw("systemctl reboot; sleep 60")])
    assert run.recap(node.name)["unreachable"] == 1
    assert "closed by remote host" in only_event(run, "runner_on_unreachable")["res"]["msg"]
    assert eventually(node.is_up)
    assert node.mounts().boot_id.read_text() != before
    assert run_playbook([raw("true")]).recap(node.name)["ok"] == 1


def test_exit_status_255_is_taken_for_a_lost_connection(node: Node, connect: Connect) -> None:
    with pytest.raises(AnsibleConnectionFailure):
        connect(node).exec_command("exit 255")


def test_a_name_without_a_node_does_not_resolve(node: Node, run_playbook: RunPlaybook) -> None:
    run = run_playbook([raw("true")], groups={"workers": ["nowhere"]})
    assert "Could not resolve hostname nowhere" in only_event(run, "runner_on_unreachable")["res"]["msg"]
    assert node.journal.read("connect") == []


# Connections that break


def test_a_dropped_connection_leaves_a_command_without_terminal_running(node: Node, connect: Connect) -> None:
    node.inject("connection-drops", seconds=0.2)
    with pytest.raises(AnsibleConnectionFailure, match="Broken pipe"):
        connect(node).exec_command("/bin/sh -s", in_data=b"sleep 0.6; touch /var/finished")
    assert eventually((node.mounts().var / "finished").exists)
    assert connect(node).exec_command("true")[0] == 0  # it dropped once, as `times` said


def test_a_dropped_connection_hangs_up_a_command_with_a_terminal(node: Node, connect: Connect) -> None:
    node.inject("connection-drops", seconds=1)  # the command must have got to its trap by then
    with pytest.raises(AnsibleConnectionFailure, match="Broken pipe"):
        connect(node).exec_command("trap 'touch /var/hung-up; exit' HUP; sleep 2 & wait; touch /var/finished")
    assert eventually((node.mounts().var / "hung-up").exists)
    time.sleep(2)
    assert not (node.mounts().var / "finished").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_command_without_terminal_survives_the_death_of_its_controller(node: Node, number: int) -> None:
    program = (
        "import pathlib, sys; from lab import session; from lab.node import Node;"
        "session.run(Node.load(pathlib.Path(sys.argv[1]), sys.argv[2]), '/bin/sh -s', "
        "stdin=b'touch /var/began; sleep 1; touch /var/finished')"
    )
    controller = subprocess.Popen([sys.executable, "-c", program, str(node.lab), node.name])
    assert eventually((node.mounts().var / "began").exists)
    controller.send_signal(number)
    controller.wait(WAIT_SECONDS)
    assert not (node.mounts().var / "finished").exists()
    assert eventually((node.mounts().var / "finished").exists)


def test_a_power_cut_ends_every_command_on_the_node(node: Node) -> None:
    program = [sys.executable, "-m", "lab", "--lab", str(node.lab)]
    argv = [*program, "run", node.name, "touch /var/began; sleep 30; touch /var/finished"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE) as running:
        assert eventually((node.mounts().var / "began").exists)
        node.power_cut()
        _unused, errors = running.communicate(timeout=WAIT_SECONDS)
    assert (running.returncode, b"closed by remote host" in errors) == (1, True)
    assert not (node.mounts().var / "finished").exists()


# What it costs


def test_every_round_trip_waits_for_the_latency_and_is_in_the_journal(make_node: MakeNode, connect: Connect) -> None:
    node = make_node("far", latency=0.2)
    began = time.monotonic()
    connection = connect(node)
    for command in ("true", "exit 4"):
        connection.exec_command(command)
    assert time.monotonic() - began >= 0.4
    assert [entry["rc"] for entry in node.journal.read("exec")] == [0, 4]
    assert len(node.journal.read("connect")) == 1
