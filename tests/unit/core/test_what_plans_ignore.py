# SPDX-License-Identifier: GPL-3.0-or-later
"""What a status says beside the point, in every situation of both planners: none of it may change what is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import test_bootc_plan
import test_rpm_ostree_plan
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Deployment, HostState
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Plan
from ansible_collections.imagemode.nodes.plugins.module_utils._core.staging_plan import Desired

D1, D2, D3 = test_bootc_plan.D1, test_bootc_plan.D2, test_bootc_plan.D3

HINTS: dict[str, dict[str, Any]] = {
    # Neither tool clears it: it can be older than what is booted (recorded, bootc 1.16.9).
    **{f"a cached update to {digest[7]}": {"cached_update": digest} for digest in (D1, D2, D3)},
    "bootc's hope of a soft reboot": {"soft_reboot_capable": True},
    "a version and a stateroot": {"version": "v2", "stateroot": "elsewhere"},
    "a pin": {"pinned": True},
}
SITUATIONS: list[tuple[Callable[..., Plan], HostState, Desired, tuple[tuple[str, ...], ...]]] = [
    *((test_bootc_plan.plan_bootc_switch, *situation) for situation in test_bootc_plan.SITUATIONS.values()),
    *((test_rpm_ostree_plan.plan, *situation) for situation in test_rpm_ostree_plan.SITUATIONS.values()),
]


def hinted(state: HostState, hint: dict[str, Any]) -> HostState:
    def with_hint(deployment: Deployment | None) -> Deployment | None:
        # The version of an ostree commit is what a revision may ask for, so there it is none of the hints.
        fields = {key: value for key, value in hint.items() if key != "version" or (deployment and deployment.image)}
        return replace(deployment, **fields) if deployment else None

    slots = {slot: with_hint(getattr(state, slot)) for slot in ("booted", "staged", "rollback")}
    return replace(state, **slots)  # type: ignore[arg-type]


@pytest.mark.parametrize("hint", HINTS)
def test_hints_change_no_plan(hint: str) -> None:
    for plan, state, desired, commands in SITUATIONS:
        made = plan(hinted(state, HINTS[hint]), desired)
        assert tuple(command.argv for command in made.commands) == commands
