# SPDX-License-Identifier: GPL-3.0-or-later
"""What a migration to bootc costs: a table of every kind of node, and what is in a host's repository."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest
import yaml
from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_image import (
    DesiredImage,
    LocalChangesPolicy,
    SignaturePolicy,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import (
    DeployedImage,
    Deployment,
    HostState,
    LocalChanges,
    Tool,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    POLICY,
    UNVERIFIED,
    ImageReference,
    Signature,
    SignatureKind,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.migration_plan import (
    LayerStore,
    Migration,
    MigrationCase,
    layers_present,
    plan_migration,
    platform_of,
    readable_bytes,
)
from ansible_collections.imagemode.nodes.plugins.modules import migration_info

D1, D2, D3 = ("sha256:" + c * 64 for c in "123")
NAME = "registry.example.com/os"
LAYERED = LocalChanges(packages=("htop",))
FEDORA = Signature(SignatureKind.OSTREE_REMOTE, "fedora")
DISCARD = LocalChangesPolicy.DISCARD

V1_LAYERS = (("sha256:base", 1000), ("sha256:v1", 10))
V2_LAYERS = (("sha256:base", 1000), ("sha256:v2", 20))
HAS_V1 = frozenset({"sha256:base", "sha256:v1"})
V1 = LayerStore(V1_LAYERS, HAS_V1)
V2 = LayerStore(V2_LAYERS, HAS_V1)
V1_ON_BRANCH = LayerStore(V1_LAYERS)


def image(reference: str = f"{NAME}:v1", digest: str = D1, signature: Signature = UNVERIFIED) -> DeployedImage:
    return DeployedImage(ImageReference.parse(reference), signature, digest)


def deployment(of: DeployedImage | None, **fields: object) -> Deployment:
    return replace(Deployment(of, checksum="commit", serial=0), **fields)  # type: ignore[arg-type]


def layered(on: DeployedImage | None, **fields: object) -> Deployment:
    """As bootc shows it, with rpm-ostree's second opinion."""
    return deployment(None, local_changes=LAYERED, below=on, **fields)


def host(booted: Deployment | None = None, **fields: object) -> HostState:
    state = HostState(Tool.BOOTC, booted or deployment(image()), bootc_version="1.16.9", rpm_ostree_version="2026.2")
    return replace(state, **fields)  # type: ignore[arg-type]


def without_bootc(booted: Deployment, **fields: object) -> HostState:
    return host(booted, tool=Tool.RPM_OSTREE, bootc_version=None, **fields)


def want(reference: str = f"{NAME}@{D1}", digest: str = D1, **fields: object) -> DesiredImage:
    desired = DesiredImage(ImageReference.parse(reference), frozenset({digest}))
    return replace(desired, **fields)  # type: ignore[arg-type]


BRANCH = deployment(None, origin="fedora:fedora/41/x86_64/silverblue")
WANT_V2 = want(f"{NAME}@{D2}", D2)


@dataclasses.dataclass(frozen=True)
class Expected:
    case: MigrationCase
    pull_bytes: int | None
    reboots: int | None
    losses: tuple[str, ...] = ()


MANAGED = Expected(MigrationCase.MANAGED, 0, 0)

