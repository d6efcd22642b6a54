# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/build.yml and the two modules through ansible-playbook, from the variables of a pool whose nodes are off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab.registry import Registry

CHECKOUT = Path(__file__).resolve().parents[2]


class Project:
    """An inventory with a pool of two nodes that nobody can reach."""

    def __init__(self, directory: Path, variables: dict[str, Any]) -> None:
        self.directory = directory
        (directory / "group_vars").mkdir()
        (directory / "group_vars" / "workers.yml").write_text(yaml.safe_dump(variables))
        nodes = {f"n{number}": {"ansible_host": "127.0.0.1", "ansible_port": 1} for number in (1, 2)}
        variables_of_all = {"ansible_python_interpreter": "/nowhere/python", "ansible_become": True}
        document = {"all": {"children": {"workers": {"hosts": nodes, "vars": variables_of_all}}}}
        (directory / "hosts.yml").write_text(yaml.safe_dump(document))

    def run(self, playbook: Path, *options: str) -> subprocess.CompletedProcess[str]:
        command = Path(sys.executable).parent / "ansible-playbook"
        return subprocess.run(
            [str(command), "-i", "hosts.yml", *options, str(playbook)],
            cwd=self.directory,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_HOME": str(self.directory / "home")},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def project(tmp_path: Path, registry: Registry, base_image: str, monkeypatch: pytest.MonkeyPatch) -> Project:
    assert base_image
    storage = tmp_path / "storage.conf"
    graph, run = tmp_path / "graph", tmp_path / "run"
    storage.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{graph}"\nrunroot = "{run}"\n')
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(storage))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "Containerfile").write_text("COPY motd /usr/lib/motd\n")
    (tmp_path / "files" / "motd").write_text("welcome\n")
    return Project(
        tmp_path,
        {
            "imagemode_image": f"{registry.address}/playbook/node:1",
            "imagemode_build_base": f"{registry.address}/os:base",
            "imagemode_build_containerfile": "files/Containerfile",
            "imagemode_build_context": "files",
            "imagemode_validate_certs": False,
        },
    )


def test_the_image_of_a_pool_is_built_once(project: Project, registry: Registry) -> None:
    playbook = CHECKOUT / "playbooks" / "build.yml"
    pool = ("-e", "imagemode_pool=workers")
    checked = project.run(playbook, *pool, "--check", "--diff")
    assert checked.returncode == 0, checked.stdout
    assert f"{registry.address}/playbook/node:1 is yet to be built (input key " in checked.stdout
    assert "+containerfile: " in checked.stdout
    assert registry.tags("playbook/node") == []

    first = project.run(playbook, *pool)
    assert first.returncode == 0, first.stdout + first.stderr
    digest = registry.digest("playbook/node", "1")
    assert f"{registry.address}/playbook/node@{digest} (built" in first.stdout
    assert "changed=1" in first.stdout

    second = project.run(playbook, *pool)
    assert second.returncode == 0, second.stdout
    assert f"@{digest} (unchanged, 0 bytes pushed" in second.stdout
    assert "changed=1" not in second.stdout


def test_a_mistyped_pool_is_an_error(project: Project) -> None:
    result = project.run(CHECKOUT / "playbooks" / "build.yml", "-e", "imagemode_pool=wrokers")
    assert result.returncode != 0
    assert "Did you mean workers?" in result.stdout + result.stderr


def test_a_failed_step_reaches_the_terminal_with_its_line(project: Project) -> None:
    (project.directory / "files" / "Containerfile").write_text("COPY motd /usr/lib/motd\nRUN echo sorry; false\n")
    result = project.run(CHECKOUT / "playbooks" / "build.yml", "-e", "imagemode_pool=workers")
    assert result.returncode != 0
    assert "at line 2 of the Containerfile exited with status 1. Its last words: sorry" in result.stdout + result.stderr


def test_a_failed_step_with_output_that_is_not_utf_8_keeps_its_result(project: Project) -> None:
    (project.directory / "files" / "Containerfile").write_text("COPY motd /m\nRUN printf 'Stra\\337e\\n'; false\n")
    result = project.run(CHECKOUT / "playbooks" / "build.yml", "-e", "imagemode_pool=workers", "-v")
    assert result.returncode != 0
    assert "at line 2 of the Containerfile exited with status 1. Its last words: Stra" in result.stdout + result.stderr
    assert '"category": "step"' in result.stdout


def test_a_digest_can_be_asked_for_in_check_mode(project: Project, registry: Registry) -> None:
    play = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "tasks": [
                {
                    "imagemode.nodes.image_digest_info": {
                        "image": f"{registry.address}/os:base",
                        "validate_certs": False,
                    },
                    "register": "found",
                },
                {
                    "ansible.builtin.copy": {"content": "{{ found }}", "dest": str(project.directory / "found")},
                    "check_mode": False,
                },
            ],
        }
    ]
    (project.directory / "play.yml").write_text(yaml.safe_dump(play))
    result = project.run(project.directory / "play.yml", "--check")
    assert result.returncode == 0, result.stdout + result.stderr
    found = json.loads((project.directory / "found").read_text())
    assert (found["digest"], found["changed"]) == (registry.digest("os", "base"), False)
