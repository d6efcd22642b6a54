# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a node whose update failed, as a table."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.filter.rollout_recovery import rollout_recovery

WELL: dict[str, Any] = {"failed": False}
DRAINED = {"changed": True, "failed": False}
REBOOTED = {"failed": False, "rebooted": "full", "landed": "wanted"}
OLD = {"digest": "sha256:old", "checksum": "c1"}
OTHER = {"digest": "sha256:other", "checksum": "c2"}
FROM_OLD = {"from_digest": "sha256:old", "from_checksum": "c1"}


def failure(**facts: Any) -> dict[str, Any]:
    return {"failed": True, "msg": "told", **facts}


def landed(where: str) -> dict[str, Any]:
    return failure(rebooted="full", changed=True, landed=where)


# What is known, and what becomes of the node: what is next, and whether the image is denied.
SITUATIONS: dict[str, tuple[dict[str, Any], str, bool]] = {
    "the drain was refused, and the cordon is back to what it was": ({"drain": failure()}, "keep", False),
    "the drain failed, and the cordon could not be taken back": (
        {"drain": failure(cordoned_by_us=True)},
        "leave",
        False,
    ),
    "a task file failed after the drain": ({"drain": DRAINED}, "keep", False),
    "the reboot was refused": (
        {"drain": DRAINED, "reboot": failure(changed=False, rebooted=None, landed=None)},
        "keep",
        False,
    ),
    "the node has not come back": ({"reboot": failure(changed=True, rebooted=None, landed=None)}, "leave", False),
    "the connection is lost": ({"reboot": failure(unreachable_host=True)}, "leave", False),
    "the reboot failed without a word on the node": ({"reboot": failure()}, "leave", False),
    "it fell back, and the image is on the disk": ({"reboot": landed("fell_back")}, "return", True),
    "the image was lost at shutdown": ({"reboot": landed("lost")}, "return", False),
    "it is back on something else": ({"reboot": landed("other")}, "leave", False),
    "it is on the image, which is not proven": ({"reboot": landed("wanted")}, "leave", False),
    "it is not well": ({"drain": DRAINED, "reboot": REBOOTED, "health": failure(healthy=False)}, "roll_back", True),
    "whether it is well is not known": ({"reboot": REBOOTED, "health": failure(unreachable_host=True)}, "leave", False),
    "it is well, and stays cordoned": ({"reboot": REBOOTED, "health": WELL, "undrain": failure()}, "leave", False),
    "its cluster does not see it ready": ({"reboot": REBOOTED, "undrain": failure(not_ready=True)}, "roll_back", True),
    "the cluster has no such node": ({"drain": failure(found=False)}, "keep", False),
    "it was looked at, and could not be staged": ({"held": FROM_OLD, "booted": OLD}, "keep", False),
    "the drain was refused, and an earlier run rebooted it": (
        {"drain": failure(), "held": FROM_OLD, "booted": OTHER},
        "leave",
        False,
    ),
    "the reboot was refused, and an earlier run rebooted it": (
        {"reboot": failure(changed=False, rebooted=None), "held": FROM_OLD, "booted": OTHER},
        "leave",
        False,
    ),
    "the reboot was refused, and nobody knows what it ran before": (
        {"reboot": failure(changed=False, rebooted=None), "held": {"from_digest": None}, "booted": OTHER},
        "keep",
        False,
    ),
    "the drain was refused on a node without digests": (
        {"drain": failure(), "held": {"from_digest": None, "from_checksum": "c1"}, "booted": {"checksum": "c2"}},
        "leave",
        False,
    ),
    "nothing came to run": ({}, "leave", False),
    "tasks were skipped": ({"drain": {"skipped": True}, "health": {"skipped": True}}, "leave", False),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_what_becomes_of_a_node(situation: str) -> None:
    results, following, deny = SITUATIONS[situation]
    found = rollout_recovery(results, True, "otherwise")
    assert (found["next"], found["deny"]) == (following, deny)
    assert found["reason"] == ("told" if any(item.get("failed") for item in results.values()) else "otherwise")


def test_without_rollback_a_node_that_is_not_well_is_left_and_its_image_denied() -> None:
    found = rollout_recovery({"reboot": REBOOTED, "health": failure()}, False)
    assert (found["next"], found["deny"], found["phase"]) == ("leave", True, "health")
