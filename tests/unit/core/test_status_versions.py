# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of every generation of both tools: what one version prints and another leaves out, and what must not be believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.bootc_status import parse_bootc_status
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Deployment, HostState, Slot, Tool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    POLICY,
    UNVERIFIED,
    Signature,
    SignatureKind,
    Transport,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rpm_ostree_status import parse_rpm_ostree_status

RECORDED: dict[str, dict[str, str]] = json.loads(
    (Path(__file__).parents[2] / "recordings" / "status" / "status.json").read_text()
)
D1, D2 = "sha256:" + "1" * 64, "sha256:" + "2" * 64
NAME = "registry.example.com/os"

# The keys by version: bootc crates/lib/src/spec.rs and status.rs, by tag.
BOOTC_SINCE = {
    "image.version": (0, 1, 2),
    "image.timestamp": (0, 1, 2),
    "cachedUpdate": (0, 1, 6),
    "status.type": (0, 1, 6),
    "status.rollbackQueued": (0, 1, 10),
    "spec.bootOrder": (0, 1, 10),
    "store": (0, 1, 14),
    "image.architecture": (1, 1, 7),
    "ostree.stateroot": (1, 3, 0),
    "softRebootCapable": (1, 7, 0),
    "composefs": (1, 9, 0),
    "downloadOnly": (1, 12, 0),
    "status.usrOverlay": (1, 14, 0),
    "status.readOnly": (1, 16, 7),
}
VERSIONS = [(0, 1, 0), (0, 1, 5), (0, 1, 9), (0, 1, 14), (0, 1, 16), (1, 1, 6), (1, 1, 7), (1, 3, 0), (1, 8, 0)]
VERSIONS += [(1, 12, 1), (1, 15, 2), (1, 16, 9)]


def known(version: tuple[int, ...], values: dict[str, Any], place: str = "") -> dict[str, Any]:
    """Those of the keys that a version has."""
    return {key: value for key, value in values.items() if version >= BOOTC_SINCE.get(f"{place}{key}", (0,))}


def entry(version: tuple[int, ...], tag: str, digest: str, serial: int) -> dict[str, Any]:
    spec = {"image": f"{NAME}:{tag}", "transport": "registry"}
    image = {"image": spec, "imageDigest": digest, "version": "1.0", "timestamp": None, "architecture": "amd64"}
    ostree = {"checksum": "c0ffee", "deploySerial": serial, "stateroot": "default"}
    fields = {
        "image": known(version, image, "image."),
        "cachedUpdate": None,
        "incompatible": False,
        "pinned": False,
        "store": "ostreeContainer",
        "ostree": known(version, ostree, "ostree."),
        "softRebootCapable": False,
        "composefs": None,
        "downloadOnly": False,
    }
    return known(version, fields)


def bootc(version: tuple[int, ...], **slots: Any) -> dict[str, Any]:
    status = {"staged": None, "booted": entry(version, "v1", D1, 0), "rollback": None, "type": "bootcHost", **slots}
    status |= {"rollbackQueued": False, "usrOverlay": None, "readOnly": False}
    if version < (0, 1, 6):
        status["isContainer"] = False
    api = "v1" if version >= (0, 1, 15) else "v1alpha1"
    return {
        "apiVersion": f"org.containers.bootc/{api}",
        "kind": "BootcHost",
        "metadata": {"name": "host"},
        "spec": known(version, {"image": {"image": f"{NAME}:v1", "transport": "registry"}, "bootOrder": "default"}),
        "status": known(version, status, "status."),
    }


def booted_of(state: HostState) -> Deployment:
    assert state.booted is not None
    return state.booted


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: ".".join(map(str, version)))
def test_one_host_in_the_words_of_every_version(version: tuple[int, ...]) -> None:
    text = json.dumps(bootc(version, staged=entry(version, "v2", D2, 1)))
    for printed in (text, f"Waiting for sysroot lock...\n{text}", json.dumps(json.loads(text), sort_keys=True)):
        state = parse_bootc_status(printed)
        assert (state.tool, state.image_mode, state.next_slot) == (Tool.BOOTC, True, Slot.STAGED)
        assert (booted_of(state).digest, state.next and state.next.digest) == (D1, D2)
        assert (state.others, state.rollback_queued, state.unlocked, state.read_only) == ((), False, "none", False)
        assert booted_of(state).image is not None
        assert booted_of(state).stateroot == ("default" if version >= (1, 3) else None)
        assert booted_of(state).image.architecture == ("amd64" if version >= (1, 1, 7) else None)  # type: ignore[union-attr]


@pytest.mark.parametrize("version", [(0, 1, 5), (1, 1, 6), (1, 16, 9)], ids=str)
def test_a_host_that_is_none_in_the_words_of_every_version(version: tuple[int, ...]) -> None:
    document = bootc(version, booted=None, type=None)
    document["spec"] = {"image": None}
    assert parse_bootc_status(json.dumps(document)).image_mode is False


@pytest.mark.parametrize("situation", sorted(RECORDED))
def test_what_bootc_derives_is_never_believed(situation: str) -> None:
    """`spec` follows the staged deployment, `type` and `store` come and go, a cached update can be older than what is booted."""
    document = json.loads(RECORDED[situation]["bootc"])
    state = parse_bootc_status(RECORDED[situation]["bootc"])
    document["spec"] = {"image": {"image": "elsewhere/else:x", "transport": "oci"}, "bootOrder": "rollback"}
    document["status"]["type"] = None
    for slot in ("booted", "staged", "rollback"):
        if document["status"].get(slot):
            document["status"][slot]["store"] = "somethingElse"
    assert parse_bootc_status(json.dumps(document)) == state


