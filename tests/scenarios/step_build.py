# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds an image from steps of the collection alone, with the real buildah, and looks into what came of it."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_step import BuildStep

BUILDAH = shutil.which("buildah") or "buildah"
SKOPEO = shutil.which("skopeo") or "skopeo"


@dataclasses.dataclass(frozen=True)
class Built:
    """How a build ended. ``image`` is a name in local storage."""

    exit_code: int
    output: str
    image: str

    def layers(self, directory: Path) -> list[dict[str, bytes]]:
        """For every layer above the base's one: its paths, with the contents of files."""
        shutil.rmtree(directory, ignore_errors=True)
        subprocess.run(
            [SKOPEO, "copy", "--quiet", f"containers-storage:{self.image}", f"dir:{directory}"],
            check=True,
            capture_output=True,
        )
        manifest = json.loads((directory / "manifest.json").read_text())
        return [_contents(directory / layer["digest"].partition(":")[2]) for layer in manifest["layers"][1:]]

    def run(self, *argv: str) -> str:
        """The output of a command in the image; fails where the command does."""
        container = _checked([BUILDAH, "from", "--pull-never", self.image]).strip()
        try:
            return _checked(["chroot", _checked([BUILDAH, "mount", container]).strip(), *argv])
        finally:
            _checked([BUILDAH, "rm", container])


def build(
    base: str,
    steps: Sequence[BuildStep],
    work: Path,
    name: str = "built",
    volumes: Sequence[tuple[str, str]] = (),
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Built:
    """Build from a base in local storage. ``volumes`` are (source, target:options)."""
    context = work / "context"
    context.mkdir(parents=True, exist_ok=True)
    for step in steps:
        for file, content in step.files.items():
            (context / file).write_bytes(content)
    containerfile = work / "Containerfile"
    containerfile.write_text("\n".join([f"FROM {base}", *(step.instruction for step in steps)]) + "\n")
    argv = [BUILDAH, "build", "--layers", "--isolation=chroot", "--timestamp=1700000000", "--pull-never", *options]
    argv += [f"--volume={source}:{target}" for source, target in volumes]
    argv += [f"--tag=localhost/{name}", f"--file={containerfile}", str(context)]
    done = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, check=False, text=True, env=environment)
    return Built(done.returncode, done.stdout + done.stderr, f"localhost/{name}")


def _contents(layer: Path) -> dict[str, bytes]:
    with tarfile.open(layer) as tar:
        found = {}
        for entry in tar:
            file = tar.extractfile(entry) if entry.isfile() else None
            found["/" + entry.name.strip("/")] = file.read() if file else b""
        return found


def _checked(argv: Sequence[str]) -> str:
    done = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, check=False, text=True)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout
