# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that make sure, on the node, that nobody else changed what is staged: run by a real shell."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Deployment
from ansible_collections.imagemode.nodes.plugins.module_utils._core.staging_plan import discard
from conformance.recorded import row

COMMIT = "bceaad8c866d847268436239a51bb93f107641e1c506c0dfcdeb389baeef9ba6"


def is_open(directory: Path, deployment: Deployment, situation: str) -> bool:
    """Whether the guard of discarding that deployment lets the command run where ostree says what was recorded."""
    answer = directory / "answer"
    answer.write_text(row("37-registry-trouble", "ostree-admin-status", situation).stdout)
    tool = directory / "ostree"
    tool.write_text(f'#!/bin/sh\n[ "$*" = "admin status" ] && cat {answer}\n')
    tool.chmod(0o755)
    guard = discard(deployment).only_if
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
    assert is_open(tmp_path, Deployment(None, COMMIT, serial), situation) is wanted
