# SPDX-License-Identifier: GPL-3.0-or-later
"""The rollout playbook with an approval between the canaries and the others, over two runs and without canaries."""

from __future__ import annotations

from pathlib import Path

from rollout_project import RolloutProject, Run

WAITS = "awaits approval"


def outcomes(run: Run) -> dict[str, str]:
    assert run.rc == 0, run.output
    return run.table


def test_the_others_wait_over_runs_that_succeed_and_are_told_so_in_table_and_artifact(tmp_path: Path) -> None:
    policy = {"imagemode_canaries": ["w2"], "imagemode_approval": True, "imagemode_max_unavailable": 2}
    project = RolloutProject(tmp_path, ("w1", "w2", "w3"), **policy)
    first = project.run()
    assert outcomes(first) == {"w1": WAITS, "w2": "updated", "w3": WAITS}
    assert first.recap("w1")["rescued"] == 0, "waiting for a person is no failure on the way, either"
    assert project.events("down") == ["w2"]

    unapproved = project.run()
    assert outcomes(unapproved) == {"w1": WAITS, "w2": "already right", "w3": WAITS}
    assert (
        "2 nodes awaits approval (w1, w3): nobody has approved of sha256:new for the rest of pool" in unapproved.output
    )
    assert project.events("down") == ["w2"]

    assert outcomes(project.run("--check")) == {"w1": WAITS, "w2": "already right", "w3": WAITS}

    approved = project.run("-e", "imagemode_approved=true")
    assert outcomes(approved) == {"w1": "updated", "w2": "already right", "w3": "updated"}
    assert sorted(project.events("down")) == ["w1", "w2", "w3"]


def test_without_canaries_nobody_goes_before_the_approval(tmp_path: Path) -> None:
    project = RolloutProject(tmp_path, ("w1", "w2"), imagemode_approval=True)
    assert outcomes(project.run()) == {"w1": WAITS, "w2": WAITS}
    assert project.events("down") == []
    assert outcomes(project.run("-e", "imagemode_approved=true")) == {"w1": "updated", "w2": "updated"}
