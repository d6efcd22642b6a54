# SPDX-License-Identifier: GPL-3.0-or-later
"""How soon a node that is back is seen, and how often it is asked until then."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._host.reboot_wait import NotBack, RebootWait
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import NodeUnreachable, Outcome, Step

GATE = Step(("true",))
BACK: Any = "the state of the node"


@dataclass
class AwayNode:
    """Answers once ``away`` seconds have passed; notes when it was asked."""

    away: float
    now: float = 0.0
    asked: list[float] = field(default_factory=list)

    def with_any_tool(self, _steps: list[Step], gated: bool) -> tuple[Any, tuple[Outcome, Outcome]]:
        assert gated
        self.asked.append(self.now)
        if self.now < self.away:
            raise NodeUnreachable("connection refused")
        return BACK, (Outcome(("true",), 0), Outcome(("findmnt",), 1))

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def wait(self, limit: int) -> Any:
        observer: Any = self
        return RebootWait(observer, observer, limit, lambda: None, clock=lambda: self.now, sleep=self.sleep).until(
            GATE, 0.0
        )[0]


@pytest.mark.parametrize("away", [0.5, 3.2, 7.1, 14.0, 29.9, 60.3, 240.0, 899.0])
def test_a_node_is_seen_within_a_twentieth_of_the_time_it_was_away(away: float) -> None:
    node = AwayNode(away)
    assert node.wait(900) is BACK
    late = node.asked[-1] - away
    assert late <= max(1.0, min(5.0, away / 20 + 0.5)), f"seen {late:.1f} s after it was back"


def test_a_node_that_stays_away_is_not_asked_all_the_time() -> None:
    node = AwayNode(10_000)
    with pytest.raises(NotBack, match="it does not answer"):
        node.wait(900)
    assert 100 < len(node.asked) < 215
    assert min(after - before for before, after in zip(node.asked, node.asked[1:], strict=False)) >= 1.0
