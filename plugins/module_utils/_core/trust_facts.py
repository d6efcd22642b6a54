# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on a node beside our own files and decides whether they count: other credentials, other policies."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference
from ansible_collections.imagemode.nodes.plugins.module_utils._core.registry_auth import AUTH_FILES, OUR_AUTH_FILE
from ansible_collections.imagemode.nodes.plugins.module_utils._core.signature_policy import (
    POLICY_FILE,
    Judgement,
    PolicyNotUnderstood,
    SignaturePolicyFile,
    Verdict,
)

FALLBACK_POLICY = "/usr/share/containers/policy.json"


@dataclass(frozen=True)
class TrustFacts:
    """`auth`: checksum by path of the auth files that exist; `policies`: text by path of the policies that exist.

    `pending`: what an earlier run changed without getting to make it count. `active`, `tools`: what the node has.
    """

    auth: dict[str, str] = field(default_factory=dict, repr=False)
    policies: dict[str, str] = field(default_factory=dict)
    pending: frozenset[str] = frozenset()
    active: frozenset[str] = frozenset()
    tools: frozenset[str] = frozenset()

    def after(self, auth: str | None, anonymous: bool, policy: str | None) -> TrustFacts:
        """As it will be when our files are written: what a check run predicts with."""
        auths, policies = dict(self.auth), dict(self.policies)
        if anonymous:
            auths.pop(OUR_AUTH_FILE, None)
        elif auth is not None:
            auths[OUR_AUTH_FILE] = hashlib.sha256(auth.encode()).hexdigest()
        if policy is not None:
            policies[POLICY_FILE] = policy
        return replace(self, auth=auths, policies=policies, pending=frozenset())

    @property
    def credentials(self) -> str | None:
        """The auth file that both tools read; None if there is none, and every pull is anonymous."""
        return next((path for path in AUTH_FILES if path in self.auth), None)

    @property
    def credentials_shadowed(self) -> bool:
        """Whether another file with other content is read in place of ours."""
        effective = self.credentials
        ours = self.auth.get(OUR_AUTH_FILE)
        return ours is not None and effective is not None and self.auth[effective] != ours

    @property
    def effective_policies(self) -> tuple[str, ...]:
        """Every policy that some way of pulling reads: that of root's home counts for bootc, that of /etc for rpm-ostree.

        (bootc 1.16.9 crates/ostree-ext/src/container/skopeo.rs; before 1.16.3, and in rpm-ostree, only /etc is read.)
        """
        system = POLICY_FILE if POLICY_FILE in self.policies else FALLBACK_POLICY
        own = [path for path in self.policies if path not in (POLICY_FILE, FALLBACK_POLICY)]
        return (*own, *([system] if system in self.policies else []))

    def judge(self, image: ImageReference) -> Judgement:
        """What becomes of an unsigned image of this name: the weakest of all policies that count."""
        if not self.effective_policies:
            return Judgement(Verdict.BROKEN, "there is no signature policy at all, and nothing can be pulled")
        judgements = []
        for path in self.effective_policies:
            try:
                found = SignaturePolicyFile.parse(self.policies[path]).judge(image)
            except PolicyNotUnderstood as error:
                found = Judgement(Verdict.BROKEN, f"{error}, and nothing can be pulled")
            judgements.append(Judgement(found.verdict, f"{path}: {found.reason}"))
        order = (Verdict.ACCEPTED, Verdict.BROKEN, Verdict.REJECTED, Verdict.SIGNED)
        return min(judgements, key=lambda judgement: order.index(judgement.verdict))

    def as_dict(self, image: ImageReference | None) -> dict[str, Any]:
        """The field `trust` of the module's result."""
        judgement = self.judge(image) if image else None
        return {
            "credentials": self.credentials,
            "credentials_shadowed": self.credentials_shadowed,
            "policies": list(self.effective_policies),
            "signed_only": judgement.signed_only if judgement else None,
            "reason": judgement.reason if judgement else None,
        }

    def warnings(self, *, anonymous: bool, policy_managed: bool) -> list[str]:
        """What makes our files count for nothing, or for less than they say."""
        found = []
        if self.credentials_shadowed:
            found.append(
                f"{self.credentials} exists and holds other credentials. Both tools read only the first file that exists, so "
                f"{OUR_AUTH_FILE} does not count. Remove {self.credentials}, or find out what writes it."
            )
        if anonymous and self.credentials:
            found.append(
                f"{self.credentials} still gives the node credentials: only {OUR_AUTH_FILE} was to be removed."
            )
        if policy_managed:
            found += [
                f"{path} takes the place of {POLICY_FILE} for whoever pulls as that user. Remove it unless it is wanted."
                for path in self.effective_policies
                if path not in (POLICY_FILE, FALLBACK_POLICY)
            ]
        return found
