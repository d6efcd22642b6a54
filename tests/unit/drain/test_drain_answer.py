# SPDX-License-Identifier: GPL-3.0-or-later
"""What the answers to an eviction mean. The bodies are those of Kubernetes 1.36."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.cluster_answer import Answer
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_answer import Eviction, pause, read_answer


def status(code: int, message: str, cause: tuple[str, str] | None = None, **details: Any) -> Answer:
    causes = [{"reason": cause[0], "message": cause[1]}] if cause else []
    return Answer(code, {"kind": "Status", "message": message, "details": {"causes": causes, **details}})


HELD = "The disruption budget db needs 1 healthy pods and has 1 currently"
BUDGET = "Cannot evict pod as it would violate the pod's disruption budget."
TWO = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
FORBIDDEN = 'pods "db-0" is forbidden: User "x" cannot create resource "pods/eviction"'

ANSWERS: list[tuple[str, Answer, Eviction, str]] = [
    ("granted", Answer(201), Eviction.GRANTED, ""),
    ("gone", status(404, 'pods "db-0" not found'), Eviction.GONE, ""),
    ("another pod by now", status(409, "Precondition failed: UID in precondition: a"), Eviction.LOOK_AGAIN, "UID"),
    ("held", status(429, BUDGET, ("DisruptionBudget", HELD)), Eviction.HELD, HELD),
    ("overloaded", status(429, "too many requests, please try again later"), Eviction.LATER, "overloaded"),
    ("two budgets", status(500, TWO), Eviction.HELD, "more than one disruption budget"),
    ("another error", status(500, "etcdserver: leader changed"), Eviction.LATER, "leader changed"),
    ("starting", Answer(503), Eviction.LATER, "503"),
    ("expired", status(401, "Unauthorized"), Eviction.LATER, "401"),
    ("refused", status(403, FORBIDDEN), Eviction.FORBIDDEN, "the right to create pods/eviction"),
    (
        "namespace goes",
        status(403, "…", ("NamespaceTerminating", "namespace a is being terminated")),
        Eviction.LOOK_AGAIN,
        "namespace is being deleted",
    ),
    ("nonsense", status(422, "invalid"), Eviction.REFUSED, "422: invalid"),
]


@pytest.mark.parametrize(("answer", "kind", "words"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
def test_answers(answer: Answer, kind: Eviction, words: str) -> None:
    found = read_answer(answer)
    assert found.kind is kind
    assert words in found.reason


def test_the_budget_is_named() -> None:
    assert read_answer(status(429, BUDGET, ("DisruptionBudget", HELD))).budget == "db"


@pytest.mark.parametrize(
    ("answer", "wait"),
    [
        (Answer(429, {}, {"retry-after": "7"}), 7.0),
        (status(429, "…", ("DisruptionBudget", "still being processed"), retryAfterSeconds=10), 10.0),
        (Answer(429, {}, {"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}), None),
        (Answer(429), None),
    ],
)
def test_what_the_server_asks_to_wait(answer: Answer, wait: float | None) -> None:
    assert read_answer(answer).wait == wait


@pytest.mark.parametrize(
    ("tries", "wait", "shortest", "longest"),
    [(1, None, 0.75, 1.25), (2, None, 1.5, 2.5), (5, None, 7.5, 12.5), (500, None, 7.5, 12.5), (1, 7.0, 7.0, 8.75)],
)
def test_pauses_grow_and_differ(tries: int, wait: float | None, shortest: float, longest: float) -> None:
    assert (pause(tries, wait, 0.0), pause(tries, wait, 1.0)) == (shortest, longest)


def test_long_words_of_a_server_are_cut() -> None:
    assert len(read_answer(status(422, "x" * 5000)).reason) < 400
