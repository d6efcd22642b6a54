# SPDX-License-Identifier: GPL-3.0-or-later
"""How a migration ended, judged from what the tasks registered; and the tables that a person reads."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.migration_outcome import (
    NodeMigration,
    migration_table,
    outcome_of_migration,
    survey_table,
    survey_totals,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_outcome import NodeOutcome, Outcome

D1, D2 = ("sha256:" + c * 64 for c in "12")
MANAGED = "bootc-managed"


def seen(case: str, boot_id: str = "a", kargs: str = "quiet os=1 ostree=/ostree/boot.0", **more: Any) -> dict[str, Any]:
    """A result of migration_info."""
    host = {"boot_id": boot_id, "kargs": {"booted": kargs.split()}, "versions": {"bootc": "1.16.9", "rpm_ostree": None}}
    costs = {"pull_bytes": 0, "reboots": 0, "losses": [], "blocked": None, "ways": [], "runs": "os:v1"}
    return {"case": case, "host": host, **costs, **more}


def staged(kargs: str | None) -> dict[str, Any]:
    return {"after": {"kargs": {"next": kargs.split() if kargs else None}}}


RIGHT = NodeOutcome("n1", Outcome.RIGHT, D1, D1)
UPDATED = NodeOutcome("n1", Outcome.UPDATED, D1, D2, seconds=4.0)
BRANCH = seen("ostree branch", pull_bytes=10, reboots=1)


@pytest.mark.parametrize(
    ("rollout", "survey", "staging", "after", "expected", "reboots"),
    [
        (RIGHT, seen(MANAGED), staged("quiet os=1"), seen(MANAGED), "already bootc-managed", 0),
        (UPDATED, BRANCH, staged("quiet os=2"), seen(MANAGED, "b", "quiet os=2"), "migrated", 1),
        (UPDATED, BRANCH, staged("quiet os=2"), seen(MANAGED, "b", "os=2 quiet ostree=/x"), "migrated", 1),
        (UPDATED, BRANCH, staged(None), seen(MANAGED, "b", "quiet"), "migrated", 1),
        (UPDATED, BRANCH, staged("quiet os=2"), seen(MANAGED, "b", "quiet os=1"), "not proven", 1),
        (UPDATED, BRANCH, staged("quiet"), seen("no bootc", "b", blocked="it has no bootc"), "not proven", 1),
        (UPDATED, BRANCH, staged("quiet"), {"failed": True, "msg": "gone"}, "not proven", None),
        (UPDATED, BRANCH, staged("quiet"), None, "not proven", None),
        (UPDATED, None, staged("quiet"), seen(MANAGED, "b"), "migrated", None),
        (NodeOutcome("n1", Outcome.FAILED, reason="silent"), BRANCH, staged("quiet"), None, "failed", None),
        (NodeOutcome("n1", Outcome.UNSTAGED), seen("local changes"), None, seen(MANAGED), "not staged", None),
    ],
)
def test_an_outcome(
    rollout: NodeOutcome,
    survey: dict[str, Any] | None,
    staging: dict[str, Any] | None,
    after: dict[str, Any] | None,
    expected: str,
    reboots: int | None,
) -> None:
    found = outcome_of_migration(rollout, survey, staging, after, check_mode=False)
    assert (found.outcome, found.reboots) == (expected, reboots)
    assert found.is_right is (expected in ("already bootc-managed", "migrated"))
    assert found.is_right or rollout.outcome in (Outcome.FAILED, Outcome.UNSTAGED) or found.reason


def test_arguments_that_came_and_went_are_named() -> None:
    after = seen(MANAGED, "b", "quiet os=2 nosmt")
    found = outcome_of_migration(UPDATED, BRANCH, staged("quiet os=2"), after, check_mode=False)
    assert found.arguments == (("os=2", "nosmt"), ("os=1",))
    assert found.reason == "it booted with other kernel arguments than were staged: +nosmt"
    assert "+os=2 +nosmt -os=1" in migration_table("workers", [found])[2]


def test_a_check_run_predicts() -> None:
    predicted = NodeOutcome("n1", Outcome.PREDICTED)
    assert outcome_of_migration(predicted, BRANCH, staged(None), None, check_mode=True).outcome == "would be migrated"
    assert outcome_of_migration(RIGHT, seen(MANAGED), None, None, check_mode=True).outcome == "already bootc-managed"


def test_the_survey_of_a_pool() -> None:
    way = {"do": "set imagemode_local_changes: discard", "pull_bytes": 0, "reboots": 1}
    blocked = seen("local changes", reboots=1, losses=["layered packages htop"], blocked="It has htop.", ways=[way])
    surveys = {"n1": seen(MANAGED), "n2": BRANCH, "n3": blocked, "n4": {"failed": True, "msg": "no route"}, "n5": None}
    assert survey_table("workers", "os:v1", surveys) == [
        "workers: what it takes to have bootc look after os:v1",
        "  node  tools         case           to pull  reboots  would be lost          runs",
        "  n1    bootc 1.16.9  bootc-managed  0        0                               os:v1",
        "  n2    bootc 1.16.9  ostree branch  10 B     1                               os:v1",
        "  n3    bootc 1.16.9  local changes  0        1        layered packages htop  os:v1",
        "  n4    ?             not seen       ?        ?                               no route",
        "  n5    ?             not seen       ?        ?                               it was not looked at",
        "n3 needs a decision. It has htop.",
        "  - set imagemode_local_changes: discard (0 to pull, 1 reboot)",
        "workers: 5 nodes: 1 without a reboot, 1 with one reboot, 1 to be decided on, 2 not seen; 10 B to pull in all",
    ]
    assert survey_totals(surveys)["pull_bytes"] == 10
    assert survey_totals({"n1": seen("other image", pull_bytes=None, reboots=1)})["pull_bytes"] is None


def test_the_closing_table() -> None:
    rows = [
        NodeMigration("n1", MANAGED, "already bootc-managed", D1, None, D1, 0, 0),
        NodeMigration("n3", "ostree branch", "migrated", None, "0123456789abcdef", D1, 0, 1, 71.3, ((), ("os=1",))),
        NodeMigration("n2", None, "unreachable", reason="no route"),
    ]
    assert migration_table("workers", rows) == [
        "workers: 3 nodes: 1 already bootc-managed, 1 migrated, 1 unreachable",
        "  node  was            from                 to                   reboots  out of service  kernel arguments  outcome",
        "  n1    bootc-managed  sha256:111111111111  sha256:111111111111  0        -               unchanged         already bootc-managed",
        "  n3    ostree branch  commit 0123456789ab  sha256:111111111111  1        71 s            -os=1             migrated",
        "  n2    -              -                    -                    -        -               -                 unreachable",
    ]
