# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts of an ordinary inventory, one at a time: nothing reaches them but ansible-playbook with the public modules."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab import inventory
from lab.playbook_run import PlaybookRun

from hosts import observed

RUN_SECONDS = 3 * 3600


class SuiteFailed(Exception):
    """The suite itself cannot run: no inventory, no hosts. The message says why."""


@dataclasses.dataclass(frozen=True)
class Fleet:
    """An inventory, a pattern, and what else ansible-playbook is told each time. ``work`` takes playbooks and logs."""

    inventory: Path
    work: Path
    pattern: str = "all"
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def hosts(self) -> list[str]:
        """The hosts that the pattern matches. Raises SuiteFailed."""
        argv = [inventory.program("ansible"), self.pattern, "-i", str(self.inventory), "--list-hosts"]
        done = subprocess.run(argv, capture_output=True, text=True, env=self._variables(), check=False)
        names = [line.strip() for line in done.stdout.splitlines()[1:] if line.strip()]
        if done.returncode or not names:
            raise SuiteFailed(f"{self.inventory} has no host for the pattern {self.pattern!r}. {done.stderr.strip()}")
        return names

    def run(self, host: str, task: Mapping[str, Any]) -> PlaybookRun:
        """Run one task on one host, and look at the host; with become and everything else as the inventory says."""
        import ansible_runner

        name = uuid.uuid4().hex[:12]
        playbook = self.work / f"{name}.json"  # JSON is YAML, and needs no care about what a host's strings look like
        look = {"name": "look", "ansible.builtin.raw": observed.COMMAND, "changed_when": False, "check_mode": False}
        tasks = [{"name": "task", "ignore_errors": True, **task}, {**look, "ignore_errors": True}]
        playbook.write_text(json.dumps([{"hosts": host, "gather_facts": False, "tasks": tasks}]))
        (self.work / name).mkdir()
        outcome = ansible_runner.run(
            private_data_dir=str(self.work / name),
            project_dir=str(inventory.CHECKOUT),
            playbook=str(playbook),
            inventory=str(self.inventory),
            cmdline=" ".join(self.arguments) or None,
            envvars=self._variables(),
            settings={"job_timeout": RUN_SECONDS, "suppress_env_files": True},
            quiet=True,
        )
        return PlaybookRun(
            outcome.rc, outcome.status, outcome.stdout.read(), tuple(outcome.events), outcome.stats or {}
        )

    def _variables(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return {
            **os.environ,
            "PATH": path,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_RETRY_FILES_ENABLED": "0",
            **self.environment,
        }


class Wrong(Exception):
    """The host, or the collection on it, did not do what it must. The message says what was seen and what was expected."""


class NotHere(Exception):
    """The check has no meaning on this host, or was not allowed. The message says why."""


class Refused(Exception):
    """The module refused, changed nothing, and said why: right in many situations, and for a person to judge."""


@dataclasses.dataclass(frozen=True)
class Host:
    """One host under test. ``images``: between which it may be switched; ``may_reboot``: whether it may be rebooted.
    ``memory``: what the last check saw of it.
    """

    name: str
    fleet: Fleet
    images: Sequence[str] = ()
    may_reboot: bool = False
    memory: dict[str, Any] = dataclasses.field(default_factory=dict, compare=False)

    def attempt(self, module: str, *, keywords: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        """The result of one task, whatever it is. Raises Wrong for a traceback or a lost connection."""
        run = self.fleet.run(self.name, {module: options, **(keywords or {})})
        found = run.results("task", self.name)
        if not found:
            raise Wrong(f"{module} gave no result: {run.stdout.strip()[-600:]}")
        result = found[-1]
        message = str(result.get("msg", ""))
        if result["event"] == "runner_on_unreachable" or result.get("unreachable_host"):
            raise Wrong(f"the host cannot be reached: {message}")
        if "Traceback" in run.stdout or "MODULE FAILURE" in message:
            raise Wrong(f"{module} ended with an exception: {message[-600:]}")
        looked = run.results("look", self.name)
        self.memory["seen"] = observed.answers(str(looked[-1].get("stdout", ""))) if looked else None
        return result

    def act(self, module: str, *, check: bool = False, **options: Any) -> dict[str, Any]:
        """The result of one of the collection's modules. Raises Refused with its message if it failed."""
        result = self.attempt(f"imagemode.nodes.{module}", keywords={"check_mode": check}, **options)
        if result["event"] == "runner_on_failed":
            raise Refused(f"{module}: {result['msg']}")
        return result

    def info(self) -> dict[str, Any]:
        """image_mode_info's view of the host; asked for again only after the tools said something new."""
        if self.memory.get("seen") is None or self.memory.get("seen_by_info") != self.memory["seen"]:
            self.memory["info"] = self.act("image_mode_info")["host"]
            self.memory["seen_by_info"] = self.memory["seen"]
        return dict(self.memory["info"])

    @property
    def seen(self) -> list[Any]:
        """What the tools themselves said after the last task; answers to observed.QUESTIONS."""
        if self.memory.get("seen") is None:
            self.info()
        answers: list[Any] = self.memory["seen"]
        return answers
