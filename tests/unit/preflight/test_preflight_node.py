# SPDX-License-Identifier: GPL-3.0-or-later
"""Every trap that a node may have for an update: a table of nodes, and the one thing that is said of each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.boot_facts import BootFacts, Inhibitor
from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_image import (
    LocalChangesPolicy,
    SignaturePolicy,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import (
    HostState,
    LocalChanges,
    Tool,
    Transaction,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import POLICY
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_facts import RegistryAnswer
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_node import (
    NodeView,
    Wish,
    judge_node,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.reboot_plan import Inhibitors
from preflight_examples import FACTS, HOST, LAYERS, MB, NEW, NODE, WISH, deployment, image, short

LAYERED = deployment(None, local_changes=LocalChanges(packages=("htop",)), below=image())
ZINCATI = {"update_driver": "Zincati"}
LOCK = BootFacts(inhibitors=(Inhibitor("backup", "nightly", 812),))
RPM_OSTREE = replace(WISH, tool=Tool.RPM_OSTREE)


def with_host(**changes: Any) -> NodeView:
    return replace(NODE, host=replace(HOST, **changes))


def with_facts(**changes: Any) -> NodeView:
    return replace(NODE, facts=replace(FACTS, **changes))


def wanting(wish: Wish = WISH, **changes: Any) -> Wish:
    assert wish.desired is not None
    return replace(wish, desired=replace(wish.desired, **changes))


def test_of_a_node_on_which_nothing_is_wrong_nothing_is_said() -> None:
    judgement = judge_node(WISH, NODE)
    assert judgement.findings == ()
    assert judgement.ready
    assert judgement.pull_bytes == 100 * MB


@pytest.mark.parametrize(
    ("wish", "node", "severity", "check", "words"),
    [
        (WISH, NodeView(HostState(tool=None)), "error", "image_mode", "not an image-mode host"),
        (replace(WISH, tool=Tool.RPM_OSTREE), with_host(rpm_ostree_version=None), "error", "tool", "has no rpm-ostree"),
        (WISH, with_host(bootc_version="0.1.15"), "error", "tool", "0.1.15 is older than 0.1.16"),
        (WISH, with_host(bootc_version=None), "note", "tool", "does not tell its version"),
        (RPM_OSTREE, with_host(rpm_ostree_version="2022.15"), "error", "tool", "2022.15 is older than 2022.16"),
        (WISH, with_host(transaction=Transaction("Rebase")), "warning", "busy", "(Rebase) is running"),
        (WISH, with_facts(units={"imagemode-stage.service": ("transient", "active")}), "note", "busy", "takes it over"),
        (WISH, with_host(booted=LAYERED), "error", "local_changes", "layered packages htop"),
        (
            wanting(local_changes=LocalChangesPolicy.DISCARD),
            with_host(booted=LAYERED),
            "warning",
            "local_changes",
            "would be discarded, as local_changes says: layered packages htop",
        ),
        (
            wanting(RPM_OSTREE, local_changes=LocalChangesPolicy.KEEP),
            with_host(booted=LAYERED),
            "warning",
            "local_changes",
            "would be kept: layered packages htop",
        ),
        (
            wanting(RPM_OSTREE, local_changes=LocalChangesPolicy.KEEP),
            replace(with_facts(layering_locked=True), host=replace(HOST, booted=LAYERED)),
            "error",
            "local_changes",
            "LockLayering=true",
        ),
        (WISH, with_host(read_only=True), "error", "staging", "/sysroot of this host is on a read-only device"),
        (WISH, with_host(unlocked="development"), "warning", "staging", "/usr is unlocked (usr-overlay)"),
        (WISH, with_host(live_replaced="abc"), "warning", "staging", "packages were applied live"),
        (
            WISH,
            with_host(staged=deployment(image("other", "sha256:" + "9" * 64))),
            "warning",
            "staging",
            "replaced what was staged",
        ),
        (Wish(), with_host(unlocked="hotfix"), "warning", "deployments", "/usr is unlocked (hotfix)"),
        (Wish(), with_host(staged=deployment(image("new", NEW))), "note", "deployments", "staged already"),
        (WISH, with_host(rollback=deployment(image("older"), pinned=True)), "note", "deployments", "pinned"),
        (
            WISH,
            with_host(rollback=deployment(image("older")), rollback_queued=True),
            "warning",
            "deployments",
            "somebody queued a rollback",
        ),
        (
            WISH,
            with_host(updaters=("bootc-fetch-apply-updates.timer",)),
            "warning",
            "updaters",
            "is active: it updates on its own",
        ),
        (
            WISH,
            with_facts(units={"rpm-ostreed-automatic.timer": ("enabled", "inactive")}),
            "warning",
            "updaters",
            "rpm-ostreed-automatic.timer is not active now but enabled",
        ),
        (
            WISH,
            with_facts(machine="s390x"),
            "error",
            "architecture",
            "there for linux/amd64, linux/arm64, and this node is s390x",
        ),
        (WISH, with_facts(read_only=("/var",)), "error", "read_only", "/var cannot be written to"),
        (WISH, with_facts(shutdown_at=2000.0), "error", "shutdown", "scheduled a shutdown"),
        (WISH, replace(NODE, boot=LOCK), "warning", "inhibitors", "backup (process 812): nightly"),
        (replace(WISH, inhibitors=Inhibitors.WAIT), replace(NODE, boot=LOCK), "note", "inhibitors", "inhibitors: wait"),
        (WISH, replace(NODE, boot=BootFacts(prepared=True)), "note", "shutdown", "a soft reboot is prepared"),
        (WISH, replace(NODE, skew=90.0), "warning", "clock", "90 s ahead of the controller's"),
        (WISH, replace(NODE, skew=-3600.0), "warning", "clock", "3600 s behind the controller's"),
        (
            WISH,
            with_facts(units={"greenboot-healthcheck.service": ("enabled", "active")}),
            "note",
            "greenboot",
            "goes back to the old deployment by itself",
        ),
        (
            WISH,
            with_facts(units={"greenboot-healthcheck.service": ("enabled", "failed")}),
            "warning",
            "greenboot",
            "failed in the present boot",
        ),
        (
            WISH,
            with_facts(failed_units=tuple(f"u{number}.service" for number in range(7))),
            "warning",
            "failed_units",
            "u0.service, u1.service, u2.service, u3.service, u4.service and 2 more",
        ),
    ],
)
def test_the_traps(wish: Wish, node: NodeView, severity: str, check: str, words: str) -> None:
    layers = {**LAYERS, "linux/arm64": LAYERS["linux/amd64"]} if check == "architecture" else wish.layers
    judgement = judge_node(replace(wish, layers=layers), node)
    found = [finding for finding in judgement.findings if words in finding.told]
    assert short(found) == [(severity, check)], judgement.findings
    assert judgement.ready is (severity != "error")
    expected = {(severity, check)} | ({("note", "disk")} if check == "architecture" else set())
    assert set(short(judgement.findings)) <= expected


@pytest.mark.parametrize(
    ("wish", "ready"),
    [(RPM_OSTREE, False), (replace(RPM_OSTREE, bypass_driver=True), True), (WISH, True)],
    ids=["rpm-ostree", "bypassed", "bootc does not ask it"],
)
def test_an_update_driver_refuses_rpm_ostree_only(wish: Wish, ready: bool) -> None:
    judgement = judge_node(wish, with_host(**ZINCATI))
    assert judgement.ready is ready
    assert (("error", "updaters") in short(judgement.findings)) is not ready


@pytest.mark.parametrize(
    "host",
    [
        replace(HOST, booted=deployment(image("new", NEW))),
        replace(HOST, staged=deployment(image("new", NEW))),
    ],
    ids=["booted", "staged"],
)
def test_a_node_that_has_the_image_needs_no_room_and_no_registry(host: HostState) -> None:
    """The disk is full and the registry refuses: a rollout would still finish this node."""
    facts = replace(FACTS, space={"repository": replace(FACTS.space["repository"], available=0)})
    refused = RegistryAnswer(by="skopeo", message="authentication required")
    judgement = judge_node(WISH, replace(NODE, host=host, facts=facts, registry=refused))
    assert judgement.ready
    assert short(judgement.findings) == [("warning", "registry")]
    assert judgement.pull_bytes == 0


def test_a_node_that_enforces_signatures_keeps_doing_so() -> None:
    """`unchanged` keeps what the host has, and a policy that accepts anything is refused then (recorded, bootc 1.16.9)."""
    enforcing = with_host(booted=deployment(image(signature=POLICY)))
    assert ("error", "signature_policy") in short(judge_node(WISH, enforcing).findings)
    loosened = wanting(signature_policy=SignaturePolicy.UNVERIFIED)
    assert short(judge_node(loosened, enforcing).findings) == [("warning", "staging")]


def test_what_a_node_does_not_answer_is_not_guessed() -> None:
    silent = NodeView(HOST)
    judgement = judge_node(WISH, silent)
    assert judgement.findings == ()
    assert judgement.pull_bytes is None
