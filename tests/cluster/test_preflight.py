# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking before a rollout at a pool in a real cluster: what holds its nodes, and what the user of the kubeconfig may not do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lab.fixtures import MakeNode
from lab.playbook_run import PlaybookRun, Project

from cluster.cluster import Cluster

HOSTS = ("n1", "n2", "n3")


@pytest.fixture
def look(
    cluster: Cluster, make_node: MakeNode, make_project: Callable[..., Project], base_image: str, tmp_path: Any
) -> Callable[[str], PlaybookRun]:
    """A run of the playbook as a user of the cluster, over lab nodes of which nothing is to be said."""
    for name in HOSTS:
        make_node(name)
    variables = {
        "imagemode_image": base_image,
        "imagemode_validate_certs": False,
        "imagemode_store_path": str(tmp_path / "store"),
        "imagemode_drain": "kubernetes",
    }

    def run(user: str) -> PlaybookRun:
        given = {**variables, "imagemode_kubeconfig": str(cluster.kubeconfig(user))}
        project = make_project(group_vars={"workers": given})
        return project.run("playbooks/preflight.yml", extra_vars={"imagemode_pool": "workers"})

    return run


def found(run: PlaybookRun) -> set[tuple[str, str, tuple[str, ...]]]:
    [table] = run.results("Show what stands in the way")
    return {(one["severity"], one["check"], tuple(one["nodes"])) for one in table["findings"]}


def test_what_the_cluster_knows(cluster: Cluster, look: Callable[[str], PlaybookRun]) -> None:
    """n1 is held by a budget, n2 is not ready and was cordoned by somebody, and n3 has another name there."""
    cluster.node("n1")
    cluster.node("n2", ready=False)
    cluster.cordon("n2")
    namespace = cluster.namespace("shop")
    cluster.pod(namespace, "n1", "db", labels={"app": "db"})
    cluster.budget(namespace, max_unavailable=0, labels={"app": "db"})
    run = look("rollout")
    assert run.rc == 2
    assert found(run) == {
        ("error", "budgets", ("n1",)),
        ("warning", "cluster_node", ("n2",)),
        ("error", "cluster_node", ("n3",)),
    }
    assert f"the disruption budget {namespace}/" in run.stdout
    assert {name: run.recap(name)["failed"] for name in HOSTS} == {"n1": 1, "n2": 0, "n3": 1}
    assert not [
        request for request in cluster.requests(user="rollout") if request.verb in ("update", "patch", "delete")
    ]


def test_a_user_without_rights(cluster: Cluster, look: Callable[[str], PlaybookRun]) -> None:
    for name in HOSTS:
        cluster.node(name)
    run = look("nobody")
    assert run.rc == 2
    assert found(run) == {("error", "cluster", ())}
    assert "may not see the cluster's nodes" in run.stdout
