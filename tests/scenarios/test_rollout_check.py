# SPDX-License-Identifier: GPL-3.0-or-later
"""Check runs of the rollout playbook: what stands in the way, and what a rollout would do with nodes that are ready."""

from __future__ import annotations

from pathlib import Path

from rollout_project import RolloutProject


def test_a_check_run_looks_before_it_predicts(tmp_path: Path) -> None:
    project = RolloutProject(tmp_path, ("w1", "w2", "w3"), imagemode_max_failures=2)
    project.nodes["w1"].create(fault="no space")
    run = project.run("--check")
    assert run.rc == 2, run.output
    assert "workers: 2 of 3 nodes are ready: 1 error" in run.output
    assert run.table == {"w1": "not staged", "w2": "would be updated", "w3": "would be updated"}
    assert "w1 not staged: the preflight found what keeps it from being updated" in run.output
    assert [run.recap(node)["failed"] for node in ("w1", "w2", "w3")] == [1, 0, 0]
    assert project.journal() == []
    assert list((project.inventory.parent / ".imagemode").rglob("*.json")) == []

    really = project.run()
    assert really.table == {"w1": "not staged", "w2": "updated", "w3": "updated"}, "as predicted"
    assert "preflight" not in really.output


def test_what_is_wrong_with_the_pool_is_told_once_and_ends_a_check_run(tmp_path: Path) -> None:
    project = RolloutProject(tmp_path, ("w1", "w2"))
    run = project.run("--check", "-e", "imagemode_image=registry.test/os:nothing")
    assert run.rc == 2, run.output
    assert "workers: 2 of 2 nodes are ready, but the pool is not: 1 error" in run.output
    assert "PLAY [Report]" not in run.output
    assert "Resolve the image]" not in run.output, "what stands in the way of everybody is not run into"
