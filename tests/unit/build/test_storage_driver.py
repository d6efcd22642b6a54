# SPDX-License-Identifier: GPL-3.0-or-later
"""Which storage driver a build uses, on hosts whose engine is a stand-in."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.engine import Engine, EngineName
from ansible_collections.imagemode.nodes.plugins.module_utils._build.storage_driver import StorageDriver, storage_driver


class Host:
    """A build host with an engine that says what it is told to."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.fuse = directory / "fuse"
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("PATH", f"{directory}:/bin:/usr/bin/does-not-exist")
        for name in ("STORAGE_DRIVER", "STORAGE_OPTS"):
            monkeypatch.delenv(name, raising=False)
        self.configure("[storage]\n")

    def configure(self, text: str) -> None:
        """Give it a storage.conf."""
        (self.directory / "storage.conf").write_text(text)
        self._monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(self.directory / "storage.conf"))

    def with_fuse(self) -> Host:
        """Make overlay possible."""
        (self.directory / "fuse-overlayfs").write_text("#!/bin/sh\n")
        (self.directory / "fuse-overlayfs").chmod(0o755)
        self.fuse.touch()
        return self

    def driver(self, name: EngineName = EngineName.BUILDAH, driver: str = "vfs", images: int = 0) -> StorageDriver:
        """What is chosen."""
        key = "GraphDriverName" if name is EngineName.BUILDAH else "graphDriverName"
        count = "ImageStore" if name is EngineName.BUILDAH else "imageStore"
        info = json.dumps({"store": {key: driver, count: {"number": images}}})
        program = self.directory / "engine"
        wanted = "info" if name is EngineName.BUILDAH else "info --format=json"
        program.write_text(f"#!/bin/sh\n[ \"$*\" = '{wanted}' ] && echo '{info}'\n")
        program.chmod(0o755)
        return storage_driver(Engine(name, str(program)), self.fuse)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


@pytest.mark.parametrize("name", list(EngineName))
def test_an_empty_storage_of_vfs_becomes_one_of_overlay_where_the_host_can(host: Host, name: EngineName) -> None:
    chosen = host.with_fuse().driver(name)
    assert chosen.warning is None
    assert chosen.environment["STORAGE_DRIVER"] == "overlay"
    assert chosen.environment["STORAGE_OPTS"] == f"overlay.mount_program={host.directory / 'fuse-overlayfs'}"
    with chosen.in_use():
        assert os.environ["STORAGE_DRIVER"] == "overlay"
    assert "STORAGE_DRIVER" not in os.environ


def test_another_driver_is_left_alone(host: Host) -> None:
    assert host.with_fuse().driver(driver="overlay") == StorageDriver()


def test_an_engine_that_does_not_tell_is_left_alone(host: Host) -> None:
    program = host.directory / "broken"
    program.write_text("#!/bin/sh\necho no\n")
    program.chmod(0o755)
    assert storage_driver(Engine(EngineName.BUILDAH, str(program)), host.fuse) == StorageDriver()


def test_images_that_are_there_stay_and_the_way_out_is_said(host: Host) -> None:
    chosen = host.with_fuse().driver(images=3)
    assert not chosen.environment
    assert "3 images" in str(chosen.warning)
    assert "rmi --all --force" in str(chosen.warning)


def test_what_the_user_chose_stays(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.with_fuse().configure('[storage]\ndriver = "vfs"\n')
    assert not host.driver().environment
    assert f"{host.directory / 'storage.conf'} says so" in str(host.driver().warning)
    host.configure("[storage]\n# driver = 'vfs'\n")
    assert host.driver().environment
    monkeypatch.setenv("STORAGE_DRIVER", "vfs")
    assert "STORAGE_DRIVER says so" in str(host.driver().warning)


def test_a_host_that_cannot_is_told_what_it_needs(host: Host) -> None:
    chosen = host.driver()
    assert not chosen.environment
    assert "install fuse-overlayfs" in str(chosen.warning)
