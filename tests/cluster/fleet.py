# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool of lab nodes which are nodes of the cluster as well, and rollouts over it with the rights of the shipped manifest."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.node import Node
from lab.playbook_run import PlaybookRun, Project

from cluster.api import ApiError
from cluster.audit import Request
from cluster.cluster import Cluster

PLAYBOOK = Path("playbooks/rollout.yml")
CORDONED_FOR = "imagemode.nodes/cordoned-for"
PATIENCE = 240.0  # seconds until a run has to be where a test waits for it


class Fleet:
    """The pool ``workers``. The journals of its nodes and the API's audit log say what a rollout did, not the rollout."""

    def __init__(self, cluster: Cluster, nodes: Sequence[Node], project: Project) -> None:
        self.cluster = cluster
        self.nodes = nodes
        self.project = project

    def rollout(self, *arguments: str, **variables: Any) -> PlaybookRun:
        """One run until its end; variables go on the command line."""
        return self.project.run(PLAYBOOK, extra_vars=self._extra(variables), arguments=arguments)

    @contextlib.contextmanager
    def rollout_meanwhile(self, **variables: Any) -> Iterator[Meanwhile]:
        """One run that goes on while the test does something; it is killed if the test fails before its end."""
        process = self.project.start(PLAYBOOK, extra_vars=self._extra(variables))
        try:
            yield Meanwhile(process)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    @staticmethod
    def _extra(variables: Mapping[str, Any]) -> dict[str, Any]:
        return {"imagemode_pool": "workers", **variables}

    def requests(self, verb: str | None = None, resource: str | None = None) -> list[Request]:
        """What the rollout asked of the API."""
        return self.cluster.requests("rollout", verb, resource)

    def evictions(self, status: int = 201) -> list[Request]:
        """The evictions that were asked for in earnest, and answered so."""
        asked = self.requests("create", "pods/eviction")
        return [request for request in asked if request.status == status and not request.dry_run]

    def cordons(self, node: Node) -> list[tuple[float, bool]]:
        """When the rollout cordoned (True) and uncordoned (False) a node, oldest first; seconds since 1970."""
        asked = [request for request in self.requests("patch", "nodes") if request.name == node.name]
        return [
            (request.at, bool(request.body["spec"]["unschedulable"]))
            for request in asked
            if request.status == 200 and not request.dry_run and request.body and "spec" in request.body
        ]

    def boots(self) -> list[int]:
        return [len(node.journal.read("boot")) for node in self.nodes]

    def versions(self) -> list[str]:
        """The version of the image that each node runs, as the node itself says."""
        tasks = [{"name": "info", "imagemode.nodes.image_mode_info": {}}]
        run = self.project.run([{"hosts": "workers", "gather_facts": False, "tasks": tasks}])
        return [run.result("info", node.name)["host"]["booted"]["version"] for node in self.nodes]

    def out_of_service(self) -> list[str]:
        """The nodes that are cordoned, or bear the rollout's note that they are."""
        found = []
        for node in self.nodes:
            document = self.cluster.get_node(node.name)
            if document["spec"].get("unschedulable") or CORDONED_FOR in document["metadata"].get("annotations", {}):
                found.append(node.name)
        return found

    def most_out_of_service(self) -> int:
        """The most nodes that the rollout had cordoned at one moment."""
        steps = [(at, 1 if cordoned else -1) for node in self.nodes for at, cordoned in self.cordons(node)]
        now = most = 0
        for _moment, step in sorted(steps):
            now += step
            most = max(most, now)
        return most


class Meanwhile:
    """A run that goes on."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def said(self) -> str:
        return "".join(self._lines)

    def wait_until_it_says(self, words: str, seconds: float = PATIENCE) -> None:
        end = time.monotonic() + seconds
        while words not in self.said:
            assert self.process.poll() is None or words in self.said, f"it ended without {words!r}:\n{self.said}"
            assert time.monotonic() < end, f"it never said {words!r}:\n{self.said}"
            time.sleep(0.05)

    def wait_for_the_end(self) -> int:
        """Its exit status."""
        status = self.process.wait(PATIENCE)
        self._reader.join()
        return status

    def _read(self) -> None:
        assert self.process.stdout is not None
        self._lines.extend(iter(self.process.stdout.readline, ""))


class Availability:
    """How many pods of an application were ready, looked at all the time from the beginning to ``end``."""

    def __init__(self, cluster: Cluster, namespace: str, labels: Mapping[str, str]) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._labels = labels
        self._counts: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def end(self) -> int:
        """The fewest at one moment."""
        self._ended.set()
        self._thread.join()
        return min(self._counts)

    def _look(self) -> None:
        while not self._ended.wait(0.05):
            with contextlib.suppress(OSError, ApiError):
                pods = self._cluster.pods(self._namespace)
                self._counts.append(sum(pod.ready and self._labels.items() <= pod.labels.items() for pod in pods))


def report_of(run: PlaybookRun) -> dict[str, Any]:
    """The artifact of a finished run."""
    [table] = run.results("Show the table")
    found: dict[str, Any] = table["ansible_stats"]["data"]["imagemode_rollout"]
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


# Makes a fleet of so many nodes; see the fixture make_fleet.
MakeFleet = Callable[..., Fleet]
