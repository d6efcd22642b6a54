# SPDX-License-Identifier: GPL-3.0-or-later
"""Both status parsers against what the real tools printed, and against what they must refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.bootc_status import parse_bootc_status
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Deployment, HostState, Slot
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    POLICY,
    Signature,
    SignatureKind,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rpm_ostree_status import parse_rpm_ostree_status
from ansible_collections.imagemode.nodes.plugins.module_utils._core.status_json import StatusNotUnderstood

RECORDED: dict[str, dict[str, str]] = json.loads(
    (Path(__file__).parents[2] / "recordings" / "status" / "status.json").read_text()
)

# What bootc hides and rpm-ostree shows, or the other way round; every other field agrees in every recording.
IMAGE_HIDDEN_BY_BOOTC = {"43bc-applied-live", "43c-layer-staged", "48g-incompatible-staged"}
LOCK_HIDDEN_BY_RPM_OSTREE = {"37ca-locked"}


def identity(deployment: Deployment | None, with_image: bool) -> tuple[Any, ...] | None:
    if deployment is None:
        return None
    image = deployment.image
    shown = (image.reference, image.signature, image.digest) if image and with_image else None
    return (deployment.checksum, deployment.serial, deployment.pinned, bool(deployment.local_changes), shown)


@pytest.mark.parametrize("situation", sorted(RECORDED))
def test_both_tools_tell_the_same_of_one_host(situation: str) -> None:
    bootc = parse_bootc_status(RECORDED[situation]["bootc"])
    rpm_ostree = parse_rpm_ostree_status(RECORDED[situation]["rpm-ostree"])
    with_image = situation not in IMAGE_HIDDEN_BY_BOOTC
    for slot in ("booted", "staged", "rollback"):
        assert identity(getattr(bootc, slot), with_image) == identity(getattr(rpm_ostree, slot), with_image)
    assert len(bootc.others) == len(rpm_ostree.others)
    assert bootc.rollback_queued == rpm_ostree.rollback_queued
    assert bootc.unlocked == rpm_ostree.unlocked
    if situation not in LOCK_HIDDEN_BY_RPM_OSTREE:
        assert (bootc.next_slot, bootc.reboot_required) == (rpm_ostree.next_slot, rpm_ostree.reboot_required)


@pytest.mark.parametrize(
    ("situation", "following", "reboot"),
    [
        ("01-fresh-ostree-ref", Slot.BOOTED, False),
        ("02-rebase-staged", Slot.STAGED, True),
        ("03-booted-container", Slot.BOOTED, False),
        ("06-kargs-staged", Slot.STAGED, True),
        ("08a-rollback-queued", Slot.ROLLBACK, True),
        ("37ca-locked", Slot.BOOTED, False),
        ("40o-switch-while-rollback-queued", Slot.STAGED, True),
        ("48e-rollback-queued", Slot.ROLLBACK, True),
    ],
)
def test_what_boots_next(situation: str, following: Slot, reboot: bool) -> None:
    state = parse_bootc_status(RECORDED[situation]["bootc"])
    assert (state.next_slot, state.reboot_required) == (following, reboot)


def test_layered_packages_are_named() -> None:
    state = parse_rpm_ostree_status(RECORDED["48g-incompatible-staged"]["rpm-ostree"])
    assert state.staged is not None
    assert state.staged.local_changes.packages == ("labtool",)
    assert "layered packages labtool" in state.staged.local_changes.describe()


def test_the_lock_message_before_the_json_is_skipped() -> None:
    text = RECORDED["48b-booted"]["bootc"]
    assert parse_bootc_status("Waiting for sysroot lock...\n" + text) == parse_bootc_status(text)


def test_update_driver_and_signatures() -> None:
    assert parse_rpm_ostree_status(RECORDED["42b-driver-active"]["rpm-ostree"]).update_driver
    signed = parse_bootc_status(RECORDED["31c-booted-signed"]["bootc"])
    assert signed.booted is not None
    assert signed.booted.image is not None
    assert signed.booted.image.signature == POLICY


def status(**status_fields: Any) -> str:
    """A minimal status of the oldest schema."""
    document = {"apiVersion": "org.containers.bootc/v1alpha1", "kind": "BootcHost", "spec": {}, "status": status_fields}
    return json.dumps(document)


def entry(**fields: Any) -> dict[str, Any]:
    image = {"image": "registry.example.com/os:1", "transport": "registry", **fields.pop("spec", {})}
    return {
        "image": {"image": image, "imageDigest": "sha256:" + "1" * 64},
        "ostree": {"checksum": "c", "deploySerial": 0},
        **fields,
    }


def test_the_oldest_schema_lacks_most_keys() -> None:
    state = parse_bootc_status(status(booted=entry(), isContainer=False))
    assert state.booted is not None
    assert state.booted.image is not None
    assert (state.booted.image.architecture, state.others, state.unlocked) == (None, (), "none")


def test_a_host_that_is_not_image_mode_has_no_deployment() -> None:
    state = parse_bootc_status(status(booted=None, staged=None, rollback=None, type=None))
    assert (state.tool, state.image_mode, state.next_slot, state.reboot_required) == (None, False, None, False)


def test_the_signature_of_an_ostree_remote_is_an_object() -> None:
    state = parse_bootc_status(status(booted=entry(spec={"signature": {"ostreeRemote": "fedora"}})))
    assert state.booted is not None
    assert state.booted.image is not None
    assert state.booted.image.signature == Signature(SignatureKind.OSTREE_REMOTE, "fedora")


def test_a_composefs_host_has_no_ostree_commit() -> None:
    state = parse_bootc_status(status(booted=entry(ostree=None, composefs={"verity": "abc", "bootType": "Bls"})))
    assert state.booted is not None
    assert (state.booted.checksum, state.booted.serial, state.booted.composefs) == ("abc", None, True)


def test_a_reference_that_only_the_tool_understands_does_not_hide_the_host() -> None:
    state = parse_bootc_status(status(booted=entry(spec={"image": "Strange Name"})))
    assert isinstance(state, HostState)
    assert state.booted is not None
    assert "Strange Name" in state.booted.describe()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "printed no JSON, but: nothing"),
        ("System is not deployed via bootc.", "System is not deployed via bootc."),
        ('{"apiVersion": ', "does not parse"),
        ('{"apiVersion": "org.containers.bootc/v2", "kind": "BootcHost", "status": {}}', "v2"),
        (json.dumps({"apiVersion": "org.containers.bootc/v1", "kind": "BootcHost"}), "status is missing"),
        (status(booted="yes"), 'status.booted is "yes"'),
        (status(booted=entry(spec={"transport": "carrier-pigeon"})), "carrier-pigeon"),
        (status(booted=entry(spec={"signature": "royalSeal"})), "royalSeal"),
        (status(booted=entry(), rollbackQueued=True), "no rollback deployment"),
        (status(booted=entry(pinned="no")), "status.booted.pinned"),
        ('{"a":' + "[" * 100_000, "nested too deeply"),
        (status(booted=entry()).replace('"spec"', '"status"', 1), "'status' is there twice"),
        (status(booted=entry(ostree={"deploySerial": float("nan")})), "NaN is not JSON"),
        (status(booted=entry(spec={"image": "registry.example.com/os:\ud800"})), "surrogates not allowed"),
        (
            status(booted=entry(spec={"image": "registry.example.com/os:X"})).replace(":X", ":\udcff"),
            "surrogates not allowed",
        ),
        (
            status(booted=entry()).replace('"deploySerial": 0', '"deploySerial": ' + "9" * 5000),
            "integer string conversion",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_not_understood_is_named(text: str, said: str) -> None:
    with pytest.raises(StatusNotUnderstood) as refusal:
        parse_bootc_status(text)
    assert said in str(refusal.value)


@pytest.mark.parametrize("seconds", [10**18, -(10**18), 10**30])
def test_a_time_beyond_the_calendar_is_not_understood(seconds: int) -> None:
    image = "ostree-unverified-registry:registry.example.com/os:1"
    booted = {"booted": True, "checksum": "c", "container-image-reference": image, "timestamp": seconds}
    with pytest.raises(StatusNotUnderstood, match=r"timestamp is -?10+, which is no time"):
        parse_rpm_ostree_status(json.dumps({"deployments": [booted]}))


@pytest.mark.parametrize(
    ("value", "replacements"),
    [
        (["a", "b"], ("a", "b")),
        ({"repo=x": ["a"], "repo=y": ["b"]}, ("a", "b")),
        ({"repo=x": None}, ()),
        ([{"name": "a"}], ('{"name": "a"}',)),
        (7, ("7",)),
    ],
)
def test_remote_replacements_of_any_shape_count(value: Any, replacements: tuple[str, ...]) -> None:
    booted = {"booted": True, "checksum": "c", "requested-base-remote-replacements": value}
    state = parse_rpm_ostree_status(json.dumps({"deployments": [booted]}))
    assert state.booted is not None
    assert state.booted.local_changes.replacements == replacements


def test_a_staged_deployment_that_is_not_the_first_is_not_understood() -> None:
    rollback, staged, booted = {"checksum": "r"}, {"checksum": "s", "staged": True}, {"checksum": "b", "booted": True}
    with pytest.raises(StatusNotUnderstood, match="what boots next is not known"):
        parse_rpm_ostree_status(json.dumps({"deployments": [rollback, staged, booted]}))
    state = parse_rpm_ostree_status(json.dumps({"deployments": [staged, rollback, booted]}))
    assert (state.next_slot, state.rollback_queued) == (Slot.STAGED, True)


def test_rpm_ostree_without_a_booted_deployment_is_not_understood() -> None:
    with pytest.raises(StatusNotUnderstood, match="no booted deployment"):
        parse_rpm_ostree_status('{"deployments": [{"checksum": "c", "booted": false}]}')
