# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds an image from steps of the collection alone, with the real buildah, and looks into what came of it."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from collections.abc import Sequence
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

    def layers(self, graph: Path) -> list[dict[str, bytes]]:
        """For every layer above the base's one, the lowest first: its paths, with the contents of files.

        Read from the storage of the engine at ``graph``, where each layer is a directory.
        """
        images = json.loads((graph / "overlay-images" / "images.json").read_text())
        parents = {
            layer["id"]: layer.get("parent")
            for layer in json.loads((graph / "overlay-layers" / "layers.json").read_text())
        }
        top = next(image["layer"] for image in images if f"{self.image}:latest" in image.get("names", []))
        found: list[dict[str, bytes]] = []
        while parents[top] is not None:
            found.insert(0, _contents(graph / "overlay" / top / "diff"))
            top = parents[top]
        return found

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
    engine: str = BUILDAH,
) -> Built:
    """Build from a base in local storage. ``volumes`` are (source, target:options)."""
    context = work / "context"
    context.mkdir(parents=True, exist_ok=True)
    for step in steps:
        for file, content in step.files.items():
            (context / file).write_bytes(content)
    containerfile = work / "Containerfile"
    containerfile.write_text("\n".join([f"FROM {base}", *(step.instruction for step in steps)]) + "\n")
    argv = [engine, "build", "--layers", "--isolation=chroot", "--timestamp=1700000000", "--pull-never", *options]
    argv += [f"--volume={source}:{target}" for source, target in volumes]
    argv += [f"--tag=localhost/{name}", f"--file={containerfile}", str(context)]
    done = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, check=False, text=True)
    return Built(done.returncode, done.stdout + done.stderr, f"localhost/{name}")


def _contents(layer: Path) -> dict[str, bytes]:
    """Deleted paths are there too, as the devices that stand for them."""
    found = {}
    for path in layer.rglob("*"):
        is_file = path.is_file() and not path.is_symlink()
        found[f"/{path.relative_to(layer)}"] = path.read_bytes() if is_file else b""
    return found


def _checked(argv: Sequence[str]) -> str:
    done = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, check=False, text=True)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout
