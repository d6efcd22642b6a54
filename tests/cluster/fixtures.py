# SPDX-License-Identifier: GPL-3.0-or-later
"""The Kubernetes API as a pytest fixture: one server per session (per worker of xdist), an empty cluster per test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster import build
from cluster.cluster import Cluster


@pytest.fixture(scope="session")
def cluster_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The running server; tests use ``cluster``. Without Go, or a way to fetch modules, its tests are skipped."""
    try:
        build.ensure()
    except build.CannotBuild as error:
        pytest.skip(str(error))
    with Cluster.start(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def cluster(cluster_server: Cluster) -> Iterator[Cluster]:
    """An empty cluster that answers. What a test put into it, froze or crashed is undone behind it."""
    cluster_server.begin()
    yield cluster_server
    cluster_server.reset()