GOES = {
    "an image that rpm-ostree deployed, wanted": (host(), want(), V1, MANAGED),
    "the same, verified by policy.json": (host(deployment(image(signature=POLICY))), want(), V1, MANAGED),
    "the same, verified through an ostree remote": (host(deployment(image(signature=FEDORA))), want(), V1, MANAGED),
    "wanted is booted, and something else staged": (
        host(staged=deployment(image(f"{NAME}:v2", D2), serial=1)),
        want(),
        V1,
        MANAGED,
    ),
    "verified, and verification is given up": (
        host(deployment(image(signature=POLICY))),
        want(signature_policy=SignaturePolicy.UNVERIFIED),
        V1,
        Expected(MigrationCase.SAME_CONTENT, 0, 1, ("the verification of images (policy)",)),
    ),
    "local changes, given up": (
        host(layered(image())),
        want(local_changes=DISCARD),
        V1,
        Expected(MigrationCase.LOCAL_CHANGES, 0, 1, ("layered packages htop",)),
    ),
    "local changes that are only staged, given up": (
        host(staged=layered(image(), serial=1)),
        want(local_changes=DISCARD),
        V1,
        Expected(MigrationCase.MANAGED, 0, 0, ("layered packages htop (staged)",)),
    ),
    "the same content under another name": (
        host(),
        want(f"mirror.example.com/os@{D1}"),
        V1,
        Expected(MigrationCase.SAME_CONTENT, 0, 1),
    ),
    "another image": (host(), WANT_V2, V2, Expected(MigrationCase.OTHER_IMAGE, 20, 1)),
    "another image, of which no layer is known": (
        host(),
        WANT_V2,
        LayerStore(None),
        Expected(MigrationCase.OTHER_IMAGE, None, 1),
    ),
    "a rebase that waits for its reboot": (
        host(BRANCH, staged=deployment(image(), serial=1)),
        want(),
        V1,
        Expected(MigrationCase.STAGED, 0, 1),
    ),
    "a rebase that waits for its reboot, off layered packages": (
        host(layered(image()), staged=deployment(image(), serial=1)),
        want(),
        V1,
        Expected(MigrationCase.STAGED, 0, 1, ("layered packages htop",)),
    ),
    "downloaded, not staged": (
        host(BRANCH, staged=deployment(image(), serial=1, download_only=True)),
        want(),
        V1,
        Expected(MigrationCase.STAGED, 0, 1),
    ),
    "an ostree branch": (host(BRANCH), want(), V1_ON_BRANCH, Expected(MigrationCase.BRANCH, 1010, 1)),
    "an ostree branch with layered packages, given up": (
        host(replace(BRANCH, local_changes=LAYERED)),
        want(local_changes=DISCARD),
        V1_ON_BRANCH,
        Expected(MigrationCase.BRANCH, 1010, 1, ("layered packages htop",)),
    ),
    "no bootc, another image": (
        without_bootc(deployment(image())),
        WANT_V2,
        V2,
        Expected(MigrationCase.NO_BOOTC, 20, 1),
    ),
    "no bootc, an ostree branch": (
        without_bootc(BRANCH),
        want(),
        V1_ON_BRANCH,
        Expected(MigrationCase.NO_BOOTC, 1010, 1),
    ),
    "no bootc, verified through a remote": (
        without_bootc(deployment(image(signature=FEDORA))),
        WANT_V2,
        V2,
        Expected(MigrationCase.NO_BOOTC, 20, 1),
    ),
    "an unlocked /usr": (
        host(unlocked="development"),
        WANT_V2,
        V2,
        Expected(MigrationCase.OTHER_IMAGE, 20, 1, ("what was changed in the unlocked /usr (development)",)),
    ),
}


@pytest.mark.parametrize(("state", "desired", "store", "expected"), GOES.values(), ids=list(GOES))
def test_what_it_costs(state: HostState, desired: DesiredImage, store: LayerStore, expected: Expected) -> None:
    found = plan_migration(state, desired, store)
    assert found.blocked is None
    assert Expected(found.case, found.pull_bytes, found.reboots, found.losses) == expected
    assert found.tool is state.tool
    assert found.free is (expected.pull_bytes == 0 and expected.reboots == 0)


def ways(found: Migration) -> dict[str, tuple[int | None, int | None]]:
    return {way.do: (way.pull_bytes, way.reboots) for way in found.ways}


