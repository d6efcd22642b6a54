# SPDX-License-Identifier: GPL-3.0-or-later
"""deployment_rollback against a node whose rollback toggles, and which others use at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollback_plan import (
    RollbackRequest,
    RollbackState,
    StagedPolicy,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.failure import HostFailure
from ansible_collections.imagemode.nodes.plugins.module_utils._host.rollback import Rollback
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Outcome, Runner, Step
from node_on_disk import D1, D2, bootc_status, entry

BOOTED, BEFORE = entry("v2", D2), entry("v1", D1)
STAGED = entry("v3", "sha256:" + "3" * 64)


@dataclass
class TogglingNode(Runner):
    """`meanwhile` happens once, between the first look and the first order: another program queues or unqueues."""

    queued: bool = False
    staged: dict[str, Any] | None = None
    meanwhile: bool = False
    busy_for: float = 0.0
    lies: bool = False
    order: int = 0
    now: float = 0.0
    toggles: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def run(self, steps: Sequence[Step]) -> list[Outcome]:
        self.trips += 1
        outcomes, go, rc = [], True, 0
        for step in steps:
            if not (step.always or go) or (step.fallback and rc == 0):
                outcomes.append(Outcome(step.argv, None))
                continue
            outcome = self._answer(step)
            rc = outcome.rc or 0
            go = go and not (step.gate and rc)
            outcomes.append(outcome)
        return outcomes

    def _execute(self, script: str, limit: int | None) -> tuple[int, str, str]:
        raise AssertionError("run is answered above")

    def _answer(self, step: Step) -> Outcome:
        argv = step.argv
        if argv[0] == "cat":
            return Outcome(argv, 0, "boot\nroot=LABEL=root\n")
        if argv == ("bootc", "status", "--json"):
            state = {"rollback": BEFORE, "rollbackQueued": self.queued}
            return Outcome(argv, 0, bootc_status(BOOTED, self.staged, **state))
        if argv[:2] == ("sh", "-c"):
            return self._boot_order(argv)
        if argv == ("bootc", "rollback"):
            return self._toggle(argv)
        if argv == ("ostree", "admin", "undeploy", "0"):
            self.staged = None
            return Outcome(argv, 0)
        assert argv[0] == "rpm-ostree"
        return Outcome(argv, 127)

    def _boot_order(self, argv: tuple[str, ...]) -> Outcome:
        if argv[3:] == ("boot-order",):
            return Outcome(argv, 0, f"loader.{self.order}\n")
        if argv[3:4] == ("same-order",):
            if self.meanwhile:
                self.meanwhile, self.queued, self.order = False, not self.queued, self.order + 1
            return Outcome(argv, int(argv[4] != f"loader.{self.order}"))
        return Outcome(argv, 0)

    def _toggle(self, argv: tuple[str, ...]) -> Outcome:
        if self.now < self.busy_for:
            return Outcome(argv, 1, "", "error: System transaction in progress")
        self.toggles += 1
        if not self.lies:
            self.queued, self.staged, self.order = not self.queued, None, self.order + 1
        return Outcome(argv, 0)


def rollback(node: TogglingNode, *, check: bool = False, **request: Any) -> dict[str, Any]:
    def sleep(seconds: float) -> None:
        node.now += seconds

    return Rollback(
        runner=node,
        request=RollbackRequest(**request),
        busy_timeout=30,
        clock=lambda: node.now,
        sleep=sleep,
    ).run(check_mode=check)


def test_queued_in_two_trips_and_then_left_alone_in_one() -> None:
    node = TogglingNode()
    result = rollback(node)
    assert (result["changed"], result["digest"], result["checksum"]) == (True, D1, "commit-1111")
    assert (node.toggles, node.trips, result["reboot_required"]) == (1, 2, True)
    assert (rollback(node)["changed"], node.toggles, node.trips) == (False, 1, 3)


def test_somebody_who_was_faster_is_not_undone() -> None:
    node = TogglingNode(meanwhile=True)
    result = rollback(node)
    assert (result["changed"], result["digest"], node.toggles, node.queued) == (False, D1, 0, True)


def test_somebody_who_took_it_back_meanwhile_is_not_undone_either() -> None:
    node = TogglingNode(queued=True, meanwhile=True)
    result = rollback(node, state=RollbackState.UNQUEUED)
    assert (result["changed"], node.toggles, node.queued) == (False, 0, False)


def test_a_busy_node_is_tried_again_until_the_deadline() -> None:
    node = TogglingNode(busy_for=12)
    assert (rollback(node)["changed"], node.toggles) == (True, 1)
    with pytest.raises(HostFailure, match="System transaction in progress") as failure:
        rollback(TogglingNode(busy_for=1000))
    assert (failure.value.result["changed"], failure.value.result["reboot_required"]) == (False, False)


def test_success_without_effect_is_a_failure() -> None:
    with pytest.raises(HostFailure, match=r"reported success.*next to boot is .*v2") as failure:
        rollback(TogglingNode(lies=True))
    assert failure.value.result["changed"] is False


def test_staged_over_a_queued_rollback_is_discarded_without_a_toggle() -> None:
    node = TogglingNode(queued=True, staged=STAGED)
    result = rollback(node, staged=StagedPolicy.DISCARD)
    assert (result["digest"], node.toggles, node.queued, node.staged) == (D1, 0, True, None)
    assert "discarded what was staged" in result["warnings"][0]


def test_check_mode_only_looks() -> None:
    node = TogglingNode()
    result = rollback(node, check=True)
    assert (result["changed"], result["digest"], node.toggles, node.trips) == (True, D1, 0, 1)


def test_a_refusal_changes_nothing() -> None:
    node = TogglingNode(staged=STAGED)
    with pytest.raises(Refusal, match="staged: discard"):
        rollback(node)
    assert (node.toggles, node.trips, node.staged) == (0, 1, STAGED)
