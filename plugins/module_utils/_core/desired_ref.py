# SPDX-License-Identifier: GPL-3.0-or-later
"""The ostree branch a node is wanted to follow, and when a deployment does. Only rpm-ostree can get there."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_image import LocalChangesPolicy, Placement
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Deployment, HostState
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    UNVERIFIED,
    InvalidReference,
    Signature,
)

_REF = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*:)?[A-Za-z0-9_][A-Za-z0-9_.+/-]*\Z")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+~-]*\Z")


@dataclass(frozen=True)
class DesiredRef:
    """`ref` is `REMOTE:BRANCH` or a local `BRANCH`; `revision` a commit or a version on it, None for whatever is newest."""

    ref: str
    revision: str | None = None
    local_changes: LocalChangesPolicy = LocalChangesPolicy.FAIL
    placement: Placement = Placement.STAGED

    def __post_init__(self) -> None:
        if not _REF.match(self.ref):
            raise InvalidReference(
                f"ref: {self.ref!r} is not an ostree branch. Expected REMOTE:BRANCH, for example fedora:fedora/x86_64/coreos/stable."
            )
        if self.revision is not None and not _REVISION.match(self.revision):
            raise InvalidReference(f"revision: {self.revision!r} is neither a commit nor a version.")

    def signature_on(self, _state: HostState) -> Signature:
        """Branches are verified by the keys of their remote, whatever is asked for."""
        return UNVERIFIED

    def is_named_by(self, word: str) -> bool:
        """Whether a word of a tool's command line is this branch, or the wanted revision."""
        return word in (self.ref, self.revision)

    def satisfied_by(self, deployment: Deployment | None, _signature: Signature) -> bool:
        """Whether booting this deployment is what was asked for."""
        return (
            deployment is not None
            and deployment.image is None
            and deployment.origin == self.ref
            and self.has_revision(deployment)
            and (self.local_changes is LocalChangesPolicy.KEEP or not deployment.local_changes)
        )

    def has_revision(self, deployment: Deployment) -> bool:
        """Whether the deployment is of the wanted commit or version. Layered packages make a commit of their own."""
        return self.revision in (None, deployment.base_checksum or deployment.checksum, deployment.version)

    def predicted_image(self, _signature: Signature) -> None:
        """A branch has no image."""
        return

    @property
    def predicted_origin(self) -> str | None:
        """What the new deployment will follow."""
        return self.ref

    def describe(self) -> str:
        """The wanted branch in a few words."""
        return f"{self.ref} ({self.revision})" if self.revision else self.ref
