# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that are forked from one import of ansible-core are what runs of their own are."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from lab.ansible_server import AnsibleServer
from lab.playbook_run import Project


def project(directory: Path, forks: int) -> Project:
    return Project.create(directory, directory / "lab", {"workers": []}, forks=forks)


def play(**task: Any) -> list[dict[str, Any]]:
    return [{"hosts": "localhost", "gather_facts": False, "tasks": [{"name": "task", **task}]}]


def told(chosen: Project, environment: dict[str, str] | None = None) -> dict[str, Any]:
    words = {
        "forks": "{{ ansible_forks }}",
        "forks configured": "{{ lookup('ansible.builtin.config', 'DEFAULT_FORKS') }}",
        "timeout": "{{ lookup('ansible.builtin.config', 'DEFAULT_TIMEOUT') }}",
        "file": "{{ ansible_config_file }}",
        "variable": "{{ lookup('ansible.builtin.env', 'OF_THIS_RUN') }}",
    }
    run = chosen.run(play(**{"ansible.builtin.debug": {"msg": words}}), environment=environment)
    assert run.rc == 0, run.stdout
    found: dict[str, Any] = run.result("task", "localhost")["msg"]
    return found


def test_each_run_has_its_own_configuration_and_environment(tmp_path: Path) -> None:
    few, many = project(tmp_path / "few", 3), project(tmp_path / "many", 17)
    for chosen, forks, environment in ((few, 3, {"OF_THIS_RUN": "a"}), (many, 17, {"OF_THIS_RUN": "b"})):
        found = told(chosen, environment)
        assert (int(found["forks"]), int(found["forks configured"])) == (forks, forks)
        assert found["file"] == str(chosen.directory / "ansible.cfg")
        assert found["variable"] == environment["OF_THIS_RUN"]
        assert not list((chosen.directory / "tmp").iterdir()), "a run removes its temporary directory"


@pytest.mark.parametrize("how", ["variable", "file"])
def test_another_configuration_is_heeded(how: str, tmp_path: Path) -> None:
    usual = project(tmp_path / "usual", 5)
    assert int(told(usual)["timeout"]) == 10
    if how == "variable":
        assert int(told(usual, {"ANSIBLE_TIMEOUT": "77"})["timeout"]) == 77
    else:
        file = usual.directory / "ansible.cfg"
        file.write_text(file.read_text().replace("[defaults]\n", "[defaults]\ntimeout = 77\n"))
        assert int(told(usual)["timeout"]) == 77


def test_a_failed_run_says_so(tmp_path: Path) -> None:
    run = project(tmp_path, 5).run(play(**{"ansible.builtin.fail": {"msg": "no"}}))
    assert (run.rc, run.status) == (2, "failed")


@pytest.mark.parametrize("who", ["client", "server"])
def test_nothing_goes_on_after_its_starter(who: str, tmp_path: Path) -> None:
    server = AnsibleServer.start()
    chosen = project(tmp_path, 5)
    sleeps = play(**{"ansible.builtin.command": "sleep 600"})
    argv = [str(server.programs / "ansible-playbook"), "-i", "localhost,", str(chosen.playbook(sleeps))]
    process = subprocess.Popen(argv, env=chosen.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    runs: list[int] = []
    while not runs and time.monotonic() < deadline:
        runs = children(server._process.pid)
        time.sleep(0.1)
    assert runs
    if who == "client":
        os.kill(process.pid, signal.SIGKILL)
    else:
        server.stop()
    process.wait(60)
    while any(Path(f"/proc/{pid}").exists() for pid in runs):
        assert time.monotonic() < deadline, "the run goes on"
        time.sleep(0.1)
    if who == "client":
        server.stop()


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
