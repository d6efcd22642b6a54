# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that make sure, on the node, that nobody else changed what is staged: run by a real shell."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.bootc_plan import BootcTool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Deployment, HostState
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Command
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rpm_ostree_plan import RpmOstreeTool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.staging_plan import (
    StagingTool,
    discard,
    take_back,
)
from conformance.recorded import row

COMMIT = "bceaad8c866d847268436239a51bb93f107641e1c506c0dfcdeb389baeef9ba6"


def is_open(directory: Path, command: Command, recording: str, situation: str) -> bool:
    """Whether the command's guard lets it run where ostree says what was recorded."""
    answer = directory / "answer"
    answer.write_text(row(recording, "ostree-admin-status", situation).stdout)
    tool = directory / "ostree"
    tool.write_text(f'#!/bin/sh\n[ "$*" = "admin status" ] && cat {answer}\n')
    tool.chmod(0o755)
    guard = command.only_if
    assert guard is not None
    environment = {"PATH": f"{directory}:/usr/bin:/bin"}
    return subprocess.run(guard, env=environment, check=False).returncode == 0


@pytest.mark.parametrize(
    ("situation", "serial", "wanted"),
    [
        ("37ca-locked", 1, True),
        ("37cc-locked-again", 2, True),
        ("37cd-unlocked", 2, True),
        ("37cc-locked-again", 1, False),
        ("37ca-locked", 0, False),  # the rollback, of the same commit
        ("37ce-switch-over-locked", 2, False),
    ],
)
def test_a_locked_deployment_counted_as_replaced_by_somebody_else(
    tmp_path: Path, situation: str, serial: int, wanted: bool
) -> None:
    command = discard(Deployment(None, COMMIT, serial))
    assert is_open(tmp_path, command, "37-registry-trouble", situation) is wanted


@pytest.mark.parametrize(("situation", "wanted"), [("08a", True), ("08b", False), ("08c", True)])
@pytest.mark.parametrize("tool", [BootcTool(), RpmOstreeTool()], ids=["bootc", "rpm-ostree"])
def test_taking_a_rollback_back_twice_queued_it_again(
    tmp_path: Path, tool: StagingTool, situation: str, wanted: bool
) -> None:
    commit = "b38ae9fbbeaff0b6f2bccaa555327fba6803528b12925f085b4f40850394e502"
    state = HostState(None, Deployment(None, commit, 6), rollback=Deployment(None, commit, 0), rollback_queued=True)
    assert is_open(tmp_path, take_back(tool, state), "08-rollback", situation) is wanted


def test_a_composefs_host_has_no_ostree_that_could_guard() -> None:
    state = HostState(None, rollback=Deployment(None, "verity", None, composefs=True), rollback_queued=True)
    assert take_back(BootcTool(), state).only_if is None
