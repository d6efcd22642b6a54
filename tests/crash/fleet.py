# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab of one case: three nodes, the rollout playbook over them, and controllers that can be struck."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from lab.ansible_server import AnsibleServer
from lab.inventory import CHECKOUT
from lab.node import Node, nodes
from lab.playbook_run import Project

from crash.callback.task_boundaries import descendants
from crash.case import Boundary, Case, NodeStep, Strike
from crash.course import HOOK, NODES, WINDOW, Course
from crash.kubernetes import ClusterPool, Kubernetes
from crash.power import cut

CALLBACKS = Path(__file__).resolve().parent / "callback"
BOOT_SECONDS = 0.3
DARK_SECONDS = 0.6  # for how long a node is off after its power was cut
RUN_SECONDS = 240.0
POLL_SECONDS = 0.005
WITHOUT = ("connect", "fault")  # entries of a journal that are no step of the node


@dataclasses.dataclass(frozen=True)
class Images:
    """What nodes come from and go to, as ``address/name:tag`` and digest."""

    old: str
    new: str
    new_digest: str


@dataclasses.dataclass(frozen=True)
class Ended:
    """A controller that is gone, with what it wrote and which boundaries it met. ``rc``: negative if it was killed."""

    rc: int
    output: str
    boundaries: tuple[Boundary, ...]
    struck: bool


class Fleet:
    """A lab for one case below ``directory``. ``close`` ends what still runs in it."""

    def __init__(
        self,
        directory: Path,
        course: Course,
        images: Images,
        server: AnsibleServer,
        kubernetes: Kubernetes | None = None,
    ) -> None:
        self.directory = directory
        self.name = directory.name.replace("-", "")  # of the pool: a group, and a name in the cluster
        self.lab = directory / "lab"
        self.nodes = {name: Node.create(self.lab, name, images.old, boot_seconds=BOOT_SECONDS) for name in NODES}
        self._numbers = itertools.count(1)
        self._server = server
        variables: dict[str, Any] = {
            "imagemode_image": images.new,
            "imagemode_max_unavailable": WINDOW,
            "imagemode_validate_certs": False,
            "imagemode_reboot_timeout": 30,
            "imagemode_store_path": str(directory / "store"),
            **course.variables,
        }
        self.hooked = directory / "hooked"
        if course.hooks:
            variables["imagemode_drain"] = "hooks"
            for what in ("before", "after"):
                file = directory / f"{what}.yml"
                file.write_text(HOOK.format(what=what, file=self.hooked))
                variables[f"imagemode_drain_{what}"] = str(file)
        self.pool: ClusterPool | None = None
        if course.cluster:
            assert kubernetes is not None
            self.pool = ClusterPool(kubernetes, self.name, self.nodes, course.cordoned)
            variables["imagemode_drain"] = "kubernetes"
            variables["imagemode_drain_deadline"] = "1m"
            variables["imagemode_kubeconfig"] = str(kubernetes.kubeconfig)
            variables["imagemode_node_name"] = self.pool.called("{{ inventory_hostname }}")
        self._is_lease = variables.get("imagemode_store") == "kubernetes"
        self.project = Project.create(
            directory / "project", self.lab, {self.name: NODES}, group_vars={self.name: variables}, forks=len(NODES)
        )

    def close(self) -> None:
        if self.pool is not None:
            self.pool.close()
        for node in nodes(self.lab):
            with contextlib.suppress(FileNotFoundError):
                node.destroy()

    def steps(self) -> dict[str, int]:
        """How many steps each node has made since it was made."""
        return {
            name: len([e for e in node.journal.read() if e["event"] not in WITHOUT])
            for name, node in self.nodes.items()
        }

    @property
    def stored(self) -> dict[str, dict[str, Any]]:
        """What the pool's store says of nodes."""
        found: dict[str, dict[str, Any]] = json.loads(self.document).get("nodes", {})
        return found

    @property
    def document(self) -> str:
        """The pool's store, as text."""
        if self._is_lease and self.pool is not None:
            return self.pool.document
        path = self.directory / "store" / f"{self.name}.json"
        return path.read_text() if path.exists() else "{}"

    def run(self, case: Case | None = None) -> Ended:
        """A rollout from its beginning to its end, or until the case's strike ends it."""
        number = next(self._numbers)
        notes = self.directory / f"notes-{number}.jsonl"
        boundary = case.moment if case and isinstance(case.moment, Boundary) else None
        order = {
            "notes": str(notes),
            "boundary": [boundary.play, boundary.task, boundary.node, boundary.edge] if boundary else None,
            "number": boundary.number if boundary else 0,
            "strike": case.strike.value if case else None,
            "power": [str(self.lab), boundary.node, str(DARK_SECONDS)] if boundary else None,
        }
        ordered = self.directory / f"order-{number}.json"
        ordered.write_text(json.dumps(order))
        output = self.directory / f"output-{number}"
        process = self._start(ordered, output)
        try:
            struck = self._strike_at(case, notes, process) if case and isinstance(case.moment, NodeStep) else False
            rc = process.wait(RUN_SECONDS)
        except subprocess.TimeoutExpired:
            _kill(_pid(notes), everything=True)
            process.wait()
            raise AssertionError(f"run {number} did not end within {RUN_SECONDS:.0f} s") from None
        entries = [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []
        struck = struck or any("struck" in entry for entry in entries)
        return Ended(rc, output.read_text(errors="replace"), _boundaries(entries), struck)

    def _start(self, ordered: Path, output: Path) -> subprocess.Popen[bytes]:
        variables = {
            **self.project.environment(),
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "task_boundaries",
            "IMAGEMODE_CRASH": str(ordered),
        }
        argv = [
            str(self._server.programs / "ansible-playbook"),
            *("-i", str(self.project.directory / "inventory" / "hosts.yml")),
            *("-e", f"imagemode_pool={self.name}"),
            str(CHECKOUT / "playbooks/rollout.yml"),
        ]
        with output.open("wb") as stream:
            return subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=variables, cwd=self.directory
            )

    def _strike_at(self, case: Case, notes: Path, process: subprocess.Popen[bytes]) -> bool:
        """Wait until the node has made its steps, and strike; False if the run ends before."""
        assert isinstance(case.moment, NodeStep)
        node, wanted = self.nodes[case.moment.node], case.moment.entries
        deadline = time.monotonic() + RUN_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            if len([e for e in node.journal.read() if e["event"] not in WITHOUT]) >= wanted:
                if case.strike is Strike.POWER:
                    cut(self.lab, node.name, DARK_SECONDS)
                else:
                    _kill(_pid(notes), everything=case.strike is Strike.EVERYTHING)
                return True
            time.sleep(POLL_SECONDS)
        return False


def _boundaries(entries: list[dict[str, Any]]) -> tuple[Boundary, ...]:
    """Where tasks began and ended. One that was skipped has changed nothing between the one before it and the one after it."""
    found: list[Boundary] = []
    for entry in entries:
        if "boundary" in entry:
            play, task, node, edge = entry["boundary"]
            found.append(Boundary(play, task, node, edge, entry["number"]))
        elif "skipped" in entry:
            begun = [one for one in found if [one.play, one.task, one.node, one.edge] == [*entry["skipped"], "begin"]]
            found.remove(begun[-1])
    return tuple(found)


def _pid(notes: Path) -> int:
    return int(json.loads(notes.read_text().splitlines()[0])["pid"])


def _kill(pid: int, *, everything: bool) -> None:
    for below in descendants(pid) if everything else []:
        with contextlib.suppress(ProcessLookupError):
            os.kill(below, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
