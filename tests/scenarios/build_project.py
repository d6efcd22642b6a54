# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory with a pool of nodes that nobody can reach, and a build host, for playbooks/build.yml."""

from __future__ import annotations

import base64
import http.server
import json
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab.registry import Registry

CHECKOUT = Path(__file__).resolve().parents[2]
PLAYBOOK = CHECKOUT / "playbooks" / "build.yml"
POOL = ("-e", "imagemode_pool=workers")
ANSIBLE = Path(sys.executable).parent / "ansible-playbook"
LOCAL = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}


class BuildProject:
    """The pool `workers` of two nodes; `builders` are further inventory hosts, in a group of that name."""

    def __init__(
        self, directory: Path, variables: Mapping[str, Any], builders: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self.directory = directory
        (directory / "group_vars").mkdir()
        nodes = {f"n{number}": {"ansible_host": "127.0.0.1", "ansible_port": 1} for number in (1, 2)}
        variables_of_all = {"ansible_python_interpreter": "/nowhere/python", "ansible_become": True}
        groups: dict[str, Any] = {"workers": {"hosts": nodes, "vars": variables_of_all}}
        if builders:
            groups["builders"] = {"hosts": {name: dict(each) for name, each in builders.items()}}
        (directory / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups}}))
        self.variables = dict(variables)
        self.set()

    @classmethod
    def create(
        cls,
        directory: Path,
        registry: Registry,
        monkeypatch: pytest.MonkeyPatch,
        builders: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> BuildProject:
        """A project with a Containerfile that copies a file, and a container storage of its own."""
        storage = directory / "storage.conf"
        graph, run = directory / "graph", directory / "run"
        storage.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{graph}"\nrunroot = "{run}"\n')
        monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(storage))
        monkeypatch.setenv("HOME", str(directory))
        (directory / "files").mkdir()
        (directory / "files" / "motd").write_text("welcome\n")
        project = cls(
            directory,
            {
                "imagemode_image": f"{registry.address}/{directory.name.replace('_', '-').strip('-')}/node:1",
                "imagemode_build_base": f"{registry.address}/os:base",
                "imagemode_build_containerfile": "files/Containerfile",
                "imagemode_build_context": "files",
                "imagemode_validate_certs": False,
            },
            builders or {},
        )
        project.containerfile("COPY motd /usr/lib/motd\n")
        return project

    @property
    def repository(self) -> str:
        """The image's name in the registry."""
        return str(self.variables["imagemode_image"]).partition("/")[2].rpartition(":")[0]

    def set(self, **variables: Any) -> None:
        """Change variables of the pool."""
        self.variables.update(variables)
        (self.directory / "group_vars" / "workers.yml").write_text(yaml.safe_dump(self.variables))

    def containerfile(self, text: str) -> None:
        """Write the Containerfile."""
        (self.directory / "files" / "Containerfile").write_text(text)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of ansible-playbook."""
        return {
            **os.environ,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_HOME": str(self.directory / "home"),
            "ANSIBLE_SHOW_CUSTOM_STATS": "1",
            # Ansible leaves it to Python when lines reach a file; a test that looks into one wants them at once.
            "PYTHONUNBUFFERED": "1",
        }

    def command(self, *options: str, playbook: Path = PLAYBOOK) -> list[str]:
        """The command line of a run."""
        return [str(ANSIBLE), "-i", "hosts.yml", *options, str(playbook)]

    def run(self, *options: str, playbook: Path = PLAYBOOK) -> subprocess.CompletedProcess[str]:
        """Run a playbook over the pool."""
        return subprocess.run(
            self.command(*(POOL if playbook == PLAYBOOK else ()), *options, playbook=playbook),
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )


def artifacts(run: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What a run leaves to the next job, `imagemode_build`."""
    _before, _mark, stats = run.stdout.partition("CUSTOM STATS:")
    for line in stats.splitlines():
        if "imagemode_build" in line:
            found: dict[str, Any] = json.loads(line.partition("RUN: ")[2])["imagemode_build"]
            return found
    raise AssertionError(run.stdout + run.stderr)


class HttpSink:
    """Takes every POST and remembers it; answers with `status`."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.posts: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.url = ""


@contextmanager
def http_sink(status: int = 204) -> Iterator[HttpSink]:
    """A web server for as long as the block runs."""
    sink = HttpSink(status)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sink.posts.append((dict(self.headers), json.loads(body)))
            self.send_response(sink.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sink.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
        yield sink
        server.shutdown()


class SmtpSink:
    """Takes mail. `refuses` are addresses it has no mailbox for; with a `password` it wants AUTH PLAIN with it."""

    def __init__(self, refuses: tuple[str, ...], password: str | None) -> None:
        self.refuses = refuses
        self.password = password
        self.mails: list[str] = []
        self.logins: list[str] = []
        self.port = 0


@contextmanager
def smtp_sink(refuses: tuple[str, ...] = (), password: str | None = None) -> Iterator[SmtpSink]:
    """A mail server for as long as the block runs."""
    sink = SmtpSink(refuses, password)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 sink")
            while line := self.rfile.readline().decode().strip():
                verb = line.split(" ", 1)[0].upper()
                if verb == "QUIT":
                    self.say("221 bye")
                    return
                self.answer(verb, line)

        def answer(self, verb: str, line: str) -> None:
            if verb == "EHLO" and sink.password:
                self.say("250-sink")
                self.say("250 AUTH PLAIN")
            elif verb == "AUTH":
                sink.logins.append(line.rpartition(" ")[2])
                self.say("235 welcome" if self.knows(sink.logins[-1]) else "535 no such account")
            elif verb == "RCPT" and any(address in line for address in sink.refuses):
                self.say("550 No such user here")
            elif verb == "DATA":
                self.say("354 go on")
                lines = []
                while (part := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                    lines.append(part)
                sink.mails.append("\n".join(lines))
                self.say("250 taken")
            else:
                self.say("250 yes")

        def knows(self, login: str) -> bool:
            return base64.b64decode(login).split(b"\0")[-1].decode() == sink.password

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    socketserver.ThreadingTCPServer.daemon_threads = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sink.port = server.server_address[1]
        yield sink
        server.shutdown()
