# SPDX-License-Identifier: GPL-3.0-or-later
"""Old images go after a build, and what a node of the inventory runs stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from build_project import PLAYBOOK
from lab.fixtures import MakeNode
from lab.playbook_run import Project
from lab.registry import Registry


def test_old_images_go_and_what_a_node_runs_stays(
    tmp_path: Path,
    registry: Registry,
    base_image: str,
    make_node: MakeNode,
    make_project: Callable[..., Project],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage = tmp_path / "storage.conf"
    storage.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{tmp_path / "graph"}"\nrunroot = "{tmp_path / "run"}"\n'
    )
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(storage))
    monkeypatch.setenv("HOME", str(tmp_path))
    variables = {
        "imagemode_image": f"{registry.address}/kept/node:1",
        "imagemode_build_base": base_image,
        "imagemode_validate_certs": False,
        "imagemode_build_checks": "skip",
        "imagemode_build_retention": {"keep": 0},
    }

    def build(number: int) -> str:
        text = {"imagemode_build_containerfile_content": f"RUN echo {number} > /usr/lib/number\n"}
        project = make_project(group_vars={"workers": {**variables, **text}})
        run = project.run(PLAYBOOK, extra_vars={"imagemode_pool": "workers"})
        assert run.rc == 0, run.stdout
        digest = registry.digest("kept/node", "1")
        assert digest is not None
        return digest

    make_node("n1", image=base_image)
    first = build(1)
    make_node("n2", image=f"{registry.address}/kept/node@{first}")
    build(2)
    third = build(3)
    tags = registry.tags("kept/node")
    assert {registry.digest("kept/node", tag) for tag in tags} == {first, third}
    assert len(tags) == 3
