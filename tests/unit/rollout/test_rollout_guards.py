# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused before a rollout begins, in words that say what to type."""

from __future__ import annotations

import pytest
from ansible_collections.imagemode.nodes.plugins.plugin_utils._rollout_action import GuardError, require_forks


@pytest.mark.parametrize(
    ("forks", "window", "hosts", "told"),
    [
        (1, 3, 4, r"1 fork, but a window of 3 needs 4: .* and one for nodes that wait\. Run with --forks 4 "),
        (5, 5, 50, r"5 forks, but a window of 5 needs 7: .* and two for nodes that wait\. Run with --forks 7 "),
        (2, 3, 3, r"2 forks, but a window of 3 needs 3: one for each node that is being updated\. Run with --forks 3 "),
    ],
)
def test_too_few_forks(forks: int, window: int, hosts: int, told: str) -> None:
    with pytest.raises(GuardError, match=told):
        require_forks(window, hosts, {"ansible_forks": forks})


def test_as_many_forks_as_there_are_hosts_are_enough() -> None:
    require_forks(5, 4, {"ansible_forks": 4})
