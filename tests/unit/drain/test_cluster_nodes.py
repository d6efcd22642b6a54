# SPDX-License-Identifier: GPL-3.0-or-later
"""A node as its cluster sees it, whose cordon it has, and the majority of etcd."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.imagemode.nodes.plugins.module_utils._core.cluster_nodes import (
    CORDONED_FOR,
    cordon_patch,
    parse_node,
    uncordon_patch,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.cluster_rights import RIGHTS, rights_of
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_etcd import (
    EtcdMembers,
    members_by_nodes,
    members_by_pods,
)
from drain_examples import node_object, pod_object

MANIFEST = Path(__file__).parents[3] / "roles/node_rollout/files/rbac.yml"


@pytest.mark.parametrize(
    ("cordoned", "pool", "ours", "cordon", "uncordon"),
    [
        (False, None, False, {"note": "workers", "set": True}, None),
        (True, "workers", True, None, {"note": None, "set": None}),
        (True, None, False, None, None),
        (True, "masters", False, None, None),
        (False, "workers", False, {"note": "workers", "set": True}, {"note": None}),
    ],
    ids=["in service", "ours", "somebody else's", "another pool's", "lifted by hand"],
)
def test_whose_cordon(
    cordoned: bool, pool: str | None, ours: bool, cordon: dict[str, Any] | None, uncordon: dict[str, Any] | None
) -> None:
    node = parse_node(node_object(cordoned=cordoned, pool=pool))
    assert node.is_ours("workers") is ours
    assert told(cordon_patch(node, "workers")) == cordon
    assert told(uncordon_patch(node, "workers")) == uncordon


def told(patch: dict[str, Any] | None) -> dict[str, Any] | None:
    """A patch in short. One without the version that was read could undo what somebody else did in between."""
    if patch is None:
        return None
    assert patch["metadata"]["resourceVersion"] == "7"
    note = {"note": patch["metadata"]["annotations"][CORDONED_FOR]}
    return {**note, "set": patch["spec"]["unschedulable"]} if "spec" in patch else note


def condition(**parts: str) -> dict[str, Any]:
    return {"conditions": [{"type": "DiskPressure", "status": "False"}, {"type": "Ready", **parts}]}


@pytest.mark.parametrize(
    ("status", "ready", "words"),
    [
        (condition(status="True", message="kubelet is posting"), True, ""),
        (
            condition(status="False", reason="KubeletNotReady", message="runtime down"),
            False,
            "KubeletNotReady runtime down",
        ),
        (condition(status="Unknown", reason="NodeStatusUnknown"), False, "NodeStatusUnknown"),
        ({}, False, "the node has not reported to the cluster yet"),
    ],
)
def test_readiness(status: dict[str, Any], ready: bool, words: str) -> None:
    node = parse_node(node_object(status=status))
    assert (node.ready, node.told) == (ready, words)


def test_labels_and_age() -> None:
    labels = {"topology.kubernetes.io/zone": "a", "node-role.kubernetes.io/control-plane": ""}
    node = parse_node(node_object(labels=labels))
    assert (node.zone, node.control_plane, node.etcd_role, node.created) == ("a", True, False, 1795284000.0)


@pytest.mark.parametrize(
    ("known", "given", "same"),
    [("d4d7-e1", "d4d7-e1", True), ("D4D7E1", "d4d7-e1", True), ("a", "b", False), ("", "b", True), ("a", None, True)],
)
def test_which_boot_the_cluster_speaks_of(known: str, given: str | None, same: bool) -> None:
    assert parse_node(node_object(status={"nodeInfo": {"bootID": known}})).knows_boot(given) is same


@pytest.mark.parametrize(
    ("ready_on", "node", "may_go", "healthy"),
    [
        ({"m1": True, "m2": True, "m3": True}, "m1", True, True),
        ({"m1": True, "m2": True, "m3": False}, "m1", False, True),
        ({"m1": True, "m2": True, "m3": False}, "m3", True, True),
        ({"m1": True, "m2": False, "m3": False}, "m2", False, False),
        ({"m1": True}, "m1", True, True),
        ({"m1": True, "m2": True}, "m1", False, True),
        ({"m1": True, "m2": True, "m3": True, "m4": True, "m5": False}, "m1", True, True),
        ({"m1": True, "m2": True, "m3": True}, "worker", True, True),
    ],
    ids=["3 of 3", "third is down", "the one that is down", "majority lost", "single", "pair", "4 of 5", "no member"],
)
def test_the_majority_of_etcd(ready_on: dict[str, bool], node: str, may_go: bool, healthy: bool) -> None:
    members = EtcdMembers(ready_on)
    assert (members.without(node) == "", members.healthy) == (may_go, healthy)


def test_who_is_missing_is_named() -> None:
    told = EtcdMembers({"m1": True, "m2": True, "m3": False}).without("m1")
    assert told == ("etcd has 3 members and needs 2 of them, but without m1 only 1 would be ready (not ready: m3)")


def test_members_are_static_pods() -> None:
    static: dict[str, Any] = {"annotations": {"kubernetes.io/config.mirror": "0"}, "labels": {"component": "etcd"}}
    member = pod_object("etcd-n1", **static)
    member["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    backup = pod_object("backup", labels={"component": "etcd"})
    assert members_by_pods([member, backup]) == EtcdMembers({"n1": True})
    assert members_by_pods([backup]) is None


def test_members_by_label() -> None:
    labels = {"node-role.kubernetes.io/etcd": "true"}
    nodes = [parse_node(node_object("m1", labels=labels)), parse_node(node_object("w1"))]
    assert members_by_nodes(nodes) == EtcdMembers({"m1": True})
    assert members_by_nodes(nodes[1:]) is None


def test_the_shipped_manifest_gives_what_is_asked_for_and_no_more() -> None:
    roles = {
        document["metadata"]["name"]: {
            (verb, group, resource)
            for row in document["rules"]
            for group in row["apiGroups"]
            for resource in row["resources"]
            for verb in row["verbs"]
        }
        for document in yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))["items"]
        if document["kind"] in ("Role", "ClusterRole")
    }
    wanted = {
        "imagemode-rollout": ("read", "drain"),
        "imagemode-rollout-store": ("store",),
        "imagemode-rollout-force": ("force",),
    }
    assert roles == {
        name: {(right.verb, right.group, right.resource) for right in rights_of(purposes)}
        for name, purposes in wanted.items()
    }
    assert set(RIGHTS) == {"read", "drain", "store", "force"}