@pytest.mark.parametrize(
    ("printed", "meant"),
    [
        ({}, UNVERIFIED),
        ({"signature": None}, UNVERIFIED),
        ({"signature": "insecure"}, UNVERIFIED),
        ({"signature": "containerPolicy"}, POLICY),
        ({"signature": {"ostreeRemote": "fedora"}}, Signature(SignatureKind.OSTREE_REMOTE, "fedora")),
    ],
    ids=str,
)
def test_signatures(printed: dict[str, Any], meant: Signature) -> None:
    document = bootc((1, 16, 9))
    document["status"]["booted"]["image"]["image"].update(printed)
    image = booted_of(parse_bootc_status(json.dumps(document))).image
    assert image is not None
    assert image.signature == meant


@pytest.mark.parametrize("transport", list(Transport))
def test_transports(transport: Transport) -> None:
    document = bootc((1, 16, 9))
    document["status"]["booted"]["image"]["image"] = {"image": f"{NAME}:v1", "transport": transport.value}
    image = booted_of(parse_bootc_status(json.dumps(document))).image
    assert image is not None
    assert (image.reference.transport, image.reference.pull_text) == (transport, f"{NAME}:v1")


@pytest.mark.parametrize(
    ("overlay", "unlocked"),
    [
        (None, "none"),
        ({"accessMode": "readWrite", "persistence": "transient"}, "development"),
        ({"accessMode": "readOnly", "persistence": "transient"}, "transient"),
        ({"accessMode": "readWrite", "persistence": "persistent"}, "hotfix"),
    ],
    ids=str,
)
def test_overlays(overlay: Any, unlocked: str) -> None:
    document = bootc((1, 16, 9))
    document["status"]["usrOverlay"] = overlay
    assert parse_bootc_status(json.dumps(document)).unlocked == unlocked


def rpm_ostree(**fields: Any) -> HostState:
    image = f"ostree-unverified-registry:{NAME}:v1"
    booted = {"booted": True, "checksum": "c0ffee", "serial": 0, "osname": "fedora", "container-image-reference": image}
    return parse_rpm_ostree_status(json.dumps({"deployments": [{**booted, **fields}]}))


@pytest.mark.parametrize(
    ("fields", "digest"),
    [
        ({"container-image-reference-digest": D1, "base-commit-meta": {}}, D1),
        ({"base-commit-meta": {"ostree.manifest-digest": D1}}, D1),
        ({"container-image-reference-digest": D1, "base-commit-meta": {"ostree.manifest-digest": D2}}, D1),
        ({"base-commit-meta": {}}, None),
        ({}, None),
    ],
    ids=str,
)
def test_the_digest_before_rpm_ostree_printed_it(fields: dict[str, Any], digest: str | None) -> None:
    assert booted_of(rpm_ostree(**fields)).digest == digest


@pytest.mark.parametrize(
    ("fields", "described"),
    [
        ({"initramfs-args": [], "initramfs-etc": [], "regenerate-initramfs": False}, "none"),
        ({"initramfs-args": ["--add=x"]}, "a locally generated initramfs"),
        ({"initramfs-etc": ["/etc/crypttab"]}, "a locally generated initramfs"),
        ({"regenerate-initramfs": True}, "a locally generated initramfs"),
        ({"requested-packages": [], "requested-modules": [], "modules": []}, "none"),
        ({"requested-modules": ["nodejs:18"]}, "layered packages nodejs:18"),
        ({"requested-modules-enabled": ["nodejs:18"]}, "layered packages nodejs:18"),
        ({"requested-packages": ["htop"], "packages": []}, "layered packages htop"),
        ({"requested-local-packages": ["a-1.rpm"]}, "layered packages a-1.rpm"),
        ({"requested-local-fileoverride-packages": ["b-1.rpm"]}, "layered packages b-1.rpm"),
        ({"requested-base-removals": ["nano"]}, "removed base packages nano"),
        ({"requested-base-local-replacements": ["c-2.rpm"]}, "replaced base packages c-2.rpm"),
        ({"cliwrap": True}, "cliwrap"),
        ({"packages": ["applied"], "base-removals": [["x", "y"]], "endoflife": "soon", "signatures": []}, "none"),
    ],
    ids=str,
)
def test_local_changes_are_what_was_asked_for(fields: dict[str, Any], described: str) -> None:
    assert booted_of(rpm_ostree(**fields)).local_changes.describe() == described


def test_what_rpm_ostree_remembers_of_an_update_is_not_believed() -> None:
    update = {"osname": "fedora", "checksum": "beef", "ref-has-new-commit": True, "manifest-diff": {"total": 3}}
    document = {"deployments": [{"booted": True, "checksum": "c0ffee"}], "cached-update": update, "transaction": None}
    assert booted_of(parse_rpm_ostree_status(json.dumps(document))).cached_update is None


def test_a_status_of_more_than_a_megabyte() -> None:
    """The manifest and the configuration of the image stand in it as strings."""
    meta = {"ostree.manifest": json.dumps({"layers": ["x" * 70] * 20_000}), "ostree.manifest-digest": D1}
    assert booted_of(rpm_ostree(**{"base-commit-meta": meta})).digest == D1
