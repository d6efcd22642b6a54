# SPDX-License-Identifier: GPL-3.0-or-later
"""Images in a container storage of the test's own, made by a real engine on a base that is made there too."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.engine import Engine, EngineName

BASE = "localhost/lab/base:1"


def engine_or_skip(name: EngineName) -> Engine:
    """The engine; where it is not installed the test is skipped with that reason."""
    if shutil.which(name.value) is None:
        pytest.skip(f"{name.value} is not installed, so what it does was not tried")
    return Engine.find(name.value)


@dataclass
class LocalImages:
    """A container storage below a directory, and the engine that uses it."""

    directory: Path
    engine: Engine

    @property
    def work(self) -> Path:
        return self.directory / "work"

    def make_base(self, labels: Mapping[str, str] | None = None) -> None:
        """A base with busybox in it and the directories that a bootable image has."""
        tree = self.directory / "base"
        for path in (
            "usr/bin",
            "usr/lib/modules/6.1",
            "etc",
            "dev",
            "proc",
            "sys",
            "run",
            "tmp",
            "var/lib",
            "sysroot",
            "boot",
        ):
            (tree / path).mkdir(parents=True)
        shutil.copyfile(str(shutil.which("busybox")), tree / "usr/bin/busybox")
        (tree / "usr/bin/busybox").chmod(0o755)
        for applet in (
            "sh",
            "echo",
            "cat",
            "mkdir",
            "rm",
            "ln",
            "gzip",
            "base64",
            "cp",
            "touch",
            "chmod",
            "mv",
            "sleep",
        ):
            (tree / "usr/bin" / applet).symlink_to("busybox")
        (tree / "bin").symlink_to("usr/bin")
        (tree / "ostree").symlink_to("sysroot/ostree")
        (tree / "usr/lib/modules/6.1/vmlinuz").write_text("kernel")
        (tree / "usr/lib/modules/6.1/initramfs.img").write_text("initramfs")
        found = " ".join(f"{name}={value}" for name, value in (labels or {"containers.bootc": "1"}).items())
        self._build(BASE, f"FROM scratch\nCOPY . /\nLABEL {found}\n", tree)

    def build(self, name: str, steps: str, files: Mapping[str, bytes] | None = None, *options: str) -> str:
        """Build an image on the base; returns its name."""
        context = self.directory / f"context-{name}"
        context.mkdir()
        for path, content in (files or {}).items():
            (context / path).write_bytes(content)
        image = f"localhost/lab/{name}:1"
        self._build(image, f"FROM {BASE}\n{steps}\n", context, *options)
        return image

    def diff_ids(self, image: str) -> list[str]:
        """The layers of an image, the lowest first."""
        text = self._run(self.engine.path, "inspect", "--type=image", image)
        document = json.loads(text)
        if self.engine.name is EngineName.PODMAN:
            return [str(layer) for layer in document[0]["RootFS"]["Layers"]]
        return [str(layer) for layer in document["OCIv1"]["rootfs"]["diff_ids"]]

    def left_over(self) -> tuple[list[str], list[str], list[str]]:
        """Working containers, images without a name at the top, and files in the work directory."""
        containers = self._run("buildah", "containers", "--all", "--quiet").split()
        images = [line for line in self._run(self.engine.path, "images", "--quiet").split() if line]
        return containers, sorted(set(images)), sorted(path.name for path in self.work.iterdir())

    def _build(self, image: str, text: str, context: Path, *options: str) -> None:
        containerfile = self.directory / f"Containerfile-{image.split('/')[-1]}"
        containerfile.write_text(text)
        argv = [self.engine.path, "build", "--quiet", "--layers", "--isolation=chroot", "--pull=never", *options]
        self._run(*argv, f"--tag={image}", f"--file={containerfile}", str(context))

    def _run(self, *argv: str) -> str:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def clean_up(self) -> None:
        """Give back mounts and disk."""
        subprocess.run(["buildah", "rm", "--all"], capture_output=True, check=False)
        subprocess.run(["buildah", "rmi", "--all", "--force"], capture_output=True, check=False)


MakeImages = Callable[[EngineName], LocalImages]


@pytest.fixture
def local_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeImages]:
    """Makes the storage of an engine, with the base in it."""
    if os.geteuid() != 0:
        pytest.skip("a container storage of its own is made as root only")
    made: list[LocalImages] = []
    configuration = tmp_path / "storage.conf"
    configuration.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{tmp_path / "graph"}"\nrunroot = "{tmp_path / "run"}"\n'
    )
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(configuration))

    def make(name: EngineName) -> LocalImages:
        images = LocalImages(tmp_path, engine_or_skip(name))
        images.work.mkdir()
        made.append(images)
        images.make_base()
        return images

    yield make
    for images in made:
        images.clean_up()
