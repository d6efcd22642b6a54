# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to a slot after it was granted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import (
    Denial,
    PoolState,
    Slot,
    SlotState,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_transitions import (
    TransitionError,
    allow,
    deny,
    fail,
    forget,
    owned,
    release,
)
from rollout_examples import ELSEWHERE, GONE, ME, NEW, OTHER, active, alive, failed, kept, pool


def test_release_counts_and_remembers_the_return() -> None:
    after = release(pool({"n1": active(ME, since=10.0), "n2": active()}, canaries=("n1", "n3")), "n1", ME, 104.0)
    assert set(after.nodes) == {"n2"}
    assert (after.progress.done, after.progress.seconds) == (1, 94.0)
    assert after.returned == {"n1": 104.0}
    assert after.canaries == ("n3",)


@pytest.mark.parametrize("slot", [None, failed(), kept()])
def test_release_of_a_node_without_a_slot_changes_nothing(slot: Slot | None) -> None:
    state = pool({"n1": slot} if slot else {})
    assert release(state, "n1", ME, 100.0) is state


def test_fail_keeps_the_place_in_the_window() -> None:
    after = fail(pool({"n1": active(ME)}), "n1", ME, 100.0, "did not come back")
    slot = after.nodes["n1"]
    assert (slot.state, slot.holder, slot.reason) == (SlotState.FAILED, None, "did not come back")
    assert after.out_of_service == ("n1",)
    assert fail(after, "n1", ME, 101.0, "again") is after


def test_a_node_that_never_left_service_does_not_fail() -> None:
    state = pool({"n2": active()})
    assert fail(state, "n1", ME, 100.0, "the slot was refused") is state


def test_an_image_is_denied_once() -> None:
    state = pool({"n1": active(ME), "n2": active(ME)})
    once = deny(state, [NEW], "n1: unhealthy", 100.0)
    twice = deny(once, [NEW], "n2: unhealthy too", 101.0)
    assert twice is once
    assert twice.denied == (Denial(NEW, "n1: unhealthy", 100.0),)
    assert allow(twice, [NEW]).denied == ()
    assert allow(twice, ["sha256:x"]) is twice


@pytest.mark.parametrize("end", [lambda s: release(s, "n1", ME, 1.0), lambda s: fail(s, "n1", ME, 1.0, "x")])
def test_a_slot_that_another_run_took_over_is_left_to_it(end: Callable[[PoolState], PoolState]) -> None:
    with pytest.raises(TransitionError, match="process 200 of bob on here has taken it over"):
        end(pool({"n1": active(OTHER)}))


def test_a_check_run_predicts_the_end_of_a_slot_that_it_would_have_taken_over() -> None:
    state = pool({"n1": active(GONE), "n2": failed()})
    assert release(owned(state, "n1", ME), "n1", ME, 100.0).nodes == {"n2": failed()}
    assert owned(state, "n2", ME) is owned(state, "n3", ME) is state


def test_forget() -> None:
    state = pool({"n1": failed(), "n2": active(GONE), "n3": active(ELSEWHERE), "n4": active(OTHER)}, canaries=("n1",))
    after = forget(state, ["n1", "n2", "n3", "never-there"], alive)
    assert (set(after.nodes), after.canaries) == ({"n4"}, ())
    assert forget(state, ["n9"], alive) is state
    with pytest.raises(TransitionError, match="n4 cannot be forgotten"):
        forget(state, ["n4"], alive)
