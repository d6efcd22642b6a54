# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab as pytest fixtures: one registry and base image per session, one lab per test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lab import images
from lab.authority import Authority
from lab.node import Node, nodes
from lab.playbook_run import Play, PlaybookRun, Project
from lab.registry import Registry
from lab.signing import SigstoreKey

MakeNode = Callable[..., Node]
RunPlaybook = Callable[..., PlaybookRun]


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry without authentication, shared by the tests of a session: give images names of your own."""
    with Registry.start(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="session")
def tls_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that serves TLS as 127.0.0.1 and registry.lab; nodes must trust ``tls_registry.authority.certificate``."""
    directory = tmp_path_factory.mktemp("tls-registry")
    authority = Authority.create(directory / "ca", ("127.0.0.1", "localhost", "registry.lab"))
    with Registry.start(directory / "registry", authority=authority) as running:
        yield running


@pytest.fixture(scope="session")
def signing_key(tmp_path_factory: pytest.TempPathFactory) -> SigstoreKey:
    """A sigstore key pair: ``signing_key.sign(registry, "os", "v2")`` signs an image in a registry."""
    return SigstoreKey.create(tmp_path_factory.mktemp("signing"))


@pytest.fixture(scope="session")
def base_image(registry: Registry) -> str:
    """The base image as ``address/os@sha256:…``; its tag is ``os:base``."""
    return images.build_base(registry.address)


@pytest.fixture
def lab_dir(tmp_path: Path) -> Iterator[Path]:
    """An empty lab. At the end of the test every node in it is destroyed, with whatever still runs on it."""
    lab = tmp_path / "lab"
    lab.mkdir()
    yield lab
    for node in nodes(lab):
        with contextlib.suppress(FileNotFoundError):
            node.destroy()


@pytest.fixture
def make_node(lab_dir: Path, base_image: str) -> MakeNode:
    """``make_node("n1", versions={"bootc": "1.1.6"}, …)``: Node.create in this test's lab, from the base image."""

    def make(name: str, image: str = base_image, **options: Any) -> Node:
        return Node.create(lab_dir, name, image, **options)

    return make


@pytest.fixture
def make_project(lab_dir: Path, tmp_path: Path) -> Callable[..., Project]:
    """``make_project({"workers": ["n1"]}, group_vars={"workers": {…}})``: an inventory over this test's lab."""

    def make(groups: Mapping[str, Sequence[str]] | None = None, **options: Any) -> Project:
        everything = {"workers": [node.name for node in nodes(lab_dir)]}
        return Project.create(tmp_path / "project", lab_dir, everything if groups is None else groups, **options)

    return make


@pytest.fixture
def run_playbook(make_project: Callable[..., Project]) -> RunPlaybook:
    """``run_playbook(plays or path, groups=…, group_vars=…, extra_vars=…)``: over all nodes of the lab by default."""

    def run(
        playbook: Path | str | Iterable[Play],
        *,
        groups: Mapping[str, Sequence[str]] | None = None,
        group_vars: Mapping[str, Mapping[str, Any]] | None = None,
        forks: int = 10,
        **options: Any,
    ) -> PlaybookRun:
        return make_project(groups, group_vars=group_vars, forks=forks).run(playbook, **options)

    return run