@pytest.mark.parametrize(
    ("booted", "desired", "store", "expected"),
    [
        (image(), want(), V1, {"reset": (0, 1), "discard": (0, 1)}),
        (image(signature=POLICY), want(), V1, {"reset": (0, 1), "discard": (0, 1)}),
        (image(), WANT_V2, V2, {"discard": (20, 1)}),
        (None, want(), V1_ON_BRANCH, {"discard": (1010, 1)}),
    ],
    ids=["the wanted image", "the wanted image, verified", "another image", "an ostree branch"],
)
def test_local_changes_are_a_decision(
    booted: DeployedImage | None,
    desired: DesiredImage,
    store: LayerStore,
    expected: dict[str, tuple[int, int]],
) -> None:
    found = plan_migration(host(layered(booted)), desired, store)
    assert found.blocked is not None
    assert "layered packages htop" in found.blocked
    assert found.losses == ("layered packages htop",)
    costs = {word: cost for way, cost in ways(found).items() for word in ("reset", "discard") if word in way}
    assert costs == expected
    assert (found.pull_bytes, found.reboots) == expected["discard"]


def test_a_remote_cannot_be_expressed_for_another_reference() -> None:
    found = plan_migration(host(deployment(image(signature=FEDORA))), WANT_V2, V2)
    assert found.blocked is not None
    assert "no bootc since 1.1.5 can express that" in found.blocked
    assert (found.pull_bytes, found.reboots) == (None, None)
    assert ways(found) == {
        "set imagemode_signature_policy: policy": (20, 1),
        "set imagemode_signature_policy: unverified": (20, 1),
        "leave it on the reference that it follows, and update it with `bootc upgrade`": (None, 1),
    }


@pytest.mark.parametrize(
    ("state", "case", "said"),
    [
        (HostState(tool=None), MigrationCase.NOT_IMAGE_MODE, "was not booted from ostree"),
        (
            without_bootc(deployment(image())),
            MigrationCase.NO_BOOTC,
            "runs the wanted image already, and that has no bootc",
        ),
        (host(BRANCH, read_only=True), MigrationCase.BRANCH, "read-only"),
    ],
    ids=["not image-mode", "the image has no bootc", "a live system"],
)
def test_what_stands_in_the_way_is_said(state: HostState, case: MigrationCase, said: str) -> None:
    found = plan_migration(state, want(), V1)
    assert found.case is case
    assert found.blocked is not None
    assert said in found.blocked
    assert not found.free


def test_every_part_of_a_survey_is_documented() -> None:
    described = yaml.safe_load(migration_info.RETURN)
    found = plan_migration(host(layered(image())), want(), V1).as_dict()
    assert set(found) | {"host", "runs", "unreachable_host"} == set(described)
    assert set(found["ways"][0]) == set(described["ways"]["contains"])


def test_layers_in_the_repository() -> None:
    """Lines as recorded with ostree 2026.4."""
    one = "609147280f2bff913ca58439ba9886cf9eb08bd5ca249c05d342784c06a6045b"
    text = (
        "ostree/1/0/0\n"
        f"ostree/container/blob/sha256_3A_{one}\n"
        "ostree/container/image/docker_3A__2F__2F_10_2E_77_2E_0_2E_1_3A_5000/os_3A_v2\n"
        "lab:labos/stable/base\n"
    )
    assert layers_present(text) == {f"sha256:{one}"}
    assert layers_present("") == set()


def test_a_layer_that_an_image_has_twice_is_pulled_once() -> None:
    assert LayerStore((("sha256:a", 5), ("sha256:a", 5), ("sha256:b", 1))).missing_bytes == 6


@pytest.mark.parametrize(
    ("machine", "platforms", "expected"),
    [
        ("x86_64", ["linux/arm64", "linux/amd64"], "linux/amd64"),
        ("aarch64", ["linux/arm64/v8", "linux/amd64"], "linux/arm64/v8"),
        ("riscv64", ["linux/arm64", "linux/amd64"], None),
        ("riscv64", ["linux/amd64"], "linux/amd64"),
        ("x86_64", [], None),
    ],
)
def test_the_platform_of_a_host(machine: str, platforms: list[str], expected: str | None) -> None:
    assert platform_of(machine, platforms) == expected


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "?"), (0, "0"), (999, "999 B"), (1_090_980, "1 MB"), (412_345_678, "412 MB"), (2_340_000_000, "2.3 GB")],
)
def test_sizes_for_people(count: int | None, text: str) -> None:
    assert readable_bytes(count) == text
