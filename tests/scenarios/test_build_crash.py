# SPDX-License-Identifier: GPL-3.0-or-later
"""layered_image_build ended at any moment: the tag names the old image or the new one, whole, and the next run succeeds.

Ended by SIGKILL, which nobody can catch; by SIGTERM; or by a controller that is gone, which is seen in a closed pipe. The
moments are found by what the build does then, in its log, in its processes, or in a request that is held at the registry.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from faulty_registry import FaultyRegistry, Held, faulty_registry
from image_builder import Builder, builder_of, tool
from lab.images import build_base
from lab.registry import Registry
from lab.signing import GpgKey

PROGRAM = (
    "import json, sys\n"
    "from ansible_collections.imagemode.nodes.plugins.module_utils._build.layered_build import layered_build\n"
    "print(json.dumps(layered_build(json.loads(sys.argv[1]), False).result), flush=True)\n"
)
SECRET = "s3cr3t-" + "of-the-fleet"
END_SECONDS = 20.0


@dataclass
class Bench:
    """An image whose build has every part. Each build of it is of new inputs; `way` is how it reaches the registry."""

    builder: Builder
    way: FaultyRegistry
    options: dict[str, Any]
    process: subprocess.Popen[bytes] | None = None
    number: int = 0
    logged: dict[Path, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.builder.name

    @property
    def work(self) -> Path:
        return self.builder.directory / "work"

    def change(self) -> None:
        """Make the next build one of new inputs."""
        self.number += 1
        (self.builder.context / "motd").write_text(f"{self.number}\n")

    def start(self) -> None:
        """Start the module in a process group of its own."""
        argv = [sys.executable, "-c", PROGRAM, json.dumps(self.builder.params(**self.options))]
        self.logged = {path: path.stat().st_size for path in self.work.rglob("*.log")}
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)

    def tools(self) -> list[str]:
        """The command lines of the tools that the module runs now."""
        assert self.process is not None
        found = []
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{self.process.pid}/task").iterdir():
                for child in (task / "children").read_text().split():
                    with contextlib.suppress(OSError):
                        found.append(Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode())
        return found

    def log(self) -> str:
        """What the build that runs has logged; two within a second have one file."""
        return "".join(path.read_text()[self.logged.get(path, 0) :] for path in self.work.rglob("*.log"))

    def end(self, how: str) -> None:
        """End the module, and wait until it and everything that it started are gone."""
        assert self.process is not None
        assert self.process.stdout is not None
        tools = _descendants(self.process.pid)
        if how == "closed":
            self.process.stdout.close()
        else:
            os.killpg(self.process.pid, signal.Signals[how])
        self.process.wait(END_SECONDS)
        self.process.stdout.close()
        _wait_for(lambda: not any(_lives(pid) for pid in tools), "the tools of the module still run")
        for fault in self.way.faults:
            if isinstance(fault, Held):  # what was on its way arrives all the same
                fault.released.set()
                _wait_for(fault.is_empty, "a request is still on its way")
        self.way.faults = []

    def whole(self) -> str:
        """The digest of the tag, whose image can be had with all its layers, from the registry itself."""
        target = self.builder.directory / "copy"
        shutil.rmtree(target, ignore_errors=True)
        tool("skopeo", "copy", "--quiet", "--src-tls-verify=false", f"docker://{self.builder.image}", f"dir:{target}")
        return str(self.builder.registry.digest(self.name, "1"))

    def leftovers(self) -> list[str]:
        """What should not be there when no build runs: containers, mounts, private files, copies of images."""
        storage = self.builder.directory / "storage"
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        temporary = ("private", "image-", "lint-")
        return [
            *(f"container {name}" for name in tool("buildah", "containers", "--format={{.ContainerName}}").split()),
            *(f"mount {place}" for place in mounts if str(storage) in place and place.endswith("/merged")),
            *(str(path) for path in self.work.rglob("*") if path.is_dir() and path.name.startswith(temporary)),
            *(str(path) for path in self.work.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()),
        ]


def _unmount_below(directory: Path) -> None:
    """What an engine that was killed leaves mounted: its storage directory, upon itself."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for place in reversed([place for place in mounts if directory in Path(place).parents]):
        subprocess.run(["umount", "--lazy", place], capture_output=True, check=False)


def _descendants(pid: int) -> list[int]:
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *_descendants(int(child))]
    return found


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _wait_for(condition: Callable[[], bool], otherwise: str, explain: Callable[[], str] = str) -> None:
    end = time.monotonic() + END_SECONDS
    while not condition():
        assert time.monotonic() < end, f"{otherwise}\n{explain()}"
        time.sleep(0.002)


