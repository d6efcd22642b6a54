# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of each kind of pod when its node is drained."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_pod import PodKind
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_rules import (
    DrainRules,
    Fate,
    is_unconfirmed,
    refusals,
    rule,
)
from drain_examples import budget, pod

DAEMON_SET = [{"kind": "DaemonSet", "name": "log", "controller": True}]
NODE = [{"kind": "Node", "name": "n1", "controller": True}]
MIRROR = {"kubernetes.io/config.mirror": "0123"}
EMPTY_DIR = [{"name": "cache", "emptyDir": {}}]
STOPPING = "2026-11-21T18:00:30Z"

PODS: list[tuple[str, dict[str, Any], PodKind, Fate]] = [
    ("of a controller", {}, PodKind.MANAGED, Fate.EVICT),
    ("of a StatefulSet", {"owners": [{"kind": "StatefulSet", "controller": True}]}, PodKind.MANAGED, Fate.EVICT),
    ("of a running job", {"owners": [{"kind": "Job", "controller": True}]}, PodKind.MANAGED, Fate.EVICT),
    ("that is pending", {"phase": "Pending"}, PodKind.MANAGED, Fate.EVICT),
    ("with an emptyDir", {"volumes": EMPTY_DIR}, PodKind.MANAGED, Fate.EVICT),
    ("of a DaemonSet", {"owners": DAEMON_SET}, PodKind.DAEMONSET, Fate.LEAVE),
    ("of a DaemonSet, stopping", {"owners": DAEMON_SET, "deleted": STOPPING}, PodKind.DAEMONSET, Fate.LEAVE),
    ("from a file of the kubelet", {"owners": NODE, "annotations": MIRROR}, PodKind.STATIC, Fate.LEAVE),
    ("that ended well", {"phase": "Succeeded"}, PodKind.COMPLETED, Fate.LEAVE),
    ("that failed", {"phase": "Failed"}, PodKind.COMPLETED, Fate.LEAVE),
    ("that ended and has no owner", {"phase": "Succeeded", "owners": []}, PodKind.COMPLETED, Fate.LEAVE),
    ("that is stopping", {"deleted": STOPPING}, PodKind.TERMINATING, Fate.WAIT),
    ("that is stopping and has no owner", {"deleted": STOPPING, "owners": []}, PodKind.TERMINATING, Fate.WAIT),
    ("without an owner", {"owners": []}, PodKind.UNMANAGED, Fate.REFUSE),
    ("owned, but not controlled", {"owners": [{"kind": "ConfigMap"}]}, PodKind.UNMANAGED, Fate.REFUSE),
]


@pytest.mark.parametrize(("wanted", "kind", "fate"), [row[1:] for row in PODS], ids=[row[0] for row in PODS])
def test_what_becomes_of_a_pod(wanted: dict[str, Any], kind: PodKind, fate: Fate) -> None:
    found = pod(**wanted)
    assert (found.kind, rule(found, DrainRules()).fate) == (kind, fate)


def test_an_option_lets_unmanaged_pods_go() -> None:
    assert rule(pod(owners=[]), DrainRules(unmanaged_go=True)).fate is Fate.EVICT


def test_an_option_keeps_the_data_of_empty_dirs() -> None:
    rules = DrainRules(empty_dir_moves=False)
    assert rule(pod(volumes=EMPTY_DIR), rules).fate is Fate.REFUSE
    assert rule(pod(), rules).fate is Fate.EVICT


def test_an_empty_dir_hides_no_missing_owner() -> None:
    """Other tools looked at the emptyDir first, and then took a pod without an owner for one that may go."""
    found = rule(pod(owners=[], volumes=EMPTY_DIR), DrainRules(empty_dir_moves=True))
    assert found.fate is Fate.REFUSE
    both = rule(pod(owners=[], volumes=EMPTY_DIR), DrainRules(empty_dir_moves=False))
    assert "no controller makes it again" in both.reason
    assert "emptyDir" in both.reason


def test_two_budgets_over_a_pod_are_seen_before_anything_moves() -> None:
    pods = [
        pod("a", labels={"app": "web"}),
        pod("b", labels={"app": "db"}),
        pod("c", labels={"app": "web"}, owners=DAEMON_SET),
    ]
    found = refusals(pods, DrainRules(), [budget("one"), budget("two")])
    assert list(found) == ["uid-a"]
    assert "2 disruption budgets select it (one, two)" in found["uid-a"]
    assert refusals(pods, DrainRules(force=True), [budget("one"), budget("two")]) == {}


@pytest.mark.parametrize(
    ("node_ready", "seconds_over", "unconfirmed"),
    [(False, 11, True), (False, 9, False), (True, 3600, False)],
)
def test_a_pod_of_a_node_that_does_not_answer_counts_as_gone_when_its_time_is_over(
    node_ready: bool, seconds_over: float, unconfirmed: bool
) -> None:
    stopping = pod(deleted=STOPPING)
    assert stopping.gone_by is not None
    assert is_unconfirmed(stopping, node_ready, stopping.gone_by + seconds_over) is unconfirmed


def test_a_pod_that_nobody_told_to_stop_is_never_gone() -> None:
    assert not is_unconfirmed(pod(), False, 1e12)
