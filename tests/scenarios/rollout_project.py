# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the real rollout playbook, role and rollout modules over pretended nodes, in processes that can be killed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rollout_stand_ins.pretend_node import PretendNode

ROOT = Path(__file__).resolve().parents[2]
STAND_INS = Path(__file__).resolve().parent / "rollout_stand_ins"
REPLACED = (
    "image_stage.py",
    "node_reboot.py",
    "image_mode_info.py",
    "image_digest_info.py",
    "node_preflight_info.py",
)


class Run:
    """A finished run of ansible-playbook."""

    def __init__(self, rc: int, output: str) -> None:
        self.rc = rc
        self.output = output

    def recap(self, node: str) -> dict[str, int]:
        line = re.search(rf"^{node}\s+: (.*)$", self.output, re.MULTILINE)
        assert line, self.output
        return {name: int(count) for name, count in (item.split("=") for item in line.group(1).split())}

    @property
    def rows(self) -> dict[str, tuple[str, str, str]]:
        """From node to its digests before and after, and its outcome, as the closing table shows them."""
        tail = self.output.rpartition("  node ")[2].partition("outcome\n")[2]
        rows = re.findall(r"^  (\S+) +(\S+) +(\S+) +(?:-|\d+ s) +([a-z ]+)$", tail, re.MULTILINE)
        return {name: (old, new, outcome) for name, old, new, outcome in rows}

    @property
    def table(self) -> dict[str, str]:
        """From node to outcome, as the closing table shows them."""
        return {name: outcome for name, (_old, _new, outcome) in self.rows.items()}


class RolloutProject:
    """An inventory with a pool `workers` of pretended nodes, and a copy of the collection that can only pretend to reboot."""

    def __init__(self, directory: Path, nodes: Sequence[str], **variables: Any) -> None:
        self.directory = directory
        self.nodes = {name: PretendNode(name, directory / "nodes") for name in nodes}
        (directory / "nodes").mkdir()
        for node in self.nodes.values():
            node.create()
        self.inventory = directory / "inventory" / "hosts"
        self.inventory.parent.mkdir()
        self.inventory.write_text("\n".join(["[workers]", *nodes, ""]), encoding="utf-8")
        self.set_variables(imagemode_image="registry.test/os:new", **variables)
        self._link_collection()

    def set_variables(self, **variables: Any) -> None:
        group_vars = self.inventory.parent / "group_vars"
        group_vars.mkdir(exist_ok=True)
        (group_vars / "workers.json").write_text(json.dumps(variables), encoding="utf-8")

    def _link_collection(self) -> None:
        collection = self.directory / "collections/ansible_collections/imagemode/nodes"
        (collection / "plugins/action").mkdir(parents=True)
        for name in ("galaxy.yml", "meta", "roles", "playbooks"):
            (collection / name).symlink_to(ROOT / name)
        for kind in (ROOT / "plugins").iterdir():
            if kind.name != "action" and kind.is_dir():
                (collection / "plugins" / kind.name).symlink_to(kind)
        for action in (ROOT / "plugins/action").glob("*.py"):
            if action.name not in REPLACED:
                (collection / "plugins/action" / action.name).symlink_to(action)
        for name in REPLACED:
            (collection / "plugins/action" / name).symlink_to(STAND_INS / name)

    def start(
        self, *arguments: str, playbook: str = "imagemode.nodes.rollout", forks: int = 8, log: str = "log"
    ) -> subprocess.Popen[bytes]:
        """ansible-playbook as a process, its output in the file `log`."""
        argv = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(self.inventory), playbook]
        argv += ["--forks", str(forks), "-e", "imagemode_pool=workers", *arguments]
        with (self.directory / log).open("wb") as output:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                cwd=self.directory,
            )

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        return {
            **kept,
            "ANSIBLE_COLLECTIONS_PATH": str(self.directory / "collections"),
            "ANSIBLE_NOCOLOR": "1",
            "HOME": str(self.directory),
            "IMAGEMODE_PRETEND_NODES": str(self.directory / "nodes"),
            "PYTHONPATH": str(STAND_INS.parent),
            "PYTHONUNBUFFERED": "1",  # the log is a file, and read while the run goes on
        }

    def finish(self, process: subprocess.Popen[bytes], log: str = "log", timeout: float = 300) -> Run:
        """Wait for the end; a run that waits for ever is a failed test, with its output."""
        try:
            rc = process.wait(timeout)
        except subprocess.TimeoutExpired as expired:
            process.kill()
            process.wait()
            raise AssertionError(f"the run did not end:\n{self.log(log)}") from expired
        return Run(rc, self.log(log))

    def run(self, *arguments: str, **options: Any) -> Run:
        return self.finish(self.start(*arguments, **options))

    def log(self, name: str = "log") -> str:
        return (self.directory / name).read_text(encoding="utf-8")

    def leftovers(self) -> list[int]:
        """Processes of this project's runs that still exist, zombies not counted."""
        marker = f"IMAGEMODE_PRETEND_NODES={self.directory / 'nodes'}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if marker in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
            except OSError:
                continue
        return found

    @property
    def state(self) -> dict[str, Any]:
        """What the store says."""
        file = self.inventory.parent / ".imagemode" / "workers.json"
        data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return data

    def events(self, event: str) -> list[str]:
        """The nodes of the journal's lines of this event, in the order of time."""
        return [name for _when, what, name in self.journal() if what == event]

    def most_away_at_once(self) -> int:
        away = most = 0
        for _when, event, _name in self.journal():
            away += {"down": 1, "up": -1}.get(event, 0)
            most = max(most, away)
        return most

    def journal(self) -> list[tuple[float, str, str]]:
        """Rows of time, event and node, in the order of time."""
        file = self.directory / "nodes" / "journal"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        rows = [(float(when), event, name) for when, event, name in (line.split() for line in lines)]
        return sorted(rows, key=lambda row: (row[0], row[1] != "up"))


def wait_until(condition: Any, what: str, timeout: float = 180.0) -> None:
    """Poll until `condition()` holds."""
    until = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < until, f"not within {timeout:.0f} s: {what}"
        time.sleep(0.05)
