# SPDX-License-Identifier: GPL-3.0-or-later
"""The image a node is wanted to boot, and when a deployment satisfies that."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import (
    DeployedImage,
    Deployment,
    HostState,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    POLICY,
    UNVERIFIED,
    ImageReference,
    InvalidReference,
    Signature,
    SignatureKind,
    parse_ostree_reference,
    require_digests,
    short_digest,
)


class SignaturePolicy(str, Enum):
    """What the user says about signatures. Loosening must be said, so the default keeps what the host has."""

    UNCHANGED = "unchanged"
    UNVERIFIED = "unverified"
    POLICY = "policy"
    OSTREE_REMOTE = "ostree_remote"


class LocalChangesPolicy(str, Enum):
    """What to do with layered packages, overrides and the like. Only rpm-ostree can keep them."""

    FAIL = "fail"
    KEEP = "keep"
    DISCARD = "discard"


class Placement(str, Enum):
    """Where the image shall be: in next place, or on the node's disk only, locked, so that no reboot boots it."""

    STAGED = "staged"
    DOWNLOADED = "downloaded"


@dataclass(frozen=True)
class DesiredImage:
    """`expected_digests` is empty where any content under the reference will do. `remote` is the ostree remote that
    `SignaturePolicy.OSTREE_REMOTE` verifies with.

    A reference never has both tag and digest here: see `ImageReference.pull_text`.
    """

    reference: ImageReference
    expected_digests: frozenset[str] = frozenset()
    signature_policy: SignaturePolicy = SignaturePolicy.UNCHANGED
    local_changes: LocalChangesPolicy = LocalChangesPolicy.FAIL
    placement: Placement = Placement.STAGED
    remote: str | None = None

    def __post_init__(self) -> None:
        if self.reference.tag and self.reference.digest:
            object.__setattr__(self, "reference", self.reference.with_digest(self.reference.digest))
        require_digests(self.expected_digests)

    def signature_on(self, state: HostState) -> Signature:
        """The signature policy the new deployment shall carry."""
        if self.signature_policy is SignaturePolicy.UNVERIFIED:
            return UNVERIFIED
        if self.signature_policy is SignaturePolicy.POLICY:
            return POLICY
        base = origin_base(state)
        followed = (base.image or base.below) if base else None
        kept = followed.signature if followed else None
        if self.signature_policy is SignaturePolicy.UNCHANGED:
            return kept or UNVERIFIED
        if self.remote is None and kept is not None and kept.kind is SignatureKind.OSTREE_REMOTE:
            return kept
        return Signature(SignatureKind.OSTREE_REMOTE, self.remote)

    def has_expected_digest(self, image: DeployedImage) -> bool:
        """Whether the image's content is proven, as far as it was asked for."""
        return not self.expected_digests or image.digest in self.expected_digests

    def names(self, image: DeployedImage) -> bool:
        """Whether the deployment follows the wanted reference.

        A reference pinned by digest is also met by a deployment of the same repository under a tag, if its content is
        the wanted one: moving from the tag to the digest would cost a reboot and change no file.
        """
        if image.reference == self.reference:
            return True
        pinned = self.reference.digest
        same_repository = (
            image.reference.transport is self.reference.transport and image.reference.name == self.reference.name
        )
        if not pinned or not same_repository:
            return False
        return image.reference.digest == pinned or image.digest in self.expected_digests | {pinned}

    def is_named_by(self, word: str) -> bool:
        """Whether a word of a tool's command line is this image, in the spelling of either tool."""
        try:
            named = (
                parse_ostree_reference(word).reference
                if word.startswith("ostree-")
                else ImageReference.parse(word, self.reference.transport)
            )
        except InvalidReference:
            return False
        return named == self.reference

    def satisfied_by(self, deployment: Deployment | None, signature: Signature) -> bool:
        """Whether booting this deployment is what was asked for."""
        return (
            deployment is not None
            and deployment.image is not None
            and (self.local_changes is LocalChangesPolicy.KEEP or not deployment.local_changes)
            and deployment.image.signature == signature
            and self.names(deployment.image)
            and self.has_expected_digest(deployment.image)
        )

    def predicted_image(self, signature: Signature) -> DeployedImage:
        """The image as far as it is known before it was pulled."""
        known = next(iter(self.expected_digests)) if len(self.expected_digests) == 1 else None
        return DeployedImage(self.reference, signature, known)

    @property
    def predicted_origin(self) -> str | None:
        """None: a deployment of an image follows no branch."""
        return None

    def describe(self) -> str:
        """The wanted image in a few words."""
        pinned = {self.reference.digest} if self.reference.digest else set()
        digests = sorted(self.expected_digests or pinned)
        shown = f" ({' or '.join(map(short_digest, digests))})" if digests else ""
        return f"{self.reference.without_digest}{shown}"


def origin_base(state: HostState) -> Deployment | None:
    """The deployment whose origin a tool compares a new target with and builds on: the staged one, else the booted one.

    (bootc 1.16.9 crates/lib/src/status.rs; recorded. rpm-ostree would build on a queued rollback, so that is taken back
    before it stages anything.)
    """
    return state.staged if state.staged is not None else state.booted
