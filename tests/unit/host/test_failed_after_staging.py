# SPDX-License-Identifier: GPL-3.0-or-later
"""A tool that fails although the right image is staged: what is a failure, what a warning, and what is nobody's fault."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_image import DesiredImage
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import (
    DeployedImage,
    Deployment,
    HostState,
    Tool,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import UNVERIFIED, ImageReference
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rpm_ostree_plan import RpmOstreeTool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.staging_plan import plan_staging
from ansible_collections.imagemode.nodes.plugins.module_utils._host.failure import HostFailure
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Outcome
from ansible_collections.imagemode.nodes.plugins.module_utils._host.staging_proof import StagingProof
from node_on_disk import D1, D2, NAME, NodeOnDisk

WANTED = DesiredImage(ImageReference.parse(f"{NAME}:v2"), frozenset({D2}))


def deployment(tag: str, digest: str) -> Deployment:
    return Deployment(DeployedImage(ImageReference.parse(f"{NAME}:{tag}"), UNVERIFIED, digest), digest[-4:], 0)


BEFORE = HostState(Tool.RPM_OSTREE, booted=deployment("v1", D1))
AFTER = replace(BEFORE, staged=deployment("v2", D2))


@pytest.fixture
def proof(tmp_path: Path) -> StagingProof:
    plan = plan_staging(RpmOstreeTool(), BEFORE, WANTED)
    return StagingProof(NodeOnDisk(tmp_path), plan, WANTED, False, 30, 30)


def failed(proof: StagingProof, stderr: str) -> list[Outcome]:
    return [Outcome(proof.plan.commands[0].argv, 1, "", stderr)]


def test_rpm_ostree_that_fails_at_cleaning_up_is_a_warning(proof: StagingProof) -> None:
    (warning,) = proof.require(AFTER, failed(proof, "error: Pruning images: no space"))
    assert "failed with code 1: Pruning images: no space" in warning
    assert "staged before that" in warning


def test_who_gave_way_to_somebody_with_the_same_wish_has_not_failed(proof: StagingProof) -> None:
    assert proof.require(AFTER, failed(proof, "error: System transaction in progress")) == ()


def test_success_is_not_warned_of(proof: StagingProof) -> None:
    assert proof.require(AFTER, [Outcome(proof.plan.commands[0].argv, 0, "", "")]) == ()


def test_a_tool_that_the_node_does_not_have_is_named(proof: StagingProof) -> None:
    missing = [Outcome(proof.plan.commands[0].argv, 127, "", "sh: rpm-ostree: not found")]
    with pytest.raises(HostFailure, match=r"this node has no rpm-ostree\. Nothing on the node was changed"):
        proof.require(BEFORE, missing)


def test_a_failure_that_changed_nothing_claims_no_replacement(tmp_path: Path) -> None:
    before = replace(BEFORE, staged=deployment("v3", "sha256:" + "3" * 64))
    plan = plan_staging(RpmOstreeTool(), before, WANTED)
    assert "replaced what was staged before" in plan.warnings[0]
    proof = StagingProof(NodeOnDisk(tmp_path), plan, WANTED, False, 30, 30)
    with pytest.raises(HostFailure, match=r"node lead to it\? Nothing on the node was changed\.") as failure:
        proof.require(before, failed(proof, "error: dial tcp: lookup registry.nosuch.example: no such host"))
    assert failure.value.result["warnings"] == []
