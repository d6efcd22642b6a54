# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner of a module that already runs on the node: the same script, a local shell."""

from __future__ import annotations

import subprocess

from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Runner


class LocalRunner(Runner):
    """Runs batches on the machine that this process runs on."""

    def _execute(self, script: str, limit: int | None) -> tuple[int, str, str]:  # noqa: ARG002 - nothing here can go away
        done = subprocess.run(
            ["/bin/sh", "-s"],
            input=script.encode(),
            capture_output=True,
            check=False,
        )
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
