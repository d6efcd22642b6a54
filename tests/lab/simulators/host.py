# SPDX-License-Identifier: GPL-3.0-or-later
"""One node's directory as the simulated tools see it."""

from __future__ import annotations

import json
import os

from lab.journal import Journal
from lab.simulators.state import Deployment, State

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MACHINE = "/.lab/host"  # where a node sees the root of this machine (lab.enter)


def write_json(path: str, document: Any) -> None:
    """Replace a file atomically: readers see the old or the new one, a crash leaves either."""
    temporary = f"{path}.{os.getpid()}.new"
    with open(temporary, "w", encoding="utf-8") as handle:
        json.dump(document, handle)
    os.replace(temporary, path)


def read_json(path: str) -> Any:
    """The document, or None when there is no such file."""
    try:
        with open(path, encoding="utf-8") as handle:
            return json.load(handle)
    except FileNotFoundError:
        return None


class Host:
    """Paths, settings and state of one node.

    Below the node's directory: ``node.json`` (settings and faults), ``state.json``, ``power.json``,
    ``deploy/``, ``var/``, ``run/`` (the node's /run), ``proc/`` (its boot id and command line), ``transient/`` (what the
    tools keep in memory: the running transaction; emptied at boot like ``run/``).
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.lab = os.path.dirname(os.path.dirname(directory))
        self.name = os.path.basename(directory)
        self.journal = Journal(self.path("journal.jsonl"))
        self.node: dict[str, Any] = read_json(self.path("node.json"))
        self._state: State | None = None

    def path(self, *parts: str) -> str:
        return os.path.join(self.directory, *parts)

    # settings

    @property
    def arch(self) -> str:
        """OCI name of the architecture, such as amd64."""
        return str(self.node["arch"])

    def version(self, tool: str) -> tuple[int, ...]:
        """The version of a tool as numbers; empty when the node does not have it."""
        text = self.node["versions"].get(tool)
        return tuple(int(part) for part in text.split(".")) if text else ()

    @property
    def is_composefs(self) -> bool:
        """A host of bootc's composefs backend, without ostree. (Not one of ostree's that mounts through composefs.)"""
        return bool(self.node.get("backend") == "composefs")

    @property
    def is_ostree(self) -> bool:
        return bool(self.node["origin"] != "none")

    # faults

    def fault(self, name: str, *, fresh: bool = False) -> dict[str, Any] | None:
        """Parameters of a fault that is in force, else None. ``fresh`` looks at the file again, for waiting loops."""
        if fresh:
            self.node = read_json(self.path("node.json"))
        found: dict[str, Any] | None = self.node["faults"].get(name)
        return found

    def fire(self, name: str) -> dict[str, Any] | None:
        """Like ``fault``, for one that strikes now: noted in the journal, and over when its ``times`` are used up."""
        parameters = self.fault(name, fresh=True)
        if parameters is None:
            return None
        self.journal.append("fault", fault=name, action="fire")
        if parameters.get("times"):
            self.update_faults(
                name, None if parameters["times"] == 1 else {**parameters, "times": parameters["times"] - 1}
            )
        return parameters

    def update_faults(self, name: str, parameters: dict[str, Any] | None) -> None:
        """Store a fault's parameters, or remove it (None)."""

        def update(node: dict[str, Any]) -> None:
            node["faults"].pop(name, None)
            if parameters is not None:
                node["faults"][name] = parameters

        self._update_settings(update)

    def use_tools_of(self, tree: str) -> None:
        """Take over the versions that an image brings in /usr/lib/lab/tools.json; of other tools those that the node was made with."""
        brought = read_json(os.path.join(tree, "usr/lib/lab/tools.json")) or {}
        wanted = {**self.node.get("made_with", self.node["versions"]), **brought}
        if wanted != self.node["versions"]:
            self._update_settings(
                lambda node: node.update(made_with=node.get("made_with", node["versions"]), versions=wanted)
            )

    def _update_settings(self, update: Callable[[dict[str, Any]], None]) -> None:
        import fcntl

        handle = os.open(self.path("node.lock"), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            node = read_json(self.path("node.json"))
            update(node)
            write_json(self.path("node.json"), node)
            self.node = node
        finally:
            os.close(handle)

    # state

    @property
    def state(self) -> State:
        if self._state is None:
            self._state = State(read_json(self.path("state.json")))
        return self._state

    def reload(self) -> None:
        """Forget what was read: after waiting for the lock, another tool may have changed everything."""
        self._state = None

    def save(self, state: State | None = None) -> None:
        if state is not None:
            self._state = state
        write_json(self.path("state.json"), self.state.as_json())

    @property
    def staged(self) -> Deployment | None:
        document = read_json(self.path("transient", "staged.json"))
        return Deployment.from_json(document) if document else None

    def write_staged(self, deployment: Deployment | None) -> None:
        """Stage a deployment, or unstage (None). Kept where a power cut loses it, as on a real host."""
        if deployment is not None:
            self.update_staged(deployment)
            return
        record = self.path("run", "ostree", "staged-deployment")
        for leftover in (self.path("transient", "staged.json"), record, f"{record}-locked"):
            if os.path.exists(leftover):
                os.unlink(leftover)

    def update_staged(self, deployment: Deployment) -> None:
        """Change the staged deployment in place; the legacy file of its lock is not touched.

        The tools of the lab read JSON; for everybody else there is the file that ostree writes.
        """
        from lab.simulators.staged_record import as_bytes

        write_json(self.path("transient", "staged.json"), deployment.as_json())
        record = self.path("run", "ostree", "staged-deployment")
        os.makedirs(os.path.dirname(record), exist_ok=True)
        with open(f"{record}.new", "wb") as handle:
            handle.write(as_bytes(deployment.locked, deployment.kargs, _boot_entry_keys(deployment)))
        os.replace(f"{record}.new", record)

    @property
    def booted(self) -> Deployment:
        return self.state.deployments[self.state.booted_index()]

    def commit(self, deployment: Deployment) -> dict[str, Any]:
        """Metadata of the image commit below a deployment."""
        return self.state.commits[deployment.base]

    def tree(self, deployment: Deployment) -> str:
        return os.path.join(self.lab, "trees", deployment.base)

    def etc(self, deployment: Deployment) -> str:
        return self.path("deploy", deployment.directory, "etc")

    # files of the running node

    def resolve(self, path: str) -> str | None:
        """The file on this machine behind an absolute path of the running node, symlinks followed as the node would.

        None when it does not exist, a dangling symlink included.
        """
        todo = [part for part in path.split("/") if part]
        done: list[str] = []
        for _number in range(200):
            if not todo:
                found = self._host_path(done)
                return found if os.path.lexists(found) else None
            part = todo.pop(0)
            if part == "..":
                done = done[:-1]
                continue
            if part == ".":
                continue
            here = self._host_path([*done, part])
            if os.path.islink(here):
                target = os.readlink(here)
                done = [] if target.startswith("/") else done
                todo = [piece for piece in target.split("/") if piece] + todo
            else:
                done.append(part)
        return None

    def _host_path(self, parts: list[str]) -> str:
        first = parts[0] if parts else ""
        if first == "etc":
            return os.path.join(self.etc(self.booted), *parts[1:])
        if ["", *parts[:2]] == MACHINE.split("/"):
            return "/" + "/".join(parts[2:])
        if first in ("var", "run", "boot", "sysroot"):
            return self.path(*parts)
        if parts[:2] == ["usr", "local"]:
            return self.path("var", "usrlocal", *parts[2:])
        return os.path.join(self.tree(self.booted), *parts)

    def read(self, path: str) -> bytes | None:
        """Content of a file of the running node, None when it does not exist."""
        found = self.resolve(path)
        if found is None:
            return None
        with open(found, "rb") as handle:
            return handle.read()


def _boot_entry_keys(deployment: Deployment) -> dict[str, str]:
    return {f"x-options-source-{name}": options for name, options in (deployment.sources or {}).items()}
