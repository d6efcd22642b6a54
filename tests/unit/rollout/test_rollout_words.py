# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person reads while a rollout runs, and at its end."""

from __future__ import annotations

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_progress import tally, waiting_line
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_state import Progress
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_wording import names, precise, spoken
from rollout_examples import active, failed, kept, policy, pool


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0 s"),
        (0.4, "0 s"),
        (94, "94 s"),
        (119.4, "119 s"),
        (120, "2 min"),
        (540, "9 min"),
        (7199, "2 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_spoken(seconds: float, said: str) -> None:
    assert spoken(seconds) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (119.4, "119 s"), (119.6, "2 min 0 s"), (963, "16 min 3 s"), (7500, "2 h 5 min")],
)
def test_precise(seconds: float, said: str) -> None:
    assert precise(seconds) == said


def test_names() -> None:
    assert names(("a", "b")) == "a, b"
    assert names(("a", "b", "c", "d"), 2) == "a, b and 2 more"


def test_who_waits_for_whom() -> None:
    state = pool({"n3": active(since=6.0), "n5": failed()}, progress=Progress(50, 12, 12 * 28.0), policy=policy(2, 2))
    assert waiting_line(state, "n17", ("n3", "n5"), "", 100.0) == (
        "workers: n17 waits behind n3 (rebooting for 94 s), n5 (failed); 12 of 50 done, 1 failed, about 9 min left"
    )
    assert waiting_line(state, "n17", ("n9",), "canaries go first", 100.0) == (
        "workers: n17 waits behind n9 (canary): canaries go first; 12 of 50 done, 1 failed, about 9 min left"
    )
    assert waiting_line(state, "n3", ("n3",), "somebody is updating it", 100.0).startswith(
        "workers: n3 waits: somebody is updating it; 12 of 50"
    )


@pytest.mark.parametrize(
    ("progress", "window", "said"),
    [
        (Progress(6, 0, 0.0), 2, "0 of 6 done"),
        (Progress(6, 2, 60.0), 2, "2 of 6 done, about 60 s left"),
        (Progress(6, 5, 150.0), 2, "5 of 6 done, about 30 s left"),
        (Progress(6, 6, 180.0), 2, "6 of 6 done"),
        (Progress(6, 9, 180.0), 2, "6 of 6 done"),
    ],
)
def test_tally(progress: Progress, window: int, said: str) -> None:
    assert tally(pool(progress=progress, policy=policy(window))) == said


def test_a_node_that_is_in_service_is_not_among_those_waited_for() -> None:
    assert pool({"n1": kept(), "n2": active()}).out_of_service == ("n2",)
