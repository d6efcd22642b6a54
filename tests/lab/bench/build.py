# SPDX-License-Identifier: GPL-3.0-or-later
"""What building an image costs: nothing to do, a first build, a changed configuration, another version of a component.

On the lab's base with a real dnf. Bytes are counted on the wire, by a relay before the registry.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from ansible_collections.imagemode.nodes.plugins.module_utils._build import image_proof
from ansible_collections.imagemode.nodes.plugins.module_utils._build.config_rendering import (
    RENDER_SPEC,
    render_machine_config,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.layered_build import layered_build
from ansible_collections.imagemode.nodes.plugins.module_utils._build.options import BUILD_SPEC

from lab import dnf_base
from lab.bench.task_cost import BenchFailure, checked
from lab.playbook_run import Project
from lab.registry import Registry
from lab.tcp_relay import Relay, relaying

NO_OP_TARGET = 1.0  # seconds
SHARE_TARGET = 1.0  # percent of the image that a changed configuration may send
COMPONENT_BYTES = 8_000_000
TOOLS = ("buildah", "podman", "skopeo")
NO_OP, INSPECT, MODULE = "layered_image_build, nothing to do", "skopeo inspect", "an empty module (ping)"
CONTAINERFILE = "RUN mkdir -p /usr/lib/agent && rpm -q jq > /usr/lib/agent/inventory\nCOPY motd /usr/lib/motd\n"
_SHIM = '#!/bin/sh\necho "$(date +%s.%N) {name} $*" >> {calls}\nexec {program} "$@"\n'


@dataclass(frozen=True)
class BuildCost:
    """One build: bytes from the build host to the registry, headers included, and what parts of it took, in seconds."""

    seconds: float
    sent: int
    stored: int
    layers: tuple[str, ...]
    image_bytes: int
    leak_seconds: float
    check_seconds: float
    engine_calls: int


@dataclass
class Bench:
    """The image of the measurement, its inputs, and how it is built."""

    directory: Path
    registry: Registry
    relay: Relay
    base: str
    repository: Path
    limit: str = "10"
    kubelet: str = "1.33"

    @property
    def image(self) -> str:
        """The image by tag."""
        return f"{self.relay.address}/bench/node:1"

    @property
    def calls(self) -> Path:
        """Where the tools write that they were called."""
        return self.directory / "calls"

    def options(self) -> dict[str, Any]:
        """The options of layered_image_build, as of now."""
        return {
            "image": self.image,
            "base": self.base,
            "packages": ["jq", "tcpdump"],
            "repositories": [{"name": "lab", "baseurl": str(self.repository), "gpgcheck": False}],
            "components": [
                {"name": name, "image": f"{self.relay.address}/bench/{name}:{version}", "tree": "/usr"}
                for name, version in (("runtime", "1.33"), ("kubelet", self.kubelet))
            ],
            "containerfile": str(self.directory / "Containerfile"),
            "context": str(self.directory / "context"),
            "machine_config": str(self.directory / "rendered"),
            "kernel_arguments": ["nosmt"],
            "secrets": [{"id": "token", "value": "never-to-be-" + "found", "version": "1"}],
            "checks": "warn",
            "validate_certs": False,
            "work_dir": str(self.directory / "work"),
        }

    def prepare(self) -> None:
        """Make the inputs."""
        (self.directory / "context").mkdir(parents=True)
        (self.directory / "context" / "motd").write_text("welcome\n")
        (self.directory / "Containerfile").write_text(CONTAINERFILE)
        for name, version in (("runtime", "1.33"), ("kubelet", "1.33"), ("kubelet", "1.34")):
            self._push_component(name, version)
        self.render()

    def render(self) -> None:
        """Render the machine config."""
        source = f"data:,%5Bcrio%5D%0Alimit%20%3D%20{self.limit}%0A"
        file = {"path": "/etc/crio/crio.conf.d/00-default", "mode": 0o644, "contents": {"source": source}}
        unit = {"name": "agent.service", "enabled": True, "contents": "[Service]\nExecStart=/usr/bin/true\n"}
        unit["contents"] = f"{unit['contents']}[Install]\nWantedBy=multi-user.target\n"
        config = {"ignition": {"version": "3.4.0"}, "storage": {"files": [file]}, "systemd": {"units": [unit]}}
        label = {"machineconfiguration.openshift.io/role": "worker"}
        document = {
            "apiVersion": "machineconfiguration.openshift.io/v1",
            "kind": "MachineConfig",
            "metadata": {"name": "50-bench", "labels": label},
            "spec": {"config": config},
        }
        defaults = {name: spec.get("default") for name, spec in RENDER_SPEC.items()}
        params = {**defaults, "documents": [document], "role": "worker", "dest": str(self.directory / "rendered")}
        params["var_links"] = {
            "/usr/local": None,
            "/root": None,
            "/home": None,
            "/opt": None,
            "/srv": None,
            "/mnt": None,
        }
        outcome = render_machine_config(params, False, lambda text: list(yaml.safe_load_all(text)))
        if outcome.failed:
            raise BenchFailure(f"the machine config was not rendered: {outcome.result}")

    def build(self) -> BuildCost:
        """Build once, in this process. Raises BenchFailure, also when there was nothing to build."""
        sent, stored, calls = self.relay.received, _stored(self.registry), len(self.calls_since(0.0))
        taken = {"leak": 0.0, "prove": 0.0}
        defaults = {name: spec.get("default") for name, spec in BUILD_SPEC.items()}
        options = self.options()
        for key, spec in (("components", "tree dest rpms version image"), ("secrets", "src value")):
            options[key] = [{**dict.fromkeys(spec.split()), **one} for one in options[key]]
        start = time.monotonic()
        with _timed(image_proof, "find_leaks", taken, "leak"), _timed(image_proof.ImageProof, "prove", taken, "prove"):
            outcome = layered_build({**defaults, **options}, False)
        seconds = time.monotonic() - start
        if outcome.failed or outcome.result["action"] != "build":
            raise BenchFailure(f"no build: {json.dumps(outcome.result, indent=1, default=str)}")
        manifest = self.registry.manifest("bench/node", "1")
        return BuildCost(
            seconds,
            self.relay.received - sent,
            _stored(self.registry) - stored,
            tuple(layer["digest"] for layer in manifest["layers"]),
            sum(layer["size"] for layer in manifest["layers"]),
            taken["leak"],
            taken["prove"] - taken["leak"],
            sum(not line.split()[1].startswith("skopeo") for line in self.calls_since(0.0)[calls:]),
        )

    def calls_since(self, moment: float) -> list[str]:
        """The calls of tools since a time, as ``TIME TOOL ARGUMENTS``."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [line for line in lines if float(line.split()[0]) >= moment]

    def _push_component(self, name: str, version: str) -> None:
        """An image with one program of random bytes, as nothing compresses a real one much further."""
        container = _run("buildah", "from", "scratch").strip()
        program = Path(_run("buildah", "mount", container).strip()) / "usr" / "bin" / name
        program.parent.mkdir(parents=True)
        program.write_bytes(random.Random(f"{name} {version}").randbytes(COMPONENT_BYTES))  # noqa: S311
        program.chmod(0o755)
        _run("buildah", "config", "--label", f"org.opencontainers.image.version={version}", container)
        _run("buildah", "commit", "--quiet", "--timestamp=0", "--rm", container, f"localhost/{name}:{version}")
        target = f"docker://{self.registry.address}/bench/{name}:{version}"
        _run("buildah", "push", "--quiet", "--tls-verify=false", f"localhost/{name}:{version}", target)
        _run("buildah", "rmi", f"localhost/{name}:{version}")


