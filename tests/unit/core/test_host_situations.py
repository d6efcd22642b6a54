# SPDX-License-Identifier: GPL-3.0-or-later
"""Every situation that a host can be in, as both tools print it: what is made of it, and what is planned upon it.

Where a recording of the real tools exists it is used; what was never recorded is made of one that was.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.bootc_plan import BootcTool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.bootc_status import parse_bootc_status
from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_image import (
    DesiredImage,
    LocalChangesPolicy,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import (
    UNKNOWN_LOCAL_CHANGES,
    Deployment,
    HostState,
    LocalChanges,
    Slot,
    Tool,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Plan, Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rpm_ostree_plan import RpmOstreeTool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rpm_ostree_status import parse_rpm_ostree_status
from ansible_collections.imagemode.nodes.plugins.module_utils._core.staging_plan import plan_staging
from ansible_collections.imagemode.nodes.plugins.module_utils._host.observe import enrich

RECORDED: dict[str, dict[str, str]] = json.loads(
    (Path(__file__).parents[2] / "recordings" / "status" / "status.json").read_text()
)

Change = Callable[[dict[str, Any]], Any]
FAIL, DISCARD = LocalChangesPolicy.FAIL, LocalChangesPolicy.DISCARD
REGISTRY = "10.77.0.1:5000"
UNDEPLOY = ("ostree", "admin", "undeploy", "0")
UNLOCK = ("ostree", "admin", "lock-finalization", "--unlock")
PULLS = ("switch", "upgrade", "rebase", "deploy")

# Words for what a plan does, so that one row holds for both tools.
NOTHING, PULL, TAKE_BACK = "nothing", "pull", "take back the rollback"
DROP, UNLOCKED, CLEAN = "discard what is staged", "unlock", "reset"


@dataclass(frozen=True)
class Situation:
    """`recording` with a change made to either tool's document. `image`: what is wanted, and `does`: what that takes, or
    a part of the refusal. `bootc_does` where bootc does something else than rpm-ostree; `only` where one tool tells it.
    """

    recording: str
    next: Slot
    image: str
    does: tuple[str, ...]
    refused: str = ""
    local_changes: LocalChangesPolicy = FAIL
    bootc: Change = lambda _document: None
    rpm_ostree: Change = lambda _document: None
    says: str = ""
    only: str = ""
    bootc_does: tuple[str, ...] | None = None


def without_rollback(document: dict[str, Any]) -> None:
    if "status" in document:
        document["status"]["rollback"] = None
        document["status"]["booted"]["ostree"]["stateroot"] = "default"
    else:
        document["deployments"] = document["deployments"][:1]
        document["deployments"][0]["osname"] = "default"


def incompatible(document: dict[str, Any]) -> None:
    document["spec"]["image"] = None
    document["status"]["booted"].update(image=None, incompatible=True)


def requested(document: dict[str, Any]) -> None:
    """A package that the image has already: asked for, and not layered."""
    document["deployments"][0].update({"requested-packages": ["htop"], "packages": []})


def layered(document: dict[str, Any]) -> None:
    requested(document)
    document["deployments"][0].update({"packages": ["htop"], "base-checksum": "ba5e"})


def rebasing(document: dict[str, Any]) -> None:
    document["transaction"] = ["Rebase", ":1.57", "/org/projectatomic/rpmostree1/debian"]


def update_known(document: dict[str, Any]) -> None:
    booted = document["status"]["booted"]
    booted["cachedUpdate"] = {**booted["image"], "imageDigest": "sha256:" + "5" * 64, "version": "0.9"}


def on_composefs(document: dict[str, Any]) -> None:
    document["status"]["rollback"] = None
    document["status"]["booted"].update(ostree=None, store=None, composefs={"verity": "abc", "bootType": "Bls"})


SITUATIONS = {
    "1 on an ostree branch": Situation("01-fresh-ostree-ref", Slot.BOOTED, "v1", (PULL,)),
    "2 rebased, not rebooted: the same": Situation("02-rebase-staged", Slot.STAGED, "v1", (NOTHING,), says="staged"),
    "2 rebased, not rebooted: another": Situation("02-rebase-staged", Slot.STAGED, "v2", (PULL,)),
    "3 booted in the image": Situation("03-booted-container", Slot.BOOTED, "v1", (NOTHING,), says="already booted"),
    "3 booted in the image: another": Situation("03-booted-container", Slot.BOOTED, "v2", (PULL,)),
    "4 layered packages": Situation(
        "03-booted-container", Slot.BOOTED, "v1", (), "layered packages htop", bootc=incompatible, rpm_ostree=layered
    ),
    "4 layered packages, given up": Situation(
        "03-booted-container",
        Slot.BOOTED,
        "v1",
        (CLEAN,),
        local_changes=DISCARD,
        bootc=incompatible,
        rpm_ostree=layered,
        bootc_does=(PULL,),
    ),
    "4b a request without effect": Situation(
        "03-booted-container", Slot.BOOTED, "v1", (), "layered packages htop", bootc=incompatible, rpm_ostree=requested
    ),
    "5 kernel arguments staged": Situation("06-kargs-staged", Slot.STAGED, "v2", (NOTHING,), says="staged"),
    "6 fresh installation": Situation(
        "03-booted-container", Slot.BOOTED, "v1", (NOTHING,), bootc=without_rollback, rpm_ostree=without_rollback
    ),
    "7 switch staged: the same": Situation("04-bootc-switch-staged", Slot.STAGED, "v2", (NOTHING,), says="staged"),
    "7 switch staged: what runs": Situation("04-bootc-switch-staged", Slot.STAGED, "v1", (DROP,)),
    "8 rollback queued: what runs": Situation("48e-rollback-queued", Slot.ROLLBACK, "BOOTED", (TAKE_BACK,)),
    "8 rollback queued: what it goes back to": Situation(
        "48e-rollback-queued", Slot.ROLLBACK, "ROLLBACK", (NOTHING,), says="waiting for a reboot"
    ),
    "8 rollback queued: another": Situation(
        "48e-rollback-queued", Slot.ROLLBACK, "v9", (TAKE_BACK, PULL), bootc_does=(PULL,)
    ),
    "9 staged with packages, booted clean": Situation(
        "48g-incompatible-staged", Slot.STAGED, "v9", (), "The staged deployment has layered packages labtool"
    ),
    "9 staged with packages, given up for what runs": Situation(
        "48g-incompatible-staged", Slot.STAGED, "BOOTED", (DROP,), local_changes=DISCARD, bootc_does=(DROP,)
    ),
    "9 staged with packages, given up for another": Situation(
        "48g-incompatible-staged", Slot.STAGED, "v9", (CLEAN, PULL), local_changes=DISCARD, bootc_does=(PULL,)
    ),
    "11 locked: the same": Situation("37ca-locked", Slot.BOOTED, "STAGED", (UNLOCKED,), only="bootc"),
    "11 locked: what runs": Situation("37ca-locked", Slot.BOOTED, "BOOTED", (NOTHING,), only="bootc"),
    "12 an older one pinned": Situation("40c-booted-v2-pinned-v1", Slot.BOOTED, "v2", (NOTHING,)),
    "13 applied live: what runs": Situation(
        "43bc-applied-live", Slot.STAGED, "v2", (), "The staged deployment has layered packages labtool"
    ),
    "14 a transaction runs": Situation("03-booted-container", Slot.BOOTED, "v1", (NOTHING,), rpm_ostree=rebasing),
    "15 usr-overlay": Situation("43a-usr-overlay", Slot.BOOTED, "v1", (NOTHING,), says="already booted"),
    "16 an update is known": Situation("03-booted-container", Slot.BOOTED, "v1", (NOTHING,), bootc=update_known),
    "17 composefs": Situation(
        "03-booted-container", Slot.BOOTED, "v1", (NOTHING,), bootc=on_composefs, only="bootc", says="already booted"
    ),
    "17 composefs: another": Situation(
        "03-booted-container", Slot.BOOTED, "v2", (PULL,), bootc=on_composefs, only="bootc"
    ),
}


def documents(situation: Situation) -> tuple[HostState, HostState]:
    """The state as bootc tells it with what rpm-ostree adds, and as rpm-ostree tells it alone."""
    recorded = RECORDED[situation.recording]
    bootc, rpm_ostree = json.loads(recorded["bootc"]), json.loads(recorded["rpm-ostree"])
    situation.bootc(bootc)
    situation.rpm_ostree(rpm_ostree)
    alone = parse_rpm_ostree_status(json.dumps(rpm_ostree))
    return enrich(parse_bootc_status(json.dumps(bootc)), alone), alone


def wanted(situation: Situation, state: HostState) -> DesiredImage:
    named: dict[str, Deployment | None] = {"BOOTED": state.booted, "STAGED": state.staged, "ROLLBACK": state.rollback}
    if situation.image not in named:
        reference = ImageReference.parse(f"{REGISTRY}/os:{situation.image}")
        return DesiredImage(reference, local_changes=situation.local_changes)
    deployment = named[situation.image]
    assert deployment is not None
    assert deployment.image is not None
    assert deployment.digest
    digests = frozenset({deployment.digest})
    return DesiredImage(deployment.image.reference, digests, local_changes=situation.local_changes)


def deeds(plan: Plan) -> tuple[str, ...]:
    """A plan in the words of the table."""
    words = []
    for command in plan.commands:
        argv = command.argv
        known = {UNDEPLOY: DROP, UNLOCK: UNLOCKED, ("rpm-ostree", "reset"): CLEAN, (argv[0], "rollback"): TAKE_BACK}
        words.append(known.get(argv) or (PULL if argv[1] in PULLS else " ".join(argv)))
    return tuple(words) or (NOTHING,)


def check(situation: Situation, state: HostState, does: tuple[str, ...], tool: BootcTool | RpmOstreeTool) -> None:
    assert state.next_slot is situation.next
    desired = wanted(situation, state)
    if situation.refused:
        with pytest.raises(Refusal, match=situation.refused):
            plan_staging(tool, state, desired)
        return
    plan = plan_staging(tool, state, desired)
    assert deeds(plan) == does
    assert situation.says in plan.summary


@pytest.mark.parametrize("name", [name for name, row in SITUATIONS.items() if row.only in ("", "bootc")])
def test_with_bootc(name: str) -> None:
    situation = SITUATIONS[name]
    state, _alone = documents(situation)
    check(situation, state, situation.bootc_does or situation.does, BootcTool())


@pytest.mark.parametrize("name", [name for name, row in SITUATIONS.items() if row.only in ("", "rpm-ostree")])
def test_with_rpm_ostree(name: str) -> None:
    situation = SITUATIONS[name]
    _both, state = documents(situation)
    check(situation, state, situation.does, RpmOstreeTool())


def test_10_a_host_that_is_not_image_mode() -> None:
    document = json.loads(RECORDED["03-booted-container"]["bootc"])
    document["spec"]["image"] = None
    document["status"] = dict.fromkeys(document["status"])
    state = parse_bootc_status(json.dumps(document))
    assert (state.image_mode, state.next) == (False, None)
    with pytest.raises(Refusal, match="not image-mode"):
        plan_staging(BootcTool(), state, DesiredImage(ImageReference.parse(f"{REGISTRY}/os:v1")))


def test_13_a_discarded_live_application_is_said() -> None:
    """The staged deployment is gone, the packages are still in /usr, and bootc calls the host clean."""
    both = copy.deepcopy(RECORDED["43bc-applied-live"])
    bootc, rpm_ostree = json.loads(both["bootc"]), json.loads(both["rpm-ostree"])
    bootc["status"]["staged"] = None
    rpm_ostree["deployments"] = [one for one in rpm_ostree["deployments"] if not one["staged"]]
    alone = parse_rpm_ostree_status(json.dumps(rpm_ostree))
    for tool, state in (
        (BootcTool(), enrich(parse_bootc_status(json.dumps(bootc)), alone)),
        (RpmOstreeTool(), alone),
    ):
        plan = plan_staging(tool, state, DesiredImage(ImageReference.parse(f"{REGISTRY}/os:v2")))
        assert not plan.changed
        assert any("applied live" in warning for warning in plan.warnings)


def test_14_the_transaction_has_a_name() -> None:
    _both, state = documents(SITUATIONS["14 a transaction runs"])
    assert state.transaction is not None
    assert state.transaction.method == "Rebase"


def test_15_what_is_in_an_overlay_is_said() -> None:
    for state in documents(SITUATIONS["15 usr-overlay"]):
        plan = plan_staging(BootcTool(), state, DesiredImage(ImageReference.parse(f"{REGISTRY}/os:v1")))
        assert any("unlocked (development)" in warning for warning in plan.warnings)


def test_16_a_known_update_decides_nothing() -> None:
    """It can name an older image than the booted one (recorded, bootc 1.16.9), so it is shown and never followed."""
    state, _alone = documents(SITUATIONS["16 an update is known"])
    assert state.booted is not None
    assert state.booted.cached_update == "sha256:" + "5" * 64
    assert not state.reboot_required


def test_local_changes_of_another_stateroot_were_taken_for_those_of_the_booted_one() -> None:
    def deployment(stateroot: str, *packages: str) -> Deployment:
        changes = LocalChanges(packages=packages) if packages else UNKNOWN_LOCAL_CHANGES
        return Deployment(None, "c" * 64, 0, stateroot=stateroot, local_changes=changes)

    bootc = HostState(Tool.BOOTC, deployment("default"), others=(deployment("old"),))
    rpm_ostree = HostState(Tool.RPM_OSTREE, deployment("default", "htop"), others=(deployment("old", "vim"),))
    merged = enrich(bootc, rpm_ostree)
    assert merged.booted is not None
    assert merged.booted.local_changes.packages == ("htop",)
    assert merged.others[0].local_changes.packages == ("vim",)
    nameless = replace(bootc, booted=replace(deployment("default"), stateroot=None), others=())
    assert enrich(nameless, rpm_ostree).booted == merged.booted
