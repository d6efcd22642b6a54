# SPDX-License-Identifier: GPL-3.0-or-later
"""node_reboot against a node that is a list of boots: the order is given once, and the landing is proven."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import InvalidReference
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._host.failure import HostFailure
from ansible_collections.imagemode.nodes.plugins.module_utils._host.reboot import Reboot
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import NodeUnreachable, Outcome, Runner, Step
from node_on_disk import D1, D2, bootc_status, entry

OLD, NEW = entry(), entry("v2", D2)


@dataclass
class Boot:
    boot_id: str
    status: str


@dataclass
class RebootingNode(Runner):
    """`boots[0]` runs now; a reboot moves on to the next one after `silence` polls without an answer, or never."""

    boots: list[Boot]
    silence: int = 2
    inhibited: bool = False
    ignored: bool = False
    overtaken: bool = False
    reboots: int = 0
    now: float = 0.0
    quiet: int = field(default=0)

    def __post_init__(self) -> None:
        super().__init__()

    def run(self, steps: Sequence[Step]) -> list[Outcome]:
        if self.quiet:
            self.quiet -= 1
            if not self.quiet and len(self.boots) > 1:
                self.boots.pop(0)
            raise NodeUnreachable("no route to host")
        outcomes, go, rc = [], True, 0
        for step in steps:
            if not (step.always or go) or (step.fallback and rc == 0):
                outcomes.append(Outcome(step.argv, None))
                continue
            outcome = self._answer(step.argv)
            rc = outcome.rc or 0
            go = go and not (step.gate and rc)
            outcomes.append(outcome)
        return outcomes

    def _execute(self, script: str, limit: int | None) -> tuple[int, str, str]:
        raise AssertionError("run is answered above")

    def _answer(self, argv: tuple[str, ...]) -> Outcome:
        boot = self.boots[0]
        if argv[0] == "cat":
            return Outcome(argv, 0, f"{boot.boot_id}\nroot=LABEL=root\n")
        if argv[0] == "grep":
            if self.overtaken and len(self.boots) > 1:
                self.boots.pop(0)
                boot = self.boots[0]
            same = argv[2] == boot.boot_id
            return Outcome(argv, 0 if same != ("v" in argv[1]) else 1)
        if argv == ("bootc", "status", "--json"):
            return Outcome(argv, 0, boot.status)
        assert argv == ("systemctl", "reboot")
        if self.inhibited:
            return Outcome(argv, 1, "", "Operation inhibited by backup")
        if not self.ignored:
            self.reboots += 1
            self.quiet = self.silence
            raise NodeUnreachable("connection closed")
        return Outcome(argv, 0)


def reboot(node: RebootingNode, *digests: str, check: bool = False) -> dict[str, Any]:
    def sleep(seconds: float) -> None:
        node.now += seconds

    return Reboot(
        runner=node,
        expected_digests=frozenset(digests),
        busy_timeout=30,
        reboot_timeout=60,
        reconnect=lambda: None,
        clock=lambda: node.now,
        sleep=sleep,
    ).run(check_mode=check)


STAGED = Boot("one", bootc_status(OLD, NEW))
LANDED = Boot("two", bootc_status(NEW, rollback=OLD))


def test_nothing_staged_nothing_rebooted() -> None:
    node = RebootingNode([LANDED])
    result = reboot(node, D2)
    assert (result["changed"], result["seconds"], node.reboots, node.trips) == (False, 0.0, 0, 0)
    assert result["boot_id_before"] == result["boot_id_after"] == "two"


def test_reboots_once_and_proves_the_landing() -> None:
    node = RebootingNode([STAGED, LANDED])
    result = reboot(node, D1, D2)
    assert (result["changed"], node.reboots, result["booted"]["digest"]) == (True, 1, D2)
    assert (result["boot_id_before"], result["boot_id_after"]) == ("one", "two")
    assert result["reboot_required"] is False


def test_check_mode_predicts() -> None:
    node = RebootingNode([STAGED])
    result = reboot(node, D2, check=True)
    assert (result["changed"], result["reboot_required"], result["booted"]["digest"], node.reboots) == (
        True,
        False,
        D2,
        0,
    )


def test_a_node_that_would_boot_something_else_is_left_alone() -> None:
    node = RebootingNode([STAGED])
    with pytest.raises(Refusal, match="Not rebooted"):
        reboot(node, "sha256:" + "9" * 64)
    assert node.reboots == 0


def test_an_expectation_that_is_no_digest_is_a_mistake() -> None:
    with pytest.raises(InvalidReference, match=r"'2\.0' is not a digest"):
        reboot(RebootingNode([STAGED]), "2.0")


def test_a_reboot_by_another_controller_is_not_called_ours() -> None:
    node = RebootingNode([STAGED, LANDED], overtaken=True)
    result = reboot(node, D2)
    assert (result["changed"], node.reboots, result["booted"]["digest"]) == (False, 0, D2)


def test_an_inhibited_reboot_is_said_at_once() -> None:
    with pytest.raises(HostFailure, match="Operation inhibited by backup") as failure:
        reboot(RebootingNode([STAGED], inhibited=True))
    assert failure.value.result["changed"] is False


def test_a_node_that_never_comes_back() -> None:
    node = RebootingNode([STAGED], silence=10_000)
    with pytest.raises(HostFailure, match="did not come back") as failure:
        reboot(node)
    assert "no route to host" in str(failure.value)
    assert node.reboots == 1


def test_a_reboot_that_does_not_happen() -> None:
    with pytest.raises(HostFailure, match="still answers in the old boot"):
        reboot(RebootingNode([STAGED], ignored=True))


LANDINGS = {
    "the staged deployment was lost": (Boot("two", bootc_status(OLD)), "was not finalized at shutdown"),
    "the boot loader fell back": (Boot("two", bootc_status(OLD, rollback=NEW)), "the boot loader fell back"),
    "somebody else was there": (
        Boot("two", bootc_status(entry("v3", "sha256:" + "3" * 64))),
        "somebody else changed the node",
    ),
}


@pytest.mark.parametrize("landing", LANDINGS)
def test_a_wrong_landing_is_told_apart(landing: str) -> None:
    boot, said = LANDINGS[landing]
    with pytest.raises(HostFailure, match="came back on") as failure:
        reboot(RebootingNode([STAGED, boot]), D1, D2)
    assert said in str(failure.value)
    assert failure.value.result["boot_id_after"] == "two"
