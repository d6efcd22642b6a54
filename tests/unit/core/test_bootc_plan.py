# SPDX-License-Identifier: GPL-3.0-or-later
"""The planner as a table of situations, and the properties that hold in all of them."""

from __future__ import annotations

from dataclasses import replace

import bootc_model
import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.bootc_plan import BootcTool
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
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Plan, Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._core.staging_plan import plan_staging
from hypothesis import assume, given
from hypothesis import strategies as st

D1, D2, D3 = ("sha256:" + c * 64 for c in "123")
NAME = "registry.example.com/os"


def image(tag: str = "v1", digest: str = D1, signature: Signature = UNVERIFIED) -> DeployedImage:
    return DeployedImage(ImageReference.parse(tag if "/" in tag else f"{NAME}:{tag}"), signature, digest)


def deployment(of: DeployedImage | None, **fields: object) -> Deployment:
    digest = of.digest if of else "plain"
    return replace(Deployment(of, checksum=f"commit-of-{digest}", serial=0), **fields)  # type: ignore[arg-type]


def host(**fields: object) -> HostState:
    return replace(HostState(tool=Tool.BOOTC, booted=deployment(image())), **fields)  # type: ignore[arg-type]


def want(text: str = f"{NAME}:v1", *digests: str, **fields: object) -> DesiredImage:
    return replace(DesiredImage(ImageReference.parse(text), frozenset(digests)), **fields)  # type: ignore[arg-type]


def plan_bootc_switch(state: HostState, desired: DesiredImage) -> Plan:
    return plan_staging(BootcTool(), state, desired)


LAYERED = LocalChanges(packages=("htop",))
STAGED_V2 = deployment(image("v2", D2))
SWITCH_V2 = (("bootc", "switch", f"{NAME}:v2"),)
UNDEPLOY = ("ostree", "admin", "undeploy", "0")

