# SPDX-License-Identifier: GPL-3.0-or-later
"""Every command of every node pays for the start of a simulator, so what it imports is watched."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from lab.simulators import main
from recorded_world import HostUnderTest

SLOW = {
    "argparse",
    "asyncio",
    "dataclasses",
    "http.client",
    "inspect",
    "pathlib",
    "re",
    "ssl",
    "tarfile",
    "typing",
    "urllib",
}


@pytest.mark.parametrize(
    "argv", [("bootc", "status", "--json"), ("rpm-ostree", "status", "--json"), ("systemctl", "is-system-running")]
)
def test_a_status_imports_nothing_slow(make_host: Callable[..., HostUnderTest], argv: tuple[str, ...]) -> None:
    host = make_host()
    done = subprocess.run(
        [os.path.realpath(sys.executable), "-I", "-S", "-X", "importtime", str(Path(main.__file__)), *argv],
        env={"LAB_NODE": str(host.node.directory)},
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "lab.simulators.host" in imported
    # json needs re for its decoder; nothing else may
    assert imported & (SLOW - {"re"}) == set()
