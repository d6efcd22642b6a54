# SPDX-License-Identifier: GPL-3.0-or-later
"""The rollback plan, as a table of situations: what is run, what is refused, and that nothing is ever toggled wrongly."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import (
    DeployedImage,
    Deployment,
    HostState,
    LocalChanges,
    Slot,
    Tool,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import UNVERIFIED, ImageReference
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Plan, Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollback_plan import (
    RollbackRequest,
    RollbackState,
    StagedPolicy,
    plan_rollback,
    satisfied,
)

D = {number: "sha256:" + str(number) * 64 for number in range(1, 5)}
UNDEPLOY = ("ostree", "admin", "undeploy", "0")
BOOTC, RPM_OSTREE = ("bootc", "rollback"), ("rpm-ostree", "rollback")
UNQUEUED = RollbackState.UNQUEUED
DISCARD = StagedPolicy.DISCARD


def image(number: int) -> Deployment:
    reference = ImageReference.parse(f"registry.example.com/os:v{number}")
    return Deployment(DeployedImage(reference, UNVERIFIED, D[number]), f"commit-{number}", 0, stateroot="default")


PLAIN = Deployment(None, "commit-plain", 0, stateroot="default", origin="fedora:stable")
LAYERED = replace(image(1), local_changes=LocalChanges(packages=("htop",)))
HOST = HostState(Tool.BOOTC, booted=image(2), rollback=image(1))
OSTREE_HOST = replace(HOST, tool=Tool.RPM_OSTREE)
STAGED: dict[str, Any] = {"staged": image(3)}
LOCKED: dict[str, Any] = {"staged": replace(image(3), download_only=True)}
QUEUED: dict[str, Any] = {"rollback_queued": True}


def plan(host: HostState, /, *, rpm_ostree: bool = True, **request: Any) -> Plan:
    return plan_rollback(host, RollbackRequest(**request), rpm_ostree)


DOES: dict[str, tuple[HostState, dict[str, Any], list[tuple[str, ...]]]] = {
    "an image, by bootc": (HOST, {}, [BOOTC]),
    "an image, by rpm-ostree": (OSTREE_HOST, {}, [RPM_OSTREE]),
    "queued already": (replace(HOST, **QUEUED), {}, []),
    "queued already, with something downloaded only": (replace(HOST, **QUEUED, **LOCKED), {}, []),
    "a plain commit, which only rpm-ostree can": (replace(HOST, rollback=PLAIN), {}, [RPM_OSTREE]),
    "layered packages, which only rpm-ostree can": (replace(HOST, rollback=LAYERED), {}, [RPM_OSTREE]),
    "staged and not wanted, by bootc": (replace(HOST, **STAGED), {"staged": DISCARD}, [BOOTC]),
    "staged and not wanted, by rpm-ostree": (
        replace(OSTREE_HOST, **STAGED),
        {"staged": DISCARD},
        [UNDEPLOY, RPM_OSTREE],
    ),
    "staged over a queued rollback": (replace(HOST, **STAGED, **QUEUED), {"staged": DISCARD}, [UNDEPLOY]),
    "staged over a queued plain commit": (
        replace(HOST, rollback=PLAIN, **STAGED, **QUEUED),
        {"staged": DISCARD},
        [UNDEPLOY],
    ),
    "an expected digest": (HOST, {"expected_digests": [D[4], D[1]]}, [BOOTC]),
    "the expected digest is booted already": (HOST, {"expected_digests": [D[2]]}, []),
    "the expected commit is booted already": (OSTREE_HOST, {"expected_checksum": "commit-2"}, []),
    "it is booted already, and no rollback is left": (replace(HOST, rollback=None), {"expected_digests": [D[2]]}, []),
    "booted is expected, and the boot loader would try the other one again": (
        replace(HOST, **QUEUED),
        {"expected_digests": [D[2]]},
        [BOOTC],
    ),
    "booted is expected, and something staged not wanted": (
        replace(HOST, **STAGED),
        {"expected_digests": [D[2]], "staged": DISCARD},
        [UNDEPLOY],
    ),
    "booted and rollback are both expected": (HOST, {"expected_digests": [D[1], D[2]]}, [BOOTC]),
    "an expected commit": (replace(HOST, rollback=PLAIN), {"expected_checksum": "commit-plain"}, [RPM_OSTREE]),
    "a pinned one that is named": (
        replace(HOST, rollback=replace(image(1), pinned=True)),
        {"expected_digests": [D[1]]},
        [BOOTC],
    ),
    "an update driver does not stop it": (replace(OSTREE_HOST, update_driver="Zincati"), {}, [RPM_OSTREE]),
    "nothing queued to take back": (HOST, {"state": UNQUEUED}, []),
    "no rollback to take back": (replace(HOST, rollback=None), {"state": UNQUEUED}, []),
    "taken back by bootc": (replace(HOST, **QUEUED), {"state": UNQUEUED}, [BOOTC]),
    "taken back by rpm-ostree": (replace(OSTREE_HOST, **QUEUED), {"state": UNQUEUED}, [RPM_OSTREE]),
    "a plain commit taken back": (replace(HOST, rollback=PLAIN, **QUEUED), {"state": UNQUEUED}, [RPM_OSTREE]),
    "what is staged boots first anyway": (replace(HOST, **QUEUED, **STAGED), {"state": UNQUEUED}, []),
    "a locked one goes with it": (
        replace(OSTREE_HOST, **QUEUED, **LOCKED),
        {"state": UNQUEUED, "staged": DISCARD},
        [UNDEPLOY, RPM_OSTREE],
    ),
}


@pytest.mark.parametrize("situation", DOES)
def test_what_is_run(situation: str) -> None:
    state, request, commands = DOES[situation]
    assert [command.argv for command in plan(state, **request).commands] == commands


FOREIGN = replace(image(4), stateroot="other")
REFUSES: dict[str, tuple[HostState, dict[str, Any], str]] = {
    "no rollback": (replace(HOST, rollback=None, others=(FOREIGN,)), {}, "of another stateroot, other"),
    "another digest": (HOST, {"expected_digests": [D[4]]}, D[1]),
    "another commit": (HOST, {"expected_checksum": "commit-4"}, "expected is the ostree commit commit-4"),
    "another digest, although queued": (replace(HOST, **QUEUED), {"expected_digests": [D[4]]}, "expected is one of"),
    "the digest that is booted, with something else staged": (
        replace(HOST, **STAGED),
        {"expected_digests": [D[2]]},
        "v3 .* is staged",
    ),
    "the digest that is booted, with something else staged over a queued rollback": (
        replace(HOST, **STAGED, **QUEUED),
        {"expected_digests": [D[2]], "staged": DISCARD},
        "is staged on this host over a rollback",
    ),
    "a digest of a plain commit": (replace(HOST, rollback=PLAIN), {"expected_digests": [D[1]]}, "commit-plain"),
    "a pinned one that nobody named": (
        replace(HOST, rollback=replace(image(1), pinned=True)),
        {},
        rf"expected_digests: \[{D[1]}\]",
    ),
    "something staged": (replace(HOST, **STAGED), {}, "v3 .* is staged"),
    "something locked": (replace(HOST, **LOCKED), {}, "is staged"),
    "something staged over it": (replace(HOST, **QUEUED, **STAGED), {}, "is staged"),
    "read-only": (replace(HOST, read_only=True), {}, "read-only"),
    "not image-mode": (HostState(None), {}, "not image-mode"),
    "taking back to another digest": (
        replace(HOST, **QUEUED),
        {"state": UNQUEUED, "expected_digests": [D[1]]},
        "the booted deployment is",
    ),
}


@pytest.mark.parametrize("situation", REFUSES)
def test_what_is_refused(situation: str) -> None:
    state, request, said = REFUSES[situation]
    with pytest.raises(Refusal, match=said):
        plan(state, **request)


def test_without_rpm_ostree_there_is_no_way_to_a_plain_commit() -> None:
    with pytest.raises(Refusal, match="no rpm-ostree here"):
        plan(replace(HOST, rollback=PLAIN), rpm_ostree=False)


def run(state: HostState, commands: list[tuple[str, ...]]) -> HostState:
    """What the real tools do (recorded, bootc 1.16.9 and rpm-ostree 2026.2)."""
    for argv in commands:
        if argv == UNDEPLOY:
            if state.staged is not None:
                state = replace(state, staged=None)
            else:
                assert not state.rollback_queued, "this would delete the rollback"
        elif argv == BOOTC:
            assert state.rollback is not None
            assert state.rollback.image is not None, "Rollback is not container image based"
            state = replace(state, staged=None, rollback_queued=not state.rollback_queued)
        else:
            assert state.staged is None, "Staged deployment (remove with cleanup -p)"
            state = replace(state, rollback_queued=not state.rollback_queued)
    return state


SITUATIONS = list(
    product((Tool.BOOTC, Tool.RPM_OSTREE), (image(1), PLAIN, None), ({}, STAGED, LOCKED), (False, True), RollbackState)
)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_run_for_real_it_leads_where_it_says_and_a_second_run_does_nothing(
    situation: tuple[Tool, Deployment | None, dict[str, Any], bool, RollbackState],
) -> None:
    tool, rollback, staged, queued, wanted = situation
    state = HostState(
        tool, booted=image(2), rollback=rollback, rollback_queued=queued and rollback is not None, **staged
    )
    if rollback is None and wanted is RollbackState.QUEUED:
        return
    made = plan(state, state=wanted, staged=DISCARD)
    after = run(state, [command.argv for command in made.commands])
    assert satisfied(after, made.after)
    assert (after.next_slot is Slot.ROLLBACK) is (wanted is RollbackState.QUEUED)
    assert not plan(after, state=wanted, staged=DISCARD).changed
