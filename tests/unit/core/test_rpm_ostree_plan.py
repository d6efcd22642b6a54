# SPDX-License-Identifier: GPL-3.0-or-later
"""Staging with rpm-ostree: a table of situations, and the properties that hold in all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import rpm_ostree_model
from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_image import (
    DesiredImage,
    LocalChangesPolicy,
    Placement,
    SignaturePolicy,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_ref import DesiredRef
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
    InvalidReference,
    Signature,
    SignatureKind,
    Transport,
    parse_ostree_reference,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Plan, Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rpm_ostree_plan import RpmOstreeTool, spell
from ansible_collections.imagemode.nodes.plugins.module_utils._core.staging_plan import (
    Desired,
    plan_staging,
    plan_unstaging,
)
from hypothesis import assume, given
from hypothesis import strategies as st

D1, D2, D3 = ("sha256:" + c * 64 for c in "123")
NAME = "registry.example.com/os"
BRANCH = "lab:os/stable"
LAYERED = LocalChanges(packages=("htop",))
KEEP, DISCARD = LocalChangesPolicy.KEEP, LocalChangesPolicy.DISCARD
FEDORA = Signature(SignatureKind.OSTREE_REMOTE, "fedora")


def image(tag: str = "v1", digest: str = D1, signature: Signature = UNVERIFIED) -> DeployedImage:
    return DeployedImage(ImageReference.parse(tag if "/" in tag else f"{NAME}:{tag}"), signature, digest)


def deployment(of: DeployedImage | None, **fields: object) -> Deployment:
    digest = of.digest if of else "plain"
    return replace(Deployment(of, checksum=f"commit-of-{digest}", serial=0), **fields)  # type: ignore[arg-type]


def host(**fields: object) -> HostState:
    return replace(HostState(tool=Tool.RPM_OSTREE, booted=deployment(image())), **fields)  # type: ignore[arg-type]


def want(text: str = f"{NAME}:v1", *digests: str, **fields: object) -> DesiredImage:
    return replace(DesiredImage(ImageReference.parse(text), frozenset(digests)), **fields)  # type: ignore[arg-type]


def plan(state: HostState, desired: Desired, bypass: bool = False) -> Plan:
    return plan_staging(RpmOstreeTool(bypass), state, desired)


STAGED_V2 = deployment(image("v2", D2))
ON_BRANCH = deployment(None, origin=BRANCH, version="41.1")
REBASE_V2 = ("rpm-ostree", "rebase", f"ostree-unverified-registry:{NAME}:v2")
UNDEPLOY = ("ostree", "admin", "undeploy", "0")
UPGRADE = ("rpm-ostree", "upgrade", "--allow-downgrade")
RESET = ("rpm-ostree", "reset")
LOCK = ("ostree", "admin", "lock-finalization")
OLD = deployment(image("v0", D3))

SITUATIONS: dict[str, tuple[HostState, Desired, tuple[tuple[str, ...], ...]]] = {
    "booted already: not asked to rebase to the same text, which would be an error": (host(), want(), ()),
    "booted under a tag, wanted by digest": (host(), want(f"{NAME}@{D1}", D1), ()),
    "the tag moved": (host(), want(f"{NAME}:v1", D2), (UPGRADE,)),
    "another tag": (host(), want(f"{NAME}:v2"), (REBASE_V2,)),
    "staged already": (host(staged=STAGED_V2), want(f"{NAME}:v2", D2), ()),
    "staged, but the tag moved since": (host(staged=STAGED_V2), want(f"{NAME}:v2", D3), (UPGRADE,)),
    "something else is staged": (
        host(staged=STAGED_V2),
        want(f"{NAME}:v3"),
        (("rpm-ostree", "rebase", f"ostree-unverified-registry:{NAME}:v3"),),
    ),
    "something else is staged, wanted is booted": (host(staged=STAGED_V2), want(), (UNDEPLOY,)),
    "a rollback is queued, wanted is booted": (
        host(rollback=OLD, rollback_queued=True),
        want(),
        (("rpm-ostree", "rollback"),),
    ),
    "a rollback is queued: its origin is no base to build on": (
        host(rollback=OLD, rollback_queued=True),
        want(f"{NAME}:v2"),
        (("rpm-ostree", "rollback"), REBASE_V2),
    ),
    "a rollback is queued under a staged one": (
        host(rollback=OLD, rollback_queued=True, staged=STAGED_V2),
        want(f"{NAME}:v2", D3),
        (UPGRADE,),
    ),
    "from a branch to an image": (host(booted=ON_BRANCH), want(f"{NAME}:v2"), (REBASE_V2,)),
    "layered packages, kept": (
        host(booted=deployment(image(), local_changes=LAYERED)),
        want(f"{NAME}:v2", local_changes=KEEP),
        (REBASE_V2,),
    ),
    "layered packages, kept, on the wanted image": (
        host(booted=deployment(image(), local_changes=LAYERED)),
        want(local_changes=KEEP),
        (),
    ),
    "layered packages, dropped from the wanted image: no registry is asked": (
        host(booted=deployment(image(), local_changes=LAYERED)),
        want(local_changes=DISCARD),
        (RESET,),
    ),
    "layered packages, dropped on the way to another image": (
        host(booted=deployment(image(), local_changes=LAYERED)),
        want(f"{NAME}:v2", local_changes=DISCARD),
        (RESET, REBASE_V2),
    ),
    "verification is kept": (
        host(booted=deployment(image(signature=POLICY))),
        want(f"{NAME}:v2"),
        (("rpm-ostree", "rebase", f"ostree-image-signed:docker://{NAME}:v2"),),
    ),
    "verification through an ostree remote is kept": (
        host(booted=deployment(image(signature=FEDORA))),
        want(f"{NAME}:v2"),
        (("rpm-ostree", "rebase", f"ostree-remote-image:fedora:docker://{NAME}:v2"),),
    ),
    "verification through another remote": (
        host(booted=deployment(image(signature=FEDORA))),
        want(f"{NAME}:v1", signature_policy=SignaturePolicy.OSTREE_REMOTE, remote="mine"),
        (("rpm-ostree", "rebase", f"ostree-remote-image:mine:docker://{NAME}:v1"),),
    ),
    "verification is given up, in so many words": (
        host(booted=deployment(image(signature=POLICY))),
        want(signature_policy=SignaturePolicy.UNVERIFIED),
        (("rpm-ostree", "rebase", f"ostree-unverified-registry:{NAME}:v1"),),
    ),
    "downloaded, wanted staged": (
        host(staged=replace(STAGED_V2, download_only=True)),
        want(f"{NAME}:v2", D2),
        ((*LOCK, "--unlock"),),
    ),
    "staged, wanted downloaded": (
        host(staged=STAGED_V2),
        want(f"{NAME}:v2", D2, placement=Placement.DOWNLOADED),
        (LOCK,),
    ),
    "downloaded already": (
        host(staged=replace(STAGED_V2, download_only=True)),
        want(f"{NAME}:v2", D2, placement=Placement.DOWNLOADED),
        (),
    ),
    "booted, wanted downloaded": (host(staged=STAGED_V2), want(placement=Placement.DOWNLOADED), ()),
    "to be downloaded": (
        host(),
        want(f"{NAME}:v2", placement=Placement.DOWNLOADED),
        (("rpm-ostree", "rebase", "--lock-finalization", f"ostree-unverified-registry:{NAME}:v2"),),
    ),
    "follows the branch": (host(booted=ON_BRANCH), DesiredRef(BRANCH), ()),
    "follows the branch at the wanted version": (host(booted=ON_BRANCH), DesiredRef(BRANCH, "41.1"), ()),
    "follows the branch at another version": (
        host(booted=ON_BRANCH),
        DesiredRef(BRANCH, "41.2"),
        (("rpm-ostree", "deploy", "41.2"),),
    ),
    "layered on the wanted commit, kept": (
        host(booted=replace(ON_BRANCH, checksum="layered", base_checksum="c0ffee", local_changes=LAYERED)),
        DesiredRef(BRANCH, "c0ffee", KEEP),
        (),
    ),
    "from an image to a branch": (host(), DesiredRef(BRANCH), (("rpm-ostree", "rebase", BRANCH),)),
    "from an image to a commit of a branch": (
        host(),
        DesiredRef(BRANCH, "c0ffee"),
        (("rpm-ostree", "rebase", BRANCH, "c0ffee"),),
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_plan(situation: str) -> None:
    state, desired, commands = SITUATIONS[situation]
    made = plan(state, desired)
    assert tuple(command.argv for command in made.commands) == commands
    assert made.changed == bool(commands)


def test_a_rollback_that_is_taken_back_first_is_not_predicted_to_be_queued() -> None:
    made = plan(host(rollback=OLD, rollback_queued=True), want(f"{NAME}:v2"))
    assert (made.before.rollback_queued, made.after.rollback_queued) == (True, False)
    kept = plan(host(rollback=OLD, rollback_queued=True, staged=STAGED_V2), want(f"{NAME}:v2", D3))
    assert kept.after.rollback_queued is True


def test_the_driver_is_bypassed_by_every_command_that_it_would_block() -> None:
    assert plan(host(), want(f"{NAME}:v2"), bypass=True).commands[0].argv[2] == "--bypass-driver"
    assert "--bypass-driver" in plan(host(), want(f"{NAME}:v1", D2), bypass=True).commands[0].argv
    assert "--bypass-driver" in plan(host(booted=ON_BRANCH), DesiredRef(BRANCH, "9"), bypass=True).commands[0].argv
    reset = plan(host(booted=deployment(image(), local_changes=LAYERED)), want(local_changes=DISCARD), bypass=True)
    assert reset.commands[0].argv == RESET


REFUSALS: dict[str, tuple[HostState, Desired, str]] = {
    "not image-mode": (HostState(tool=None), want(), "not image-mode"),
    "layered packages": (
        host(booted=deployment(image(), local_changes=LAYERED)),
        want(f"{NAME}:v2"),
        "layered packages htop",
    ),
    "staged layered packages": (
        host(staged=deployment(image(), local_changes=LAYERED)),
        want(f"{NAME}:v2"),
        "The staged deployment has layered packages htop",
    ),
    "a digest that cannot be reached": (
        host(booted=deployment(image(f"{NAME}@{D1}", D1))),
        want(f"{NAME}@{D1}", D2),
        "Pulling again cannot change that",
    ),
    "an ostree remote without a name": (
        host(),
        want(f"{NAME}:v2", signature_policy=SignaturePolicy.OSTREE_REMOTE),
        "set ostree_remote",
    ),
    "cliwrap survives a reset": (
        host(booted=deployment(image(), local_changes=LocalChanges(cliwrap=True))),
        want(f"{NAME}:v2", local_changes=DISCARD),
        "--ex-cliwrap=false",
    ),
    "a live system": (host(read_only=True), want(f"{NAME}:v2"), "read-only"),
}


@pytest.mark.parametrize("situation", REFUSALS)
def test_refused(situation: str) -> None:
    state, desired, said = REFUSALS[situation]
    with pytest.raises(Refusal) as refusal:
        plan(state, desired)
    assert said in str(refusal.value)


UNSTAGING: dict[str, tuple[HostState, Desired | None, tuple[tuple[str, ...], ...], str]] = {
    "nothing is staged": (host(), None, (), "nothing is staged"),
    "whatever is staged": (host(staged=STAGED_V2), None, (UNDEPLOY,), "discarded"),
    "what was named": (host(staged=STAGED_V2), want(f"{NAME}:v2"), (UNDEPLOY,), "discarded"),
    "something else than what was named": (host(staged=STAGED_V2), want(f"{NAME}:v3"), (), "left alone"),
    "a rollback stays queued": (
        host(staged=STAGED_V2, rollback=OLD, rollback_queued=True),
        None,
        (UNDEPLOY,),
        "discarded",
    ),
}


@pytest.mark.parametrize("situation", UNSTAGING)
def test_unstaging(situation: str) -> None:
    state, desired, commands, said = UNSTAGING[situation]
    made = plan_unstaging(state, desired)
    assert tuple(command.argv for command in made.commands) == commands
    assert said in made.summary
    assert bool(made.warnings) == state.rollback_queued


def test_unstaging_does_not_lose_layered_packages() -> None:
    with pytest.raises(Refusal, match="htop"):
        plan_unstaging(host(staged=deployment(image(), local_changes=LAYERED)), None)


def test_a_discard_hits_only_the_deployment_that_was_seen() -> None:
    command = plan(host(staged=STAGED_V2), want()).commands[0]
    assert command.only_if is not None
    assert command.only_if[-1] == f"commit-of-{D2}.0"


@pytest.mark.parametrize(
    ("reference", "signature"),
    [
        (reference, signature)
        for reference in (
            ImageReference.parse(f"{NAME}:v1"),
            ImageReference.parse(f"{NAME}@{D1}"),
            ImageReference.parse("/var/images/os", Transport.OCI),
            ImageReference.parse("localhost/os:v1", Transport.CONTAINERS_STORAGE),
        )
        for signature in (UNVERIFIED, POLICY, FEDORA)
    ],
)
def test_what_is_spelled_is_read_back_as_the_same(reference: ImageReference, signature: Signature) -> None:
    read = parse_ostree_reference(spell(reference, signature))
    assert (read.reference, read.signature) == (reference, signature)


@pytest.mark.parametrize("ref", ["", "-x", "a b", "lab:", ":x", "lab:--help", "x;y", "$(id)", "a\nb"])
def test_hostile_branches_are_refused(ref: str) -> None:
    with pytest.raises(InvalidReference):
        DesiredRef(ref)


digests = st.sampled_from([D1, D2, D3])
signatures = st.sampled_from([UNVERIFIED, POLICY])


@st.composite
def images(draw: st.DrawFn) -> DeployedImage:
    if draw(st.booleans()):
        pin = draw(st.sampled_from([f"{NAME}@{D1}", f"{NAME}@{D2}"]))
        return image(pin, pin.partition("@")[2], draw(signatures))
    return image(draw(st.sampled_from(["v1", "v2"])), draw(digests), draw(signatures))


@st.composite
def deployments(draw: st.DrawFn) -> Deployment:
    changes = draw(st.sampled_from([LocalChanges(), LocalChanges(), LAYERED]))
    return deployment(draw(images()), serial=draw(st.integers(0, 1)), local_changes=changes)


@st.composite
def hosts(draw: st.DrawFn) -> HostState:
    staged = draw(st.none() | deployments())
    if staged is not None:
        staged = replace(staged, download_only=draw(st.booleans()))
    rollback = draw(st.none() | deployments())
    queued = draw(st.booleans()) and rollback is not None
    return host(booted=draw(deployments()), staged=staged, rollback=rollback, rollback_queued=queued)


@st.composite
def wishes(draw: st.DrawFn) -> DesiredImage:
    return want(
        draw(st.sampled_from([f"{NAME}@{D1}", f"{NAME}@{D2}", f"{NAME}:v1", f"{NAME}:v2"])),
        signature_policy=draw(
            st.sampled_from([SignaturePolicy.UNCHANGED, SignaturePolicy.UNVERIFIED, SignaturePolicy.POLICY])
        ),
        local_changes=draw(st.sampled_from(list(LocalChangesPolicy))),
    )


registries = st.fixed_dictionaries({"v1": digests, "v2": digests}).map(
    lambda meanings: {
        **{ImageReference.parse(f"{NAME}:{tag}"): digest for tag, digest in meanings.items()},
        **{ImageReference.parse(f"{NAME}@{digest}"): digest for digest in (D1, D2, D3)},
    }
)


@given(hosts(), wishes(), registries, st.booleans())
def test_every_plan_converges_in_at_most_one_reboot_as_predicted(
    state: HostState, desired: DesiredImage, registry: dict[ImageReference, str], prove: bool
) -> None:
    if prove:
        desired = replace(desired, expected_digests=frozenset({registry[desired.reference]}))
    try:
        made = plan(state, desired)
    except Refusal:
        assume(False)
        raise
    reached = state
    for command in made.commands:
        reached = rpm_ostree_model.run(reached, command.argv, registry)

    assert desired.satisfied_by(reached.next, desired.signature_on(state))
    assert not plan(reached, desired).changed
    rebooted = rpm_ostree_model.reboot(reached)
    assert not rebooted.reboot_required
    assert not plan(rebooted, desired).changed
    assert made.after.reboot_required == reached.reboot_required
    assert made.after.next_slot == reached.next_slot
    if desired.local_changes is LocalChangesPolicy.KEEP and made.changed:
        kept = state.staged if state.staged is not None and reached.staged is not None else state.booted
        assert reached.next is not None
        assert kept is not None
        assert reached.next.local_changes == kept.local_changes, "what was to be kept is there"
