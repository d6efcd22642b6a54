# SPDX-License-Identifier: GPL-3.0-or-later
"""How bootc gets a wanted image into next place: a pure function of the host's state.

Every rule about what `bootc switch` really does is here, with where it was seen. In short: it compares texts, not
content; it compares with what is *staged*; it always stages a new deployment, even of content that is already booted;
and it drops local changes and staged kernel arguments without a word.
"""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_image import (
    DesiredImage,
    LocalChangesPolicy,
    origin_base,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import (
    DeployedImage,
    Deployment,
    HostState,
    describe,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    POLICY,
    Signature,
    SignatureKind,
    Transport,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Command, Plan, Refusal

_UNDEPLOY = Command(("ostree", "admin", "undeploy", "0"), "discard the staged deployment")
_UNQUEUE = Command(("bootc", "rollback"), "take back the queued rollback")
_UNLOCK = Command(("bootc", "upgrade", "--from-downloaded"), "unlock the downloaded deployment for the next boot")


def plan_bootc_switch(state: HostState, desired: DesiredImage) -> Plan:
    """The plan that makes `desired` the next thing to boot. Raises Refusal where that must not be done."""
    if state.booted is None:
        raise Refusal(
            "This host is not image-mode: bootc knows of no booted deployment. bootc can only act on a host that was "
            "installed from an image or from ostree."
        )
    signature = desired.signature_on(state)
    if desired.satisfied_by(state.next, signature):
        return _nothing_to_do(state)
    if desired.satisfied_by(state.booted, signature):
        return _return_to_booted(state, state.booted, desired)
    if state.staged is not None and desired.satisfied_by(state.staged, signature):
        after = replace(state, staged=replace(state.staged, download_only=False))
        return Plan(state, after, (_UNLOCK,), f"unlocked the downloaded {state.staged.describe()} for the next boot")
    return _stage(state, state.booted, desired, signature)


def _nothing_to_do(state: HostState) -> Plan:
    where = "already staged, waiting for a reboot" if state.reboot_required else "already booted"
    return Plan(state, state, (), f"{where}: {describe(state.next)}")


def _return_to_booted(state: HostState, booted: Deployment, desired: DesiredImage) -> Plan:
    """The wanted image runs already, and something else would boot next.

    `bootc switch` back to it would stage yet another deployment and cost a reboot. Discarding the staged one needs
    `ostree admin undeploy`; `bootc rollback` takes a queued rollback back (recorded, bootc 1.16.9).
    """
    staged = state.staged
    commands = []
    after = state
    if staged is not None and not staged.download_only:
        if booted.composefs:
            raise Refusal(
                f"The wanted image is booted, but {staged.describe()} is staged, and a host of the composefs backend has no "
                "command to discard it. Reboot into it first, or run `bootc rollback` twice by hand."
            )
        _refuse_to_lose_local_changes(desired, staged, "staged")
        commands.append(_UNDEPLOY)
        after = replace(after, staged=None)
    if state.rollback_queued:
        commands.append(_UNQUEUE)
        after = replace(after, rollback_queued=False)
    return Plan(
        state, after, tuple(commands), f"stays on the booted {booted.describe()}: discarded what was to boot next"
    )


def _stage(state: HostState, booted: Deployment, desired: DesiredImage, signature: Signature) -> Plan:
    staged = state.staged
    if state.read_only:
        raise Refusal("/sysroot of this host is on a read-only device (a live system?): nothing can be staged here.")
    _refuse_to_lose_local_changes(desired, booted, "booted")
    warnings = []
    if staged is not None:
        _refuse_to_lose_local_changes(desired, staged, "staged")
        _refuse_to_lose_staged_arguments(desired, staged, booted)
        if not staged.download_only:
            warnings.append(f"replaced what was staged before: {staged.describe()}")
    if state.unlocked == "development":
        warnings.append("/usr is unlocked (usr-overlay): what was changed there is lost at the reboot")
    commands = _staging_commands(state, booted, desired, signature)
    known = desired.expected_digests if len(desired.expected_digests) == 1 else frozenset[str]()
    image = DeployedImage(desired.reference, signature, next(iter(known), None))
    after = replace(
        state,
        staged=Deployment(image, None, None, stateroot=booted.stateroot, composefs=booted.composefs),
        kargs_next=None,
    )
    return Plan(state, after, commands, f"staged {desired.describe()}", tuple(warnings))


def _refuse_to_lose_local_changes(desired: DesiredImage, deployment: Deployment, slot: str) -> None:
    """`bootc switch` writes a fresh origin and so drops them silently, with exit code 0 (recorded, bootc 1.16.9)."""
    if deployment.local_changes and desired.local_changes is LocalChangesPolicy.FAIL:
        raise Refusal(
            f"The {slot} deployment has {deployment.local_changes.describe()}, which a switch to {desired.reference.canonical} "
            "would drop. Put them into the image and set local_changes: discard, or remove them first with `rpm-ostree reset`."
        )


def _refuse_to_lose_staged_arguments(desired: DesiredImage, staged: Deployment, booted: Deployment) -> None:
    """A staged deployment of the booted image and commit carries changed kernel arguments; a switch starts from the booted ones.

    (Recorded with bootc 1.16.9: what `rpm-ostree kargs` staged is gone after `bootc switch`.)
    """
    same = staged.checksum and staged.checksum == booted.checksum and staged.image == booted.image
    if same and desired.local_changes is LocalChangesPolicy.FAIL:
        raise Refusal(
            "A deployment of the booted commit is staged: somebody changed kernel arguments, and a switch would lose them. "
            "Reboot the node first to put them into effect, or set local_changes: discard to drop them."
        )


def _staging_commands(
    state: HostState, booted: Deployment, desired: DesiredImage, signature: Signature
) -> tuple[Command, ...]:
    """`bootc upgrade` where the host follows the reference already: `bootc switch` would call that unchanged and do nothing.

    An upgrade that finds the *booted* content again says `No update available.` and leaves the wrong staged deployment in
    place (bootc 1.16.9 crates/lib/src/cli.rs), so there the staged one goes first.
    """
    base = origin_base(state)
    if base is None or base.reference != desired.reference or base.signature != signature:
        return (_switch(desired, signature),)
    if desired.reference.digest:
        raise Refusal(
            f"The host follows {desired.reference.canonical} already and reports the digest {base.digest}, which is none of "
            f"the expected digests {', '.join(sorted(desired.expected_digests))}. Pulling again cannot change that: correct "
            "expected_digests (image_digest_info returns them), or push the image under another digest."
        )
    if state.staged is not None and booted.digest in desired.expected_digests:
        if booted.composefs:
            raise Refusal(
                f"{state.staged.describe()} is staged, the wanted content is what is booted, and a host of the composefs "
                "backend has no command to discard a staged deployment. Run `bootc rollback` twice on it by hand."
            )
        return (_UNDEPLOY, _switch(desired, signature))
    return (Command(("bootc", "upgrade"), f"pull and stage what {desired.reference.canonical} means now", pulls=True),)


def _switch(desired: DesiredImage, signature: Signature) -> Command:
    if signature.kind is SignatureKind.OSTREE_REMOTE:
        raise Refusal(
            f"The host verifies images through the ostree remote {signature.remote or '(unnamed)'}, and no bootc since 1.1.5 can "
            "express that for a new reference. Say signature_policy: policy to verify by containers-policy.json instead, or "
            "signature_policy: unverified to give verification up."
        )
    argv = ["bootc", "switch"]
    if desired.reference.transport is not Transport.REGISTRY:
        argv += ["--transport", desired.reference.transport.value]
    if signature == POLICY:
        argv.append("--enforce-container-sigpolicy")
    argv.append(desired.reference.pull_text)
    return Command(tuple(argv), f"pull and stage {desired.reference.canonical}", pulls=True)
