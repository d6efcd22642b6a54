# SPDX-License-Identifier: GPL-3.0-or-later
"""What is particular about staging with rpm-ostree.

It refuses to rebase to the text it follows already, before it asks any registry; it carries local changes and staged
kernel arguments over; and it builds on whatever is first in the order of boots, be that a queued rollback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ansible_collections.imagemode.nodes.plugins.module_utils._core.bootc_plan import refuse_unreachable
from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_image import (
    DesiredImage,
    LocalChangesPolicy,
    Placement,
    origin_base,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_ref import DesiredRef
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import (
    NO_LOCAL_CHANGES,
    Deployment,
    HostState,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    POLICY,
    ImageReference,
    Signature,
    SignatureKind,
    Transport,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Command, Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._core.staging_plan import (
    UNQUEUE_ANY,
    Desired,
    StagingTool,
    refuse_to_drop,
    take_back,
)

_RESET = Command(("rpm-ostree", "reset"), "drop layered packages, overrides and the local initramfs")


@dataclass
class RpmOstreeTool(StagingTool):
    """Staging with `rpm-ostree rebase`, `upgrade`, `deploy` or `reset`, whichever costs least."""

    bypass_driver: bool = False

    name = "rpm-ostree"

    def unqueue(self, _state: HostState) -> Command:
        """A toggle that takes any deployment for a target."""
        return UNQUEUE_ANY

    def refuse_losses(self, state: HostState, booted: Deployment, desired: Desired) -> None:
        """A rebase loses nothing, so what is refused is to carry local changes along unasked."""
        base = origin_base(state) or booted
        refuse_to_drop(desired, [("staged" if base is state.staged else "booted", base)])
        if base.local_changes.cliwrap and desired.local_changes is LocalChangesPolicy.DISCARD:
            raise Refusal(
                "The host has cliwrap, which `rpm-ostree reset` does not remove. Run `rpm-ostree deploy --ex-cliwrap=false` on it "
                "first, or set local_changes: keep."
            )

    def stage(
        self, state: HostState, booted: Deployment, desired: Desired, signature: Signature
    ) -> tuple[Command, ...]:
        """The commands, from the cheapest way on. Without a staged deployment, a queued rollback is taken back first:
        rpm-ostree would take its origin, its arguments and its local changes for the host's.
        """
        commands = [take_back(self, state)] if state.rollback_queued and state.staged is None else []
        base = origin_base(state) or booted
        if base.local_changes and desired.local_changes is LocalChangesPolicy.DISCARD:
            commands.append(_RESET)
            base = replace(base, local_changes=NO_LOCAL_CHANGES)
            if desired.satisfied_by(base, signature):
                return tuple(commands)
        way = (
            self._to_ref(base, desired) if isinstance(desired, DesiredRef) else self._to_image(base, desired, signature)
        )
        return (*commands, self._with_flags(way, desired))

    @staticmethod
    def _to_image(base: Deployment, desired: DesiredImage, signature: Signature) -> Command:
        follows = base.image
        target = spell(desired.reference, signature)
        if follows is None or follows.reference != desired.reference or follows.signature != signature:
            return _pull(["rebase", target], f"pull and stage {desired.reference.canonical}")
        refuse_unreachable(desired, follows.digest)
        # Without the flag it refuses a tag that was moved back to an older image; bootc never does.
        purpose = f"pull and stage what {desired.reference.canonical} means now"
        return _pull(["upgrade", "--allow-downgrade"], purpose)

    @staticmethod
    def _to_ref(base: Deployment, desired: DesiredRef) -> Command:
        purpose = f"pull and stage {desired.describe()}"
        if base.image is None and base.origin == desired.ref and desired.revision:
            return _pull(["deploy", desired.revision], purpose)
        return _pull(["rebase", desired.ref, *([desired.revision] if desired.revision else [])], purpose)

    def _with_flags(self, command: Command, desired: Desired) -> Command:
        """Locked from the start where no reboot shall boot it: there is no moment in which one could."""
        program, verb, *rest = command.argv
        flags = ["--bypass-driver"] if self.bypass_driver else []
        flags += ["--lock-finalization"] if desired.placement is Placement.DOWNLOADED else []
        return replace(command, argv=(program, verb, *flags, *rest))


def _pull(words: Sequence[str], purpose: str) -> Command:
    return Command(("rpm-ostree", *words), purpose, pulls=True)


def spell(reference: ImageReference, signature: Signature) -> str:
    """The reference as bootc spells it in the origin too, so that both tools go on calling it the same.

    (bootc 1.16.9 crates/ostree-ext/src/container/mod.rs.) Raises Refusal for a remote without a name.
    """
    registry = reference.transport is Transport.REGISTRY
    image = f"docker://{reference.pull_text}" if registry else f"{reference.transport.value}:{reference.pull_text}"
    if signature == POLICY:
        return f"ostree-image-signed:{image}"
    if signature.kind is SignatureKind.OSTREE_REMOTE:
        if not signature.remote:
            raise Refusal("signature_policy: ostree_remote needs the name of the remote: set ostree_remote.")
        return f"ostree-remote-image:{signature.remote}:{image}"
    return f"ostree-unverified-registry:{reference.pull_text}" if registry else f"ostree-unverified-image:{image}"
