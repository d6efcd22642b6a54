# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/build.yml and the two modules through ansible-playbook, from the variables of a pool whose nodes are off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from build_project import BuildProject
from lab.registry import Registry


@pytest.fixture
def project(tmp_path: Path, registry: Registry, base_image: str, monkeypatch: pytest.MonkeyPatch) -> BuildProject:
    assert base_image
    return BuildProject.create(tmp_path, registry, monkeypatch)


def test_the_image_of_a_pool_is_built_once(project: BuildProject, registry: Registry) -> None:
    checked = project.run("--check", "--diff")
    assert checked.returncode == 0, checked.stdout
    assert f"{registry.address}/{project.repository}:1 is yet to be built (input key " in checked.stdout
    assert "+containerfile: " in checked.stdout
    assert registry.tags(project.repository) == []

    first = project.run()
    assert first.returncode == 0, first.stdout + first.stderr
    digest = registry.digest(project.repository, "1")
    assert f"{registry.address}/{project.repository}@{digest} (built" in first.stdout
    assert "changed=1" in first.stdout

    second = project.run()
    assert second.returncode == 0, second.stdout
    assert f"@{digest} (unchanged, 0 bytes pushed" in second.stdout
    assert "changed=1" not in second.stdout


def test_a_mistyped_pool_is_an_error(project: BuildProject) -> None:
    result = project.run("-e", "imagemode_pool=wrokers")
    assert result.returncode != 0
    assert "Did you mean workers?" in result.stdout + result.stderr


def test_a_failed_step_reaches_the_terminal_with_its_line(project: BuildProject) -> None:
    project.containerfile("COPY motd /usr/lib/motd\nRUN echo sorry; false\n")
    result = project.run()
    assert result.returncode != 0
    assert "at line 2 of the Containerfile exited with status 1. Its last words: sorry" in result.stdout + result.stderr


def test_a_failed_step_with_output_that_is_not_utf_8_keeps_its_result(project: BuildProject) -> None:
    project.containerfile("COPY motd /m\nRUN printf 'Stra\\337e\\n'; false\n")
    result = project.run("-v")
    assert result.returncode != 0
    assert "at line 2 of the Containerfile exited with status 1. Its last words: Stra" in result.stdout + result.stderr
    assert '"category": "step"' in result.stdout


def test_a_digest_can_be_asked_for_in_check_mode(project: BuildProject, registry: Registry) -> None:
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
    result = project.run("--check", playbook=project.directory / "play.yml")
    assert result.returncode == 0, result.stdout + result.stderr
    found = json.loads((project.directory / "found").read_text())
    assert (found["digest"], found["changed"]) == (registry.digest("os", "base"), False)
