# SPDX-License-Identifier: GPL-3.0-or-later
"""A make-believe node for unit tests: real shell, tools that are tiny scripts in a directory."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Runner

D1, D2 = "sha256:" + "1" * 64, "sha256:" + "2" * 64
NAME = "registry.example.com/os"


def entry(tag: str = "v1", digest: str = D1, **fields: Any) -> dict[str, Any]:
    """One deployment as bootc prints it."""
    image = {"image": {"image": f"{NAME}:{tag}", "transport": "registry"}, "imageDigest": digest}
    return {
        "image": image,
        "ostree": {"checksum": f"commit-{digest[-4:]}", "deploySerial": 0},
        "downloadOnly": False,
        **fields,
    }


def bootc_status(booted: dict[str, Any] | None, staged: dict[str, Any] | None = None, **fields: Any) -> str:
    """What `bootc status --json` prints."""
    status = {"booted": booted, "staged": staged, "rollback": None, **fields}
    return json.dumps({"apiVersion": "org.containers.bootc/v1", "kind": "BootcHost", "status": status})


class NodeOnDisk(Runner):
    """Runs scripts here, with only the tools of `directory` and what a POSIX shell needs."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        (directory / "bin").mkdir()

    def tool(self, name: str, script: str) -> None:
        """Install a tool: a shell script, run with the node's directory as $NODE. Every call is written down."""
        path = self.directory / "bin" / name
        path.write_text(f'#!/bin/sh\nNODE={self.directory}\necho "{name} $*" >> "$NODE/journal"\n{script}\n')
        path.chmod(0o755)

    def status(self, booted: dict[str, Any] | None, staged: dict[str, Any] | None = None, **fields: Any) -> None:
        """Set what bootc will say."""
        (self.directory / "status").write_text(bootc_status(booted, staged, **fields))

    def later(self, booted: dict[str, Any] | None, staged: dict[str, Any] | None = None, **fields: Any) -> None:
        """Set what bootc will say once a command has done its work; tools do it with `mv $NODE/later $NODE/status`."""
        (self.directory / "later").write_text(bootc_status(booted, staged, **fields))

    @property
    def journal(self) -> list[str]:
        """The calls so far."""
        path = self.directory / "journal"
        return path.read_text().splitlines() if path.exists() else []

    def _execute(self, script: str, limit: int | None) -> tuple[int, str, str]:
        environment = {**os.environ, "PATH": f"{self.directory}/bin:/usr/bin:/bin"}
        done = subprocess.run(
            ["/bin/sh", "-s"], input=script, env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr


BOOTC = """
case "$1" in
status) cat "$NODE/status" ;;
switch|upgrade) mv "$NODE/later" "$NODE/status"; echo 'Queued for next boot' ;;
esac
"""
