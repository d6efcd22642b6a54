# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of the rollout playbook that find a node out of service, and cannot go on with it as the run before wanted to."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from rollout_project import RolloutProject, wait_until


def hook(project: RolloutProject, name: str, *tasks: dict[str, Any]) -> str:
    """A task file that notes its name and the node's in the file `hooks`, and then does `tasks`."""
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    line = {"path": str(project.directory / "hooks"), "line": f"{name} {{{{ inventory_hostname }}}}", "create": True}
    noted = {"ansible.builtin.lineinfile": line, "delegate_to": "localhost", "vars": local}
    file = project.inventory.parent / f"{name}.yml"
    file.write_text(json.dumps([noted, *tasks]), encoding="utf-8")
    return file.name


def hooks(project: RolloutProject) -> list[str]:
    file = project.directory / "hooks"
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def leave_drained(project: RolloutProject, node: str) -> None:
    """A run that dies when it has taken the node out of service, and before it reboots it."""
    hook(project, "before", {"ansible.builtin.pause": {"seconds": 60}})
    process = project.start()
    wait_until(lambda: hooks(project) == [f"before {node}"], "the drain")
    os.kill(process.pid, signal.SIGKILL)
    project.finish(process)
    wait_until(lambda: not project.leftovers(), "orphaned workers end themselves")
    assert project.state["nodes"][node]["state"] == "active"
    hook(project, "before")


def test_a_node_that_was_drained_and_cannot_be_staged_any_more_goes_back_into_service(tmp_path: Path) -> None:
    project = RolloutProject(
        tmp_path,
        ("w1", "w2"),
        imagemode_drain="hooks",
        imagemode_drain_before="before.yml",
        imagemode_drain_after="after.yml",
    )
    hook(project, "after")
    leave_drained(project, "w1")
    with project.nodes["w1"].changing() as state:
        state.update(fault="no space", staged=None)
    run = project.run("-e", "imagemode_image=registry.test/os:newer")
    assert run.rc != 0
    assert run.table == {"w1": "not updated", "w2": "not its turn"}
    assert hooks(project) == ["before w1", "after w1"]
    slot = project.state["nodes"]["w1"]
    assert (slot["state"], slot["reason"]) == ("kept", "w1 has no space left")
    assert project.events("down") == []

    with project.nodes["w1"].changing() as state:
        state.update(fault=None)
    again = project.run("-e", "imagemode_image=registry.test/os:newer")
    assert again.rc == 0, again.output
    assert project.state["nodes"] == {}
    assert sorted(project.events("down")) == ["w1", "w2"]


def test_a_node_that_rebooted_into_another_image_is_not_taken_for_one_that_never_left_its_own(tmp_path: Path) -> None:
    """The run that rebooted it never came to look at its health, so nobody may put it into service as it is."""
    project = RolloutProject(tmp_path, ("w1",))
    project.nodes["w1"].create(seconds=4.0)
    process = project.start()
    wait_until(lambda: project.events("down") == ["w1"], "the reboot")
    os.kill(process.pid, signal.SIGKILL)
    project.finish(process)
    wait_until(lambda: not project.leftovers() and not project.nodes["w1"].is_away(), "all to be over")
    with project.nodes["w1"].changing() as state:
        state.update(fault="no space")
    run = project.run("-e", "imagemode_image=registry.test/os:newer")
    assert run.table == {"w1": "failed"}
    slot = project.state["nodes"]["w1"]
    assert (slot["state"], slot["from_digest"], slot["reason"]) == ("failed", "sha256:old", "w1 has no space left")


def test_the_last_play_tells_of_a_store_that_is_lost(tmp_path: Path) -> None:
    """The store is a directory that becomes unusable when the node is out of service."""
    project = RolloutProject(tmp_path, ("w1",), imagemode_drain="hooks", imagemode_drain_before="before.yml")
    store = project.inventory.parent / ".imagemode"
    broken = {
        "ansible.builtin.copy": {"dest": str(store / "workers.json"), "content": "nonsense"},
        "delegate_to": "localhost",
    }
    hook(project, "before", {**broken, "vars": {"ansible_connection": "local"}})
    run = project.run()
    assert run.rc == 2, run.output
    assert run.table == {"w1": "failed"}
    assert "is not a rollout state that can be used" in run.output.rpartition("Show the table")[2]


def test_a_run_that_begins_in_the_middle_is_told_to_begin_at_the_beginning(tmp_path: Path) -> None:
    project = RolloutProject(tmp_path, ("w1",))
    # Ansible gathers facts of nodes where it is to begin in the middle, whatever the play says.
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    run = project.run("--start-at-task", "Look whether the image has been denied", "-e", json.dumps(local))
    assert run.rc == 2, run.output
    assert "This run resolved no image: a rollout takes its three plays from the beginning" in run.output
    assert project.journal() == []
