# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tasks that run once come to, from results as the modules return them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_pool import (
    judge_cluster,
    judge_health_checks,
    judge_image,
    judge_look,
    judge_mistakes,
    judge_rollout,
    judge_variables,
)
from preflight_examples import short

READY = {"name": "n1", "found": True, "ready": True, "cordoned": False}
SKIPPED = {"changed": False, "skipped": True, "skip_reason": "Conditional result was False"}


def cluster(**changes: Any) -> dict[str, Any]:
    return {"changed": False, "nodes": {"n1": READY}, "etcd": None, "budgets": [], "missing_rights": [], **changes}


@pytest.mark.parametrize(
    ("result", "found", "words"),
    [
        (None, [], ""),
        (SKIPPED, [], ""),
        ({"expected_digests": ["sha256:1"]}, [], ""),
        ({"expected_digests": []}, [("error", "image")], "no digest"),
        ({"msg": "manifest unknown", "failed_when_result": False}, [("error", "image")], "manifest unknown"),
    ],
)
def test_the_image(result: dict[str, Any] | None, found: list[tuple[str, str]], words: str) -> None:
    findings = list(judge_image(result))
    assert short(findings) == found
    assert all(words in finding.told for finding in findings)


@pytest.mark.parametrize(
    ("result", "found", "words"),
    [
        (None, [], ""),
        ({"window": 2, "denied": "", "finish": []}, [], ""),
        ({"msg": "workers: ansible runs with 2 forks"}, [("error", "rollout")], "2 forks"),
        ({"window": 2, "denied": "sha256:1 is denied: unhealthy", "finish": []}, [("error", "rollout")], "unhealthy"),
        ({"window": 2, "halted": True, "reason": "it is paused"}, [("error", "rollout")], "it is paused"),
        ({"window": 2, "denied": "", "finish": ["n2", "n3"]}, [("warning", "rollout")], "n2, n3"),
    ],
)
def test_the_rollout(result: dict[str, Any] | None, found: list[tuple[str, str]], words: str) -> None:
    findings = list(judge_rollout(result))
    assert short(findings) == found
    assert all(words in finding.told for finding in findings)


BUDGET = {
    "namespace": "shop",
    "name": "db",
    "reason": "maxUnavailable is 0.",
    "pods": ["shop/db-0"],
    "nodes": ["n1", "n2"],
}


@pytest.mark.parametrize(
    ("result", "found", "words"),
    [
        (None, [], ""),
        (SKIPPED, [], ""),
        (cluster(), [], ""),
        ({"msg": "no kubeconfig"}, [("error", "cluster")], "no kubeconfig"),
        (cluster(nodes={"n1": {"name": "n1.x", "found": False}}), [("error", "cluster_node")], "no node n1.x"),
        (
            cluster(nodes={"n1": {**READY, "ready": False, "told": "KubeletNotReady"}}),
            [("warning", "cluster_node")],
            "Kubelet",
        ),
        (cluster(nodes={"n1": {**READY, "cordoned": True}}), [("warning", "cluster_node")], "and not by a rollout"),
        (
            cluster(nodes={"n1": {**READY, "cordoned": True, "cordoned_for": "infra"}}),
            [("warning", "cluster_node")],
            "for the pool infra",
        ),
        (
            cluster(nodes={"n1": {**READY, "cordoned": True, "cordoned_by_us": True}}),
            [("note", "cluster_node")],
            "finishes it when run again",
        ),
        (cluster(etcd={"members": 3, "ready": 1, "healthy": False}), [("error", "cluster")], "1 of 3 members"),
        (cluster(etcd={"members": 3, "ready": 2, "healthy": True}), [("warning", "cluster")], "2 of 3 members"),
        (cluster(etcd={"members": 3, "ready": 3, "healthy": True}), [], ""),
        (cluster(missing_rights=["patch nodes"]), [("error", "rights")], "may not patch nodes"),
        (cluster(budgets=[BUDGET]), [("error", "budgets"), ("error", "budgets")], "shop/db never lets a pod go"),
    ],
)
def test_the_cluster(result: dict[str, Any] | None, found: list[tuple[str, str]], words: str) -> None:
    findings = list(judge_cluster(result, drains=True))
    assert short(findings) == found
    assert all(words in finding.told for finding in findings)
    assert all(finding.node for finding in findings if finding.check.value in ("cluster_node", "budgets"))


def test_where_nothing_is_drained_budgets_hold_nobody() -> None:
    absent = {"n1": {"name": "n1", "found": False}}
    assert short(judge_cluster(cluster(budgets=[BUDGET], nodes=absent), drains=False)) == [("note", "cluster_node")]


def test_every_mistake_in_the_health_checks_is_told() -> None:
    findings = list(judge_health_checks([{"unti": "a.service"}, {"http": "nonsense"}, {"unit": "kubelet.service"}]))
    assert [finding.check.value for finding in findings] == ["health_checks", "health_checks"]
    assert list(judge_health_checks([])) == []


def test_variables_that_nobody_reads() -> None:
    assert short(judge_mistakes(["a task file was not found"])) == [("error", "variables")]
    assert short(judge_variables(["imagemode_imgae (did you mean imagemode_image?)"])) == [("warning", "variables")]
    assert judge_variables([]) == []


@pytest.mark.parametrize(
    ("result", "found"),
    [
        (None, [("error", "reachable")]),
        (SKIPPED, [("error", "reachable")]),
        ({"failed": True, "msg": "busy_timeout is 0"}, [("error", "staging")]),
        ({"findings": []}, []),
        (
            {"findings": [{"check": "disk", "severity": "warning", "node": None, "told": "t", "fix": ""}]},
            [("warning", "disk")],
        ),
    ],
)
def test_a_node_is_never_ready_unseen(result: dict[str, Any] | None, found: list[tuple[str, str]]) -> None:
    findings = judge_look("n1", result)
    assert short(findings) == found
    assert all(finding.node == "n1" for finding in findings)