SITUATIONS = {
    "booted already": (host(), want(), ()),
    "booted already, the tag spelled out": (host(booted=deployment(image(f"{NAME}:latest"))), want(NAME), ()),
    "booted already, digest proven": (host(), want(f"{NAME}:v1", D1, D3), ()),
    "booted under a tag, wanted by digest": (host(), want(f"{NAME}@{D1}", D1), ()),
    "booted by index digest, wanted by it": (
        host(booted=deployment(image(f"{NAME}@{D3}", D1))),
        want(f"{NAME}@{D3}", D1, D3),
        (),
    ),
    "wanted with tag and digest: the digest decides": (host(), want(f"{NAME}:whatever@{D1}"), ()),
    "the tag moved": (host(), want(f"{NAME}:v1", D2), (("bootc", "upgrade"),)),
    "another tag": (host(), want(f"{NAME}:v2"), SWITCH_V2),
    "another tag of the same content": (host(), want(f"{NAME}:v2", D1), SWITCH_V2),
    "another repository, same digest": (
        host(),
        want(f"mirror.example.com/os@{D1}", D1),
        (("bootc", "switch", f"mirror.example.com/os@{D1}"),),
    ),
    "staged already": (host(staged=STAGED_V2), want(f"{NAME}:v2", D2), ()),
    "staged, but the tag moved since": (host(staged=STAGED_V2), want(f"{NAME}:v2", D3), (("bootc", "upgrade"),)),
    "the staged tag moved back to what is booted": (
        host(booted=deployment(image("v0", D1)), staged=STAGED_V2),
        want(f"{NAME}:v2", D1),
        (UNDEPLOY, *SWITCH_V2),
    ),
    "the booted content is staged under another tag": (
        host(staged=deployment(image("v0", D1), serial=1)),
        want(f"{NAME}:v2"),
        SWITCH_V2,
    ),
    "something else is staged": (host(staged=STAGED_V2), want(f"{NAME}:v3"), (("bootc", "switch", f"{NAME}:v3"),)),
    "something else is staged, wanted is booted": (host(staged=STAGED_V2), want(), (UNDEPLOY,)),
    "kernel arguments are staged on the wanted image": (host(staged=deployment(image(), serial=1)), want(), ()),
    "downloaded, not staged": (
        host(staged=replace(STAGED_V2, download_only=True)),
        want(f"{NAME}:v2", D2),
        (("ostree", "admin", "lock-finalization", "--unlock"),),
    ),
    "something else is downloaded, wanted is booted": (host(staged=replace(STAGED_V2, download_only=True)), want(), ()),
    "a rollback is queued, wanted is booted": (
        host(rollback=deployment(image("v0", D3)), rollback_queued=True),
        want(),
        (("bootc", "rollback"),),
    ),
    "a rollback to a plain commit is queued, which bootc would not take back": (
        host(rollback=deployment(None), rollback_queued=True),
        want(),
        (("rpm-ostree", "rollback"),),
    ),
    "a rollback is queued under a staged one, wanted is booted": (
        host(rollback=deployment(image("v0", D3)), rollback_queued=True, staged=STAGED_V2),
        want(),
        (UNDEPLOY, ("bootc", "rollback")),
    ),
    "the queued rollback is what is wanted": (
        host(rollback=deployment(image("v0", D3)), rollback_queued=True),
        want(f"{NAME}:v0", D3),
        (),
    ),
    "a plain ostree host": (host(booted=deployment(None)), want(f"{NAME}:v2"), SWITCH_V2),
    "layered packages, to be discarded": (
        host(booted=deployment(None, local_changes=LAYERED)),
        want(f"{NAME}:v2", local_changes=LocalChangesPolicy.DISCARD),
        SWITCH_V2,
    ),
    "layered packages on a verified image, to be discarded: verification is kept": (
        host(booted=deployment(None, local_changes=LAYERED, below=image(signature=POLICY))),
        want(f"{NAME}:v2", local_changes=LocalChangesPolicy.DISCARD),
        (("bootc", "switch", "--enforce-container-sigpolicy", f"{NAME}:v2"),),
    ),
    "verification is kept": (
        host(booted=deployment(image(signature=POLICY))),
        want(f"{NAME}:v2"),
        (("bootc", "switch", "--enforce-container-sigpolicy", f"{NAME}:v2"),),
    ),
    "verification is given up, in so many words": (
        host(booted=deployment(image(signature=POLICY))),
        want(signature_policy=SignaturePolicy.UNVERIFIED),
        (("bootc", "switch", f"{NAME}:v1"),),
    ),
    "verification is asked for": (
        host(),
        want(signature_policy=SignaturePolicy.POLICY),
        (("bootc", "switch", "--enforce-container-sigpolicy", f"{NAME}:v1"),),
    ),
    "an update that bootc happens to know of": (host(booted=deployment(image(), cached_update=D2)), want(), ()),
    "local changes are staged over the wanted image, and given up": (
        host(staged=deployment(None, local_changes=LAYERED)),
        want(local_changes=LocalChangesPolicy.DISCARD),
        (UNDEPLOY,),
    ),
    "local changes are staged, and given up for another image": (
        host(staged=deployment(None, local_changes=LAYERED)),
        want(f"{NAME}:v2", local_changes=LocalChangesPolicy.DISCARD),
        SWITCH_V2,
    ),
    "a clean image is staged over local changes, which unblocks upgrades": (
        host(booted=deployment(None, local_changes=LAYERED), staged=STAGED_V2),
        want(f"{NAME}:v2", D3, local_changes=LocalChangesPolicy.DISCARD),
        (("bootc", "upgrade"),),
    ),
    "verified by an ostree remote, tag moved": (
        host(booted=deployment(image(signature=Signature(SignatureKind.OSTREE_REMOTE, "fedora")))),
        want(f"{NAME}:v1", D2),
        (("bootc", "upgrade"),),
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_plan(situation: str) -> None:
    state, desired, commands = SITUATIONS[situation]
    plan = plan_bootc_switch(state, desired)
    assert tuple(command.argv for command in plan.commands) == commands
    assert plan.changed == bool(commands)


REFUSALS = {
    "not image-mode": (HostState(tool=None), want(), "not image-mode"),
    "layered packages": (host(booted=deployment(None, local_changes=LAYERED)), want(), "layered packages htop"),
    "staged layered packages": (
        host(staged=deployment(None, local_changes=LAYERED)),
        want(f"{NAME}:v2"),
        "The staged deployment has layered packages htop",
    ),
    "staged layered packages over the wanted image": (
        host(staged=deployment(None, local_changes=LAYERED)),
        want(),
        "layered packages htop",
    ),
    "a digest that cannot be reached": (
        host(booted=deployment(image(f"{NAME}@{D1}", D1))),
        want(f"{NAME}@{D1}", D2),
        "Pulling again cannot change that",
    ),
    "an ostree remote cannot be expressed": (
        host(booted=deployment(image(signature=Signature(SignatureKind.OSTREE_REMOTE, "fedora")))),
        want(f"{NAME}:v2"),
        "ostree remote fedora",
    ),
    "an ostree remote asked for": (host(), want(signature_policy=SignaturePolicy.OSTREE_REMOTE), "ostree remote"),
    "a live system": (host(read_only=True), want(f"{NAME}:v2"), "read-only"),
    "composefs keeps no content twice": (
        host(booted=deployment(image(), composefs=True)),
        want(f"{NAME}:v2", D1),
        "follow registry.example.com/os:v2",
    ),
    "composefs cannot discard": (
        host(booted=deployment(image(), composefs=True), staged=replace(STAGED_V2, composefs=True)),
        want(),
        "composefs",
    ),
}


@pytest.mark.parametrize("situation", REFUSALS)
def test_refused(situation: str) -> None:
    state, desired, said = REFUSALS[situation]
    with pytest.raises(Refusal) as refusal:
        plan_bootc_switch(state, desired)
    assert said in str(refusal.value)


def test_warns_of_what_it_replaces() -> None:
    plan = plan_bootc_switch(host(staged=STAGED_V2), want(f"{NAME}:v3"))
    assert any(f"{NAME}:v2" in warning for warning in plan.warnings)


@pytest.mark.parametrize("kept", [POLICY, Signature(SignatureKind.OSTREE_REMOTE, "fedora")], ids=str)
def test_giving_up_verification_is_warned_of(kept: Signature) -> None:
    state = host(booted=deployment(image(signature=kept)))
    for text in (f"{NAME}:v1", f"{NAME}:v2"):
        loosened = plan_bootc_switch(state, want(text, signature_policy=SignaturePolicy.UNVERIFIED))
        assert any(
            f"verification is given up, as signature_policy: unverified asks: the host verified its image ({kept})" in w
            for w in loosened.warnings
        )
    strict = plan_bootc_switch(state, want(f"{NAME}:v2", signature_policy=SignaturePolicy.POLICY))
    assert strict.warnings == ()


def test_another_name_for_what_is_booted_says_what_it_costs() -> None:
    plan = plan_bootc_switch(host(), want(f"{NAME}:v2", D1))
    assert "no layers" in plan.summary
    assert "no layers" not in plan_bootc_switch(host(), want(f"{NAME}:v2", D2)).summary


def test_the_diff_shows_the_next_boot() -> None:
    plan = plan_bootc_switch(host(), want(f"{NAME}:v2"))
    assert f"image: {NAME}:v1" in plan.diff["before"]
    assert f"image: {NAME}:v2" in plan.diff["after"]


digests = st.sampled_from([D1, D2, D3])
tags = st.sampled_from(["v1", "v2"])
pins = st.sampled_from([f"{NAME}@{D1}", f"{NAME}@{D2}"])
signatures = st.sampled_from([UNVERIFIED, POLICY])


@st.composite
def images(draw: st.DrawFn) -> DeployedImage:
    if draw(st.booleans()):
        pin = draw(pins)
        return image(pin, pin.partition("@")[2], draw(signatures))
    return image(draw(tags), draw(digests), draw(signatures))


@st.composite
def deployments(draw: st.DrawFn) -> Deployment:
    if draw(st.integers(0, 5)) == 0:
        return deployment(None, local_changes=draw(st.sampled_from([LocalChanges(), LAYERED])))
    return deployment(draw(images()), serial=draw(st.integers(0, 1)))


@st.composite
def hosts(draw: st.DrawFn) -> HostState:
    staged = draw(st.none() | deployments())
    if staged is not None and not staged.local_changes:
        staged = replace(staged, download_only=draw(st.booleans()))
    rollback = draw(st.none() | deployments())
    queued = draw(st.booleans()) and rollback is not None
    return host(booted=draw(deployments()), staged=staged, rollback=rollback, rollback_queued=queued)


@st.composite
def wishes(draw: st.DrawFn) -> DesiredImage:
    return want(
        draw(pins | st.sampled_from([f"{NAME}:v1", f"{NAME}:v2"])),
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
        plan = plan_bootc_switch(state, desired)
    except Refusal:
        assume(False)
        raise
    reached = state
    for command in plan.commands:
        reached = bootc_model.run(reached, command.argv, registry)

    # The signature is decided by the state before: "unchanged" means what the host had then.
    assert desired.satisfied_by(reached.next, desired.signature_on(state))
    assert not plan_bootc_switch(reached, desired).changed
    rebooted = bootc_model.reboot(reached)
    assert not rebooted.reboot_required
    assert not plan_bootc_switch(rebooted, desired).changed

    assert plan.after.reboot_required == reached.reboot_required
    assert plan.after.next_slot == reached.next_slot
    assert plan.changed == (reached != state)
    if plan.after.next and plan.after.next.image and reached.next and reached.next.image:
        assert plan.after.next.image.reference == reached.next.image.reference
        assert plan.after.next.image.signature == reached.next.image.signature
        assert plan.after.next.digest in (None, reached.next.digest)
