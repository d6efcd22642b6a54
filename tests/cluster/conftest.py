# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rollouts over lab nodes and the cluster share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import images
from lab.fixtures import MakeNode
from lab.playbook_run import Project
from lab.registry import Registry

from cluster.cluster import Cluster
from cluster.fleet import Fleet, MakeFleet
from cluster.users import Credentials


@pytest.fixture(scope="session")
def drained_v2(registry: Registry) -> str:
    """The image of the rollouts, by tag."""
    return images.build_base(registry.address, name="drained", tag="v2", version="2.0").partition("@")[0] + ":v2"


@pytest.fixture
def make_fleet(
    cluster: Cluster, make_node: MakeNode, make_project: Callable[..., Project], tmp_path: Path, drained_v2: str
) -> Iterator[MakeFleet]:
    """So many nodes ``n1``, ``n2``, … of the lab and of the cluster, and group_vars which want v2 on them after a drain.

    ``bastion``: a host beside them that is this machine.
    """

    def make(size: int, *, credentials: Credentials = "token", bastion: bool = False, **variables: Any) -> Fleet:
        nodes = [make_node(f"n{number}") for number in range(1, size + 1)]
        wanted = {
            "imagemode_image": drained_v2,
            "imagemode_validate_certs": False,
            "imagemode_reboot_timeout": 60,
            "imagemode_drain": "kubernetes",
            "imagemode_drain_deadline": "2m",
            "imagemode_kubeconfig": str(cluster.kubeconfig("rollout", credentials)),
            "imagemode_store_path": str(tmp_path / "store"),
            **variables,
        }
        groups = {"workers": [node.name for node in nodes], "bastions": ["bastion"] if bastion else []}
        cluster.follow(nodes)
        return Fleet(
            cluster,
            nodes,
            make_project(groups, group_vars={"workers": wanted, "bastions": {"ansible_connection": "local"}}),
        )

    yield make
    cluster.follow_nobody()