def measure(directory: Path, registry: Registry, options: argparse.Namespace, cleanup: contextlib.ExitStack) -> None:
    """Measure and print. Raises BenchFailure."""
    obstacle = dnf_base.obstacle()
    if obstacle:
        print(f"\nbuilds: not measured, {obstacle}")
        return
    layout, repositories = dnf_base.base_layout(), dnf_base.repositories()
    directory.mkdir(parents=True)
    relay = cleanup.enter_context(relaying(registry.address))
    cleanup.enter_context(mock.patch.dict(os.environ, _environment(directory)))
    cleanup.callback(_empty_storage)
    push = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci:{layout}:base"]
    _run(*push, f"docker://{registry.address}/bench/os:9.6")
    bench = Bench(directory, registry, relay, f"{relay.address}/bench/os:9.6", repositories / "main")
    bench.prepare()

    first = bench.build()
    print(
        f"\nbuilds of an image of {first.image_bytes / 1e6:.0f} MB on a base with dnf, by {_run('buildah', '--version').strip()}"
    )
    print(
        f"  {'':<30}{'seconds':>8}{'of 1st':>7}{'received':>12}{'of image':>9}{'layers':>7}{'engine':>7}{'leaks':>7}{'checks':>7}"
    )
    _print_build("first", first, first, None)
    _no_op(bench, options)
    bench.limit = "20"
    bench.render()
    configuration = bench.build()
    _print_build("configuration changed", configuration, first, first)
    bench.kubelet = "1.34"
    _print_build("another kubelet (8 MB)", bench.build(), first, configuration)


