# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods a disruption budget is about, and when it can never let one go."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_budget import selector_query, selects
from drain_examples import budget, pod

SELECTORS: list[tuple[dict[str, Any], dict[str, str], bool, str]] = [
    ({}, {}, True, ""),
    ({"matchLabels": {"app": "web"}}, {"app": "web", "tier": "a"}, True, "app=web"),
    ({"matchLabels": {"app": "web"}}, {"app": "db"}, False, "app=web"),
    (
        {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}]},
        {"app": "b"},
        True,
        "app in (a,b)",
    ),
    ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a"]}]}, {}, False, "app in (a)"),
    ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["a"]}]}, {}, True, "app notin (a)"),
    (
        {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["a"]}]},
        {"app": "a"},
        False,
        "app notin (a)",
    ),
    ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, {"app": ""}, True, "app"),
    ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, {"app": ""}, False, "!app"),
    (
        {"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]},
        {"a": "1"},
        False,
        "a=1,b",
    ),
]


@pytest.mark.parametrize(("selector", "labels", "true", "query"), SELECTORS)
def test_selectors(selector: dict[str, Any], labels: dict[str, str], true: bool, query: str) -> None:
    assert (selects(selector, labels), selector_query(selector)) == (true, query)


def test_a_budget_is_about_its_own_namespace() -> None:
    elsewhere = pod(labels={"app": "web"})
    assert budget().covers(elsewhere)
    assert not budget(spec={"maxUnavailable": 1}).covers(elsewhere), "no selector selects nothing"
    other = budget(spec={"selector": {}})
    assert other.covers(elsewhere)
    assert not budget(spec={"selector": {"matchLabels": {"app": "db"}}}).covers(elsewhere)


def counted(wanted: int, expected: int) -> dict[str, int]:
    """`disruptionsAllowed` is 0 and so is left out of the JSON."""
    return {"observedGeneration": 1, "desiredHealthy": wanted, "expectedPods": expected, "currentHealthy": expected}


@pytest.mark.parametrize(
    ("spec", "status", "words"),
    [
        ({"maxUnavailable": 0}, counted(3, 3), "it allows no disruption at all (maxUnavailable: 0)"),
        ({"maxUnavailable": "0%"}, counted(3, 3), "it allows no disruption at all (maxUnavailable: 0%)"),
        ({"minAvailable": 3}, counted(3, 3), "it wants 3 healthy of 3 (minAvailable: 3)"),
        ({"minAvailable": "100%"}, counted(3, 3), "it wants 3 healthy of 3 (minAvailable: 100%)"),
        ({"minAvailable": 5}, counted(5, 3), "it wants 5 healthy of 3 (minAvailable: 5)"),
    ],
)
def test_budgets_that_can_never_be_met(spec: dict[str, Any], status: dict[str, int], words: str) -> None:
    assert budget(spec=spec, status=status).never.startswith(words)


@pytest.mark.parametrize(
    ("spec", "status"),
    [
        ({"minAvailable": 2}, counted(2, 3)),
        ({"maxUnavailable": 1}, counted(2, 3)),
        ({"minAvailable": 1}, counted(1, 0)),
        ({"minAvailable": 1}, {}),
    ],
    ids=["one may go", "one at a time", "no pods yet", "not counted yet"],
)
def test_budgets_that_only_wait(spec: dict[str, Any], status: dict[str, int]) -> None:
    assert budget(spec=spec, status=status).never == ""