@pytest.fixture(scope="module")
def bench(
    registry: Registry, base_image: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Bench]:
    """One for all moments, as on a build host: each build finds what the one before left."""
    assert base_image
    if shutil.which("gpg") is None:
        pytest.skip("gpg is not installed")
    directory = tmp_path_factory.mktemp("crash")
    key = GpgKey.create(directory / "gpg")
    with pytest.MonkeyPatch.context() as monkeypatch, faulty_registry(registry.address) as way:
        for builder in builder_of(directory, registry, monkeypatch, request):
            builder.name = "build/crash"
            builder.containerfile.write_text(
                "COPY motd /usr/lib/motd\nRUN --mount=type=secret,id=token echo in the step; sleep 0.3\n"
            )
            options = {
                "image": f"{way.address}/{builder.name}:1",
                "base": f"{way.address}/os:base",
                "kernel_arguments": ["nosmt"],
                "containerfile_final_content": "RUN echo last words\n",
                "secrets": [{"id": "token", "src": None, "value": SECRET, "version": "1"}],
                "sign": {
                    "gpg": key.fingerprint,
                    "gnupghome": str(key.home),
                    "lookaside_staging": (directory / "staging").as_uri(),
                    **dict.fromkeys(("sigstore_key", "public_key", "passphrase_file", "gpg_passphrase_file")),
                },
            }
            yield Bench(builder, way, options)
            _unmount_below(directory)


Moment = Callable[[Bench], Callable[[], bool]]


def in_log(text: str) -> Moment:
    return lambda bench: lambda: text in bench.log()


def in_tool(text: str) -> Moment:
    return lambda bench: lambda: any(text in command for command in bench.tools())


def at_registry(pattern: str) -> Moment:
    def prepare(bench: Bench) -> Callable[[], bool]:
        bench.way.faults = [held := Held(pattern)]
        return held.reached.is_set

    return prepare


def while_pulling(bench: Bench) -> Callable[[], bool]:
    """The base is a new one, and its layer does not come."""
    registry, name = bench.builder.registry, "build/crash-base"
    build_base(registry.address, name, "1", version=f"1.{bench.number}")
    bench.options["base"] = f"{bench.way.address}/{name}:1"
    return at_registry(f"GET .*{registry.manifest(name, '1')['layers'][0]['digest']}")(bench)


# In the order in which a build comes to them: each of them is reached again by a build that was ended at the one before.
MOMENTS: dict[str, Moment] = {
    "while the base is pulled": while_pulling,
    "in a step": in_log("in the step\n"),
    "between phases": in_tool("Containerfile.config"),
    "in the configuration": in_log("ADD machine-config.tar"),
    "before the last step": in_tool("Containerfile.final"),
    "in the search for secrets": in_tool("--dest-oci-accept-uncompressed-layers"),
    "while the image is mounted for its checks": in_tool(" mount imagemode-tree-"),
    "while layers are pushed": at_registry("(PATCH|PUT) .*/blobs/"),
    "before the second tag": at_registry("PUT .*/manifests/1-"),
    "while it is signed": in_tool("--sign-by="),
    "between push and tag": at_registry("PUT .*/manifests/1$"),
}


@pytest.mark.parametrize("hows", [("SIGKILL",), ("closed", "SIGTERM")], ids=" or ".join)
def test_whoever_ends_a_build_finds_the_old_image_or_the_new_one(bench: Bench, hows: tuple[str, ...]) -> None:
    bench.change()
    old = bench.builder.build(**bench.options)["digest"]
    bench.change()
    seen = []
    for (moment, prepare), how in zip(MOMENTS.items(), itertools.cycle(hows)):
        reached = prepare(bench)
        bench.start()
        try:
            _wait_for(reached, f"the build never came to: {moment}", bench.log)
        finally:
            bench.end(how)
        seen.append(bench.whole())
        if how != "SIGKILL":
            assert bench.leftovers() == [], moment
    result = bench.builder.build(**bench.options)

    assert result["digest"] != old
    assert bench.whole() == result["digest"]
    # The request that names the tag is the last: it was on its way when its sender was ended.
    assert seen == [*[old] * (len(MOMENTS) - 1), result["digest"]]
    assert bench.leftovers() == []
    assert bench.builder.build(**bench.options)["action"] == "nothing"