def _no_op(bench: Bench, options: argparse.Namespace) -> None:
    """Tasks with nothing to do beside plain ones, in turns, as a user runs them."""
    variables = {"ansible_connection": "local", "ansible_python_interpreter": shutil.which("python3") or "python3"}
    project = Project.create(
        bench.directory / "project", bench.directory, {"bench": ["builder"]}, group_vars={"bench": variables}
    )
    inspect = [_program("skopeo"), "inspect", "--tls-verify=false", f"docker://{bench.image}"]
    tasks = [
        {"name": MODULE, "ansible.builtin.ping": {}},
        {"name": INSPECT, "ansible.builtin.command": {"argv": inspect}, "changed_when": False},
        {"name": NO_OP, "imagemode.nodes.layered_image_build": bench.options()},
    ]
    moment, sent = time.time(), bench.relay.received
    run = checked(
        project.run([{"hosts": "bench", "gather_facts": False, "tasks": tasks * options.tasks}], timeout=1200)
    )
    seconds: dict[str, list[float]] = {}
    for event in run.events:
        if event["event"] == "runner_on_ok":
            data = event["event_data"]
            if data["res"].get("changed"):
                raise BenchFailure(f"{data['task']} changed something: {data['res']}")
            seconds.setdefault(data["task"], []).append(data["duration"])
    calls = [line.split()[1] for line in bench.calls_since(moment)]
    engine = sum(name != "skopeo" for name in calls) / options.tasks
    median = {name: statistics.median(found) for name, found in seconds.items()}
    for name, found in median.items():
        detail = ""
        if name == NO_OP:
            detail = f"{calls.count('skopeo') / options.tasks:>5.1f} calls of skopeo, {engine:.1f} of the engine"
            detail += f", {found - median[MODULE]:.3f} s without what any module costs"
            detail += f"   above {NO_OP_TARGET} s" if found > NO_OP_TARGET else ""
        print(f"  {name:<36}{found:>7.3f}{found / median[INSPECT]:>7.2f} x skopeo {detail}", flush=True)
    asked = (bench.relay.received - sent) / options.tasks
    print(f"  {'':<36}{asked:>7.0f} bytes of questions, none of content, per round", flush=True)


def _print_build(name: str, cost: BuildCost, first: BuildCost, before: BuildCost | None) -> None:
    share = 100 * cost.sent / cost.image_bytes
    new = len(set(cost.layers) - set(before.layers)) if before else len(cost.layers)
    missed = f"   above {SHARE_TARGET} %" if name.startswith("configuration") and share > SHARE_TARGET else ""
    print(
        f"  {name:<30}{cost.seconds:>8.1f}{100 * cost.seconds / first.seconds:>6.0f}%{cost.sent:>12}{share:>8.2f}%{new:>7}"
        f"{cost.engine_calls:>7}{100 * cost.leak_seconds / cost.seconds:>6.0f}%{100 * cost.check_seconds / cost.seconds:>6.0f}%"
        f"  stored {cost.stored}{missed}",
        flush=True,
    )


def _environment(directory: Path) -> Mapping[str, str]:
    """A container storage of our own, and tools that write down each call before they do their work."""
    storage = directory / "storage.conf"
    storage.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{directory / "graph"}"\nrunroot = "{directory / "run"}"\n'
    )
    shims = directory / "bin"
    shims.mkdir()
    for name in TOOLS:
        if shutil.which(name):
            (shims / name).write_text(_SHIM.format(name=name, calls=directory / "calls", program=_program(name)))
            (shims / name).chmod(0o755)
    return {
        "CONTAINERS_STORAGE_CONF": str(storage),
        "PATH": f"{shims}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }


def _program(name: str) -> str:
    """The tool itself, not what counts its calls."""
    return next(
        path for place in ("/usr/bin", "/bin", "/usr/local/bin") if os.access(path := f"{place}/{name}", os.X_OK)
    )


@contextlib.contextmanager
def _timed(owner: object, name: str, taken: dict[str, float], entry: str) -> Iterator[None]:
    """Add up what a function takes."""
    inner = getattr(owner, name)

    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.monotonic()
        try:
            return inner(*args, **kwargs)
        finally:
            taken[entry] += time.monotonic() - start

    with mock.patch.object(owner, name, timed):
        yield


def _stored(registry: Registry) -> int:
    """Bytes of all blobs in the storage of the registry."""
    return sum(path.stat().st_size for path in (registry.directory / "storage").rglob("blobs/sha256/*/*/data"))


def _empty_storage() -> None:
    for words in (("rm", "--all"), ("rmi", "--all", "--force")):
        subprocess.run(["buildah", *words], capture_output=True, check=False)


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise BenchFailure(f"{' '.join(argv)} failed:\n{done.stderr}")
    return done.stdout
