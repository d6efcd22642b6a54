# SPDX-License-Identifier: GPL-3.0-or-later
"""What is particular about staging with bootc: it drops local changes without a word, and compares texts."""

from __future__ import annotations

from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_image import DesiredImage, origin_base
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Deployment, HostState
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    POLICY,
    Signature,
    SignatureKind,
    Transport,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Command, Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._core.staging_plan import (
    UNQUEUE_ANY,
    Desired,
    StagingTool,
    discard,
    refuse_to_drop,
)


class BootcTool(StagingTool):
    """Staging with `bootc switch`, or with `bootc upgrade` where a switch would do nothing."""

    name = "bootc"

    def unqueue(self, state: HostState) -> Command:
        """bootc refuses to toggle where the rollback is no clean image: `Rollback is not container image based` (recorded)."""
        target = state.rollback
        if target is None or target.composefs or (target.image is not None and not target.local_changes):
            return Command(("bootc", "rollback"), "take back the queued rollback")
        return UNQUEUE_ANY

    def refuse_losses(self, state: HostState, booted: Deployment, desired: Desired) -> None:
        """`bootc switch` writes a fresh origin, with exit code 0, whatever was layered (recorded, bootc 1.16.9)."""
        refuse_to_drop(desired, [("booted", booted), ("staged", state.staged)])

    def stage(
        self, state: HostState, booted: Deployment, desired: Desired, signature: Signature
    ) -> tuple[Command, ...]:
        """`bootc upgrade` where the host follows the reference already: `bootc switch` would call that unchanged.

        An upgrade that finds the *booted* content again says `No update available.` and leaves the wrong staged
        deployment in place (bootc 1.16.9 crates/lib/src/cli.rs), so there the staged one goes first.
        """
        if not isinstance(desired, DesiredImage):
            raise Refusal(f"bootc cannot follow an ostree branch such as {desired.describe()}; rpmostree_rebase can.")
        if booted.composefs and booted.digest in desired.expected_digests:
            raise Refusal(
                f"This host runs the wanted content already, as {booted.describe()}, and bootc's composefs backend keeps no content twice: "
                f"it cannot follow {desired.describe()} until that has other content. Ask for the reference that the host follows."
            )
        base = origin_base(state)
        follows = base.image if base else None
        if follows is None or follows.reference != desired.reference or follows.signature != signature:
            return (_switch(desired, signature),)
        refuse_unreachable(desired, follows.digest)
        if state.staged is not None and booted.digest in desired.expected_digests:
            return (discard(state.staged), _switch(desired, signature))
        purpose = f"pull and stage what {desired.reference.canonical} means now"
        return (Command(("bootc", "upgrade"), purpose, pulls=True),)


def refuse_unreachable(desired: DesiredImage, digest: str | None) -> None:
    """Raises Refusal for a digest that no pull can lead to: it would be tried for ever."""
    if desired.reference.digest:
        raise Refusal(
            f"The host follows {desired.reference.canonical} already and reports the digest {digest}, which is none of "
            f"the expected digests {', '.join(sorted(desired.expected_digests))}. Pulling again cannot change that: correct "
            "expected_digests (image_digest_info returns them), or push the image under another digest."
        )


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
