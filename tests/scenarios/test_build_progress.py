# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a build is, on the terminal while it runs, on this machine and over ssh; and it still ends with its task."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from build_project import LOCAL, POOL, BuildProject
from lab import sshd
from lab.registry import Registry

SLOW = "COPY motd /usr/lib/motd\n\nRUN sleep {seconds} && \\\n  true\nRUN true\n"


@pytest.fixture
def project(tmp_path: Path, registry: Registry, base_image: str, monkeypatch: pytest.MonkeyPatch) -> BuildProject:
    assert base_image
    made = BuildProject.create(tmp_path, registry, monkeypatch, {"builder": LOCAL})
    made.set(imagemode_progress_interval=1)
    return made


@pytest.fixture
def over_ssh(project: BuildProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BuildProject]:
    """The build host is this machine again, behind a real sshd."""
    if sshd.missing():
        pytest.skip(str(sshd.missing()))
    sockets = tempfile.TemporaryDirectory(
        prefix="cp-"
    )  # a socket's path can have 108 bytes, and a test's directory has as many
    monkeypatch.setenv("ANSIBLE_SSH_CONTROL_PATH_DIR", sockets.name)
    directory = tmp_path / "sshd"
    directory.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)], check=True)
    kept = {"CONTAINERS_STORAGE_CONF": os.environ["CONTAINERS_STORAGE_CONF"], "PATH": os.environ["PATH"]}
    settings = {
        "AuthorizedKeysFile": str(directory / "user.pub"),
        "PermitRootLogin": "prohibit-password",
        "SetEnv": " ".join(f"{name}={value}" for name, value in kept.items()),
    }
    with sshd.daemon(directory, settings) as port:
        reached = sshd.Sshd(port, directory / "user").inventory_vars()
        hosts = project.directory / "hosts.yml"
        inventory = yaml.safe_load(hosts.read_text())
        machine = {**reached, "ansible_become": False, "ansible_python_interpreter": sys.executable}
        inventory["all"]["children"]["builders"]["hosts"]["builder"] = machine
        hosts.write_text(yaml.safe_dump(inventory))
        project.set(imagemode_build_host="builder")
        with sockets:
            yield project


def progress(text: str, host: str) -> list[str]:
    """The lines about a build that is under way, without their seconds."""
    return [re.sub(r" \(\d+ s\)$", "", line) for line in text.splitlines() if line.startswith(f"{host}: ")]


def left_behind(project: BuildProject) -> list[Path]:
    return list((project.directory / ".cache" / "imagemode-build").glob("*progress-*"))


def check_lines(stdout: str, host: str) -> None:
    lines = progress(stdout, host)
    logs = [line for line in lines if "follow it with: tail -f /" in line]
    assert len(logs) == 1
    assert lines[0] == logs[0]
    assert any(re.fullmatch(rf"{host}: .*step 3 of \d+, line 3: RUN sleep 4 && true", line) for line in lines), lines
    assert len(lines) == len(set(lines))


def test_steps_are_shown_while_they_run(project: BuildProject) -> None:
    project.containerfile(SLOW.format(seconds=4))
    run = project.run()
    assert run.returncode == 0, run.stdout + run.stderr
    check_lines(run.stdout, "localhost")
    assert left_behind(project) == []


def test_steps_are_shown_over_ssh(over_ssh: BuildProject) -> None:
    over_ssh.containerfile(SLOW.format(seconds=4))
    run = over_ssh.run()
    assert run.returncode == 0, run.stdout + run.stderr
    check_lines(run.stdout, "builder")


@pytest.mark.parametrize("interval", [60, 0, "never"])
def test_a_build_that_is_done_before_the_first_look_shows_nothing(project: BuildProject, interval: object) -> None:
    project.set(imagemode_progress_interval=interval)
    project.containerfile(SLOW.format(seconds=0))
    run = project.run()
    assert run.returncode == 0, run.stdout
    assert progress(run.stdout, "localhost") == []


def test_a_task_whose_output_is_hidden_shows_nothing(project: BuildProject) -> None:
    project.containerfile("COPY motd /m\nRUN sleep 3 # hush-hush\n")
    task = {
        "imagemode.nodes.layered_image_build": {
            "image": project.variables["imagemode_image"],
            "base": project.variables["imagemode_build_base"],
            "containerfile": str(project.directory / "files" / "Containerfile"),
            "context": str(project.directory / "files"),
            "validate_certs": False,
        },
        "no_log": True,
    }
    play = {"hosts": "localhost", "gather_facts": False, "vars": {**LOCAL, "imagemode_progress_interval": 1}}
    (project.directory / "play.yml").write_text(yaml.safe_dump([{**play, "tasks": [task]}]))
    run = project.run(playbook=project.directory / "play.yml")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "hush-hush" not in run.stdout
    assert progress(run.stdout, "localhost") == []


def wait_until(holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.1)


def runs(command: str) -> bool:
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return command in found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_build_ends_with_its_controller(project: BuildProject, number: signal.Signals, registry: Registry) -> None:
    seconds = 3000 + number
    project.containerfile(SLOW.format(seconds=seconds))
    output = project.directory / "output"
    with output.open("w") as file:
        process = subprocess.Popen(
            project.command(*POOL), cwd=project.directory, env=project.environment, stdout=file, stderr=file
        )
    wait_until(lambda: f"RUN sleep {seconds}" in output.read_text())  # shown, so that it is being watched
    process.send_signal(number)
    process.wait(60)
    wait_until(lambda: not runs(f"sleep {seconds}"))
    wait_until(lambda: not left_behind(project))
    buildah = shutil.which("buildah") or "buildah"
    containers = [buildah, "containers", "-q"]
    wait_until(lambda: subprocess.run(containers, capture_output=True, text=True, check=True).stdout == "")
    assert registry.tags(project.repository) == []
