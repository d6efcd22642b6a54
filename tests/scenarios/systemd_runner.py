# SPDX-License-Identifier: GPL-3.0-or-later
"""A Runner whose node is a real systemd, the init process of namespaces of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Runner
from lab.systemd_manager import Manager


class ManagerRunner(Runner):
    """A shell there. `environment`: that of the shell; None: the one of the tests."""

    def __init__(self, manager: Manager, environment: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.manager = manager
        self._environment = environment

    def _execute(self, script: str, limit: int | None) -> tuple[int, str, str]:
        done = subprocess.run(
            self.manager.command("/bin/sh", "-s"),
            input=script,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr
