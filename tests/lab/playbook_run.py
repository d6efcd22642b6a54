# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of the real ansible-playbook over lab nodes, for tests: through ansible-runner, or as a process to be killed."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lab import inventory
from lab.ansible_server import AnsibleServer

Play = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class PlaybookRun:
    """A finished run. ``events`` are ansible-runner's, ``stdout`` is what a person would have seen."""

    rc: int
    status: str
    stdout: str
    events: tuple[dict[str, Any], ...]
    stats: Mapping[str, Mapping[str, int]]

    def results(self, task: str | None = None, host: str | None = None) -> list[dict[str, Any]]:
        """Task results as they arrived, each with ``node``, ``task``, ``event`` added; narrowed by name if given."""
        found = []
        for event in self.events:
            data = event.get("event_data", {})
            if not event["event"].startswith("runner_on_") or "res" not in data:
                continue
            if (task is not None and data.get("task") != task) or (host is not None and data.get("host") != host):
                continue
            found.append({**data["res"], "node": data["host"], "task": data.get("task"), "event": event["event"]})
        return found

    def result(self, task: str, host: str) -> dict[str, Any]:
        """The one result of a task on a host. Raises AssertionError with the output when there is not exactly one."""
        found = self.results(task, host)
        if len(found) != 1:
            raise AssertionError(
                f"{len(found)} results of {task!r} on {host}, wanted one; the run said:\n{self.stdout}"
            )
        return found[0]

    def recap(self, host: str) -> dict[str, int]:
        """The counters of the play recap for one host: ok, changed, unreachable, failed, skipped, rescued."""
        names = {"ok": "ok", "changed": "changed", "dark": "unreachable", "failures": "failed"}
        names.update({"skipped": "skipped", "rescued": "rescued", "ignored": "ignored"})
        return {shown: self.stats.get(name, {}).get(host, 0) for name, shown in names.items()}


@dataclasses.dataclass(frozen=True)
class Project:
    """A directory with an inventory and an ansible.cfg, from which playbooks run over the nodes of one lab."""

    directory: Path
    lab: Path

    @classmethod
    def create(
        cls,
        directory: Path,
        lab: Path,
        groups: Mapping[str, Sequence[str]],
        *,
        group_vars: Mapping[str, Mapping[str, Any]] | None = None,
        forks: int = 10,
    ) -> Project:
        """Write the files. ``groups`` maps a group to node names."""
        hosts = inventory.write(directory / "inventory", lab, groups, group_vars=group_vars)
        inventory.write_configuration(directory, hosts, forks=forks)
        return cls(directory, lab)

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of a run: this virtual environment's Ansible, this project's configuration."""
        return {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "ANSIBLE_CONFIG": str(self.directory / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            **(extra or {}),
        }

    def run(
        self,
        playbook: Path | str | Iterable[Play],
        *,
        extra_vars: Mapping[str, Any] | None = None,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        timeout: float = 300,
    ) -> PlaybookRun:
        """Run a playbook (a path, or its plays) with ansible-runner until it ends, for ``timeout`` seconds at most.

        It is forked from a process that has ansible-core imported, where its configuration allows that (AnsibleServer).
        """
        import ansible_runner

        work = self.directory / "runs" / uuid.uuid4().hex[:8]
        work.mkdir(parents=True)
        variables = self.environment(environment)
        variables["PATH"] = f"{_server().programs}{os.pathsep}{variables['PATH']}"
        outcome = ansible_runner.run(
            private_data_dir=str(work),
            project_dir=str(inventory.CHECKOUT),
            playbook=str(self.playbook(playbook)),
            inventory=str(self.directory / "inventory" / "hosts.yml"),
            cmdline=" ".join(self._arguments(extra_vars, arguments, work)) or None,
            envvars=variables,
            settings={"idle_timeout": int(timeout), "job_timeout": int(timeout), "suppress_env_files": True},
            quiet=True,
        )
        stdout = outcome.stdout.read()
        events = tuple(outcome.events)
        return PlaybookRun(outcome.rc, outcome.status, stdout, events, outcome.stats or {})

    def start(
        self,
        playbook: Path | str | Iterable[Play],
        *,
        extra_vars: Mapping[str, Any] | None = None,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start ansible-playbook as a process of its own group, to be watched, interrupted or killed by the test."""
        argv = [
            inventory.program("ansible-playbook"),
            *("-i", str(self.directory / "inventory" / "hosts.yml")),
            *self._arguments(extra_vars, arguments, self.directory),
            str(self.playbook(playbook)),
        ]
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment(environment),
            start_new_session=True,
        )

    def playbook(self, playbook: Path | str | Iterable[Play]) -> Path:
        """The path of a playbook; plays given as data are written into the project first."""
        if isinstance(playbook, (str, Path)):
            path = Path(playbook)
            return path if path.is_absolute() else inventory.CHECKOUT / path
        path = self.directory / f"playbook-{uuid.uuid4().hex[:8]}.yml"
        path.write_text(yaml.safe_dump([dict(play) for play in playbook], sort_keys=False))
        return path

    @staticmethod
    def _arguments(extra_vars: Mapping[str, Any] | None, arguments: Sequence[str], directory: Path) -> list[str]:
        words = list(arguments)
        if extra_vars:
            path = directory / f"extra-vars-{uuid.uuid4().hex[:8]}.json"
            path.write_text(json.dumps(dict(extra_vars)))
            words += ["-e", f"@{path}"]
        return words


@functools.cache
def _server() -> AnsibleServer:
    """The server of this process; it ends with it."""
    return AnsibleServer.start()
