# SPDX-License-Identifier: GPL-3.0-or-later
"""How the pods of a node stand from the beginning of a drain to its end."""

from __future__ import annotations

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_answer import Eviction, EvictionAnswer
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_board import DrainBoard, Outcome
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_pod import Pod
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_rules import DrainRules
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_wording import progress
from drain_examples import budget, pod

GRANTED = EvictionAnswer(Eviction.GRANTED)
HELD = EvictionAnswer(Eviction.HELD, "held", "web")


def board_of(*pods: Pod, rules: DrainRules | None = None) -> DrainBoard:
    board = DrainBoard(rules or DrainRules())
    board.look(pods, True, 0.0, 0.0)
    return board


def outcomes(board: DrainBoard) -> dict[str, str]:
    return {track.pod.name: track.outcome.value for track in board.tracks}


def test_a_pod_is_asked_for_once_and_gone_when_it_is_no_longer_seen() -> None:
    board = board_of(pod("a"))
    (track,) = board.due(1.0)
    assert board.due(1.0) == []
    board.answered(track, GRANTED, 1.2)
    assert (outcomes(board), board.due(99.0)) == ({"a": "stopping"}, [])
    board.look([pod("a", deleted="2026-11-21T18:00:30Z")], True, 2.0, 0.0)
    assert [one.pod.name for one in board.left] == ["a"]
    board.look([], True, 4.0, 0.0)
    assert (outcomes(board), board.left) == ({"a": "evicted"}, [])
    assert track.seconds == pytest.approx(3.0)


def test_another_pod_of_the_same_name_is_another_pod() -> None:
    board = board_of(pod("db-0"))
    (track,) = board.due(0.0)
    board.answered(track, GRANTED, 0.0)
    again = pod("db-0")
    board.look([Pod(**{**vars(again), "uid": "another"})], True, 5.0, 0.0)
    assert sorted(one.outcome.value for one in board.tracks) == ["evicted", "waiting"]


def test_a_held_pod_is_asked_for_again_later() -> None:
    board = board_of(pod("a"))
    (track,) = board.due(0.0)
    board.answered(track, HELD, 0.0, 0.5)
    assert board.due(0.9) == []
    (track,) = board.due(1.0)
    board.answered(track, HELD, 1.0, 0.5)
    assert board.due(2.9) == []
    assert board.due(3.0) == [track]
    assert (track.outcome, track.budgets) == (Outcome.HELD, ["web"])


def test_a_pod_that_stops_by_itself_is_not_asked_for() -> None:
    board = board_of(pod("a", deleted="2026-11-21T18:00:30Z"), pod("b"))
    assert [track.pod.name for track in board.due(0.0)] == ["b"]
    board.look([pod("b")], True, 1.0, 0.0)
    assert outcomes(board)["a"] == "gone"
    assert not board.touched


def test_what_somebody_else_evicts_meanwhile_is_waited_for() -> None:
    board = board_of(pod("a"))
    board.look([pod("a", deleted="2026-11-21T18:00:30Z")], True, 1.0, 0.0)
    assert (outcomes(board), board.due(9.0)) == ({"a": "stopping"}, [])


def test_a_job_that_ends_meanwhile_is_left() -> None:
    board = board_of(pod("a"))
    board.look([pod("a", phase="Succeeded")], True, 1.0, 0.0)
    assert (outcomes(board), board.left, board.moving) == ({"a": "left"}, [], 0)


def test_force_asks_at_once_for_what_was_held() -> None:
    board = board_of(pod("a"))
    (track,) = board.due(0.0)
    board.answered(track, HELD, 0.0)
    board.begin_force()
    assert board.due(0.1) == [track]
    board.answered(track, GRANTED, 0.2)
    board.look([], True, 1.0, 0.0)
    assert outcomes(board) == {"a": "deleted"}


def test_what_is_forbidden_for_a_moment_is_tried_again() -> None:
    """Seen with an API server that restarted: it forbids everything until it has read its rules."""
    board = board_of(pod("a"))
    now = 0.0
    for _time in range(3):
        (track,) = board.due(now)
        board.answered(track, EvictionAnswer(Eviction.FORBIDDEN, "no right"), now, 0.5)
        assert (outcomes(board), board.refused) == ({"a": "waiting"}, [])
        now = track.due
    board.answered(board.due(now)[0], EvictionAnswer(Eviction.FORBIDDEN, "no right"), now)
    assert (outcomes(board), now) == ({"a": "refused"}, 7.0)


def test_a_pod_that_the_server_did_not_know_for_a_moment_is_seen_again() -> None:
    board = board_of(pod("a"))
    board.answered(board.due(0.0)[0], EvictionAnswer(Eviction.GONE), 0.0)
    assert board.left == []
    board.look([pod("a")], True, 1.0, 0.0)
    assert outcomes(board) == {"a": "waiting"}


def test_a_node_that_does_not_answer_confirms_nothing() -> None:
    gone_by = "2026-11-21T18:00:30Z"
    board = board_of(pod("a"))
    board.answered(board.due(0.0)[0], GRANTED, 0.0)
    stopping = pod("a", deleted=gone_by)
    assert stopping.gone_by is not None
    board.look([stopping], False, 1.0, stopping.gone_by + 9)
    assert outcomes(board) == {"a": "stopping"}
    board.look([stopping], False, 2.0, stopping.gone_by + 11)
    assert (outcomes(board), board.left) == ({"a": "unconfirmed"}, [])
    board.look([stopping], False, 3.0, stopping.gone_by + 12)
    assert outcomes(board) == {"a": "unconfirmed"}


def test_a_trial_moves_nothing() -> None:
    board = board_of(pod("a"), pod("b"))
    first, second = board.due(0.0)
    board.predicted(first, GRANTED, 0.0)
    board.predicted(second, HELD, 0.0)
    assert outcomes(board) == {"b": "held", "a": "would evict"}
    assert not board.touched


def test_what_is_said() -> None:
    board = board_of(*(pod(f"p{number}", labels={"app": "web"}) for number in range(6)), pod("log", phase="Failed"))
    tracks = board.due(0.0)
    for track in tracks[:4]:
        board.answered(track, HELD, 0.0)
    board.answered(tracks[4], GRANTED, 0.0)
    board.answered(tracks[5], EvictionAnswer(Eviction.GONE), 0.0)
    told = progress(board, [budget()], 41.0)
    assert told == (
        "5 of 6 pods left, "
        "shop/p0 held by budget web (1 disruptions allowed, 3 of 2 healthy); "
        "shop/p1 held by budget web (1 disruptions allowed, 3 of 2 healthy); "
        "shop/p2 held by budget web (1 disruptions allowed, 3 of 2 healthy); 1 more held; "
        "stopping for 41 s: shop/p4"
    )


def test_the_budgets_of_a_pod_are_found_where_the_server_names_none() -> None:
    board = board_of(pod("a", labels={"app": "web"}))
    board.answered(board.due(0.0)[0], EvictionAnswer(Eviction.HELD, "more than one"), 0.0)
    board.name_budgets([budget("two"), budget("one"), budget("other", spec={"selector": {"matchLabels": {"x": "y"}}})])
    assert board.held_by() == {("shop", "one"): ["shop/a"], ("shop", "two"): ["shop/a"]}
