# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of scenarios that build images: a builder, and a base image with a real dnf with repositories for it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from image_builder import Builder, builder_of
from lab import dnf_base
from lab.registry import Registry

# Longest first. Each file is one piece of work for one of several workers: a long one that began last would keep one of
# them busy after the others are done.
LONG_FILES = (
    "test_pivot",
    "test_rollout_on_nodes",
    "test_rollout_window",
    "test_hosts_suite",
    "test_tool_traps",
    "test_node_trust",
    "test_migration",
    "test_staging",
    "test_build_role",
    "test_host_modules",
    "test_both_entries",
    "test_build_same",
    "test_build",
    "test_rollback",
    "test_kargs",
    "test_signing",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: number for number, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@pytest.fixture(scope="session")
def dnf_base_layout() -> Path:
    """The base image with dnf as an OCI layout: ``oci:LAYOUT:base`` for skopeo. Skips where it cannot be made."""
    obstacle = dnf_base.obstacle()
    if obstacle is not None:
        pytest.skip(obstacle)
    return dnf_base.base_layout()


@pytest.fixture(scope="session")
def rpm_repositories(dnf_base_layout: Path) -> Path:
    """A directory with the repositories ``main`` and ``signed``, and directories of a component's RPMs."""
    assert dnf_base_layout.is_dir()
    return dnf_base.repositories()


@pytest.fixture(scope="session")
def dnf_base_image(dnf_base_layout: Path, registry: Registry) -> str:
    """The base image with dnf in the lab's registry, as ``address/dnf-base@sha256:…``; its tag is ``base``."""
    name = f"{registry.address}/dnf-base"
    source = f"oci:{dnf_base_layout}:base"
    argv = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", source, f"docker://{name}:base"]
    subprocess.run(argv, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return f"{name}@{json.loads((dnf_base_layout / 'index.json').read_text())['manifests'][0]['digest']}"


@pytest.fixture
def builder(
    tmp_path: Path, registry: Registry, base_image: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Builder]:
    """Builds one image for one test, in a container storage of its own; the lab's base image is in the registry."""
    assert base_image
    yield from builder_of(tmp_path, registry, monkeypatch, request)
