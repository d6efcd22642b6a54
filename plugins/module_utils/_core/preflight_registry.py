# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a node may and can pull an image: the registry's answer to the node itself, its credentials, its policy."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    POLICY,
    ImageReference,
    Signature,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_facts import NodeFacts, RegistryAnswer
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_finding import (
    Check,
    Finding,
    error,
    note,
    warning,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.registry_auth import AUTH_FILES
from ansible_collections.imagemode.nodes.plugins.module_utils._core.signature_policy import POLICY_FILE, Verdict
from ansible_collections.imagemode.nodes.plugins.module_utils._core.tool_failure import explain
from ansible_collections.imagemode.nodes.plugins.module_utils._core.trust_facts import TrustFacts

_RUN_AUTH = AUTH_FILES[0]
_FATAL = re.compile(r'level=fatal msg="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
_PARSING = re.compile(r'^Error parsing image name "[^"]*": ')

_UNAUTHORIZED, _FORBIDDEN, _OK = 401, 403, 200


def judge_registry(
    image: ImageReference, answer: RegistryAnswer | None, facts: NodeFacts, pulls: bool
) -> Iterator[Finding]:
    """What the registry said to the node. Where nothing has to be pulled, a registry that says no is a warning."""
    failed = error if pulls else warning
    if answer is None:
        return
    place = image.registry or "the registry"
    if answer.by is None:
        yield note(
            Check.REGISTRY,
            f"whether {place} gives the image to the node cannot be known here: the node has neither skopeo nor curl",
        )
    elif answer.timed_out:
        yield failed(
            Check.REGISTRY,
            f"{place} did not answer the node in time. Neither bootc nor rpm-ostree has a deadline, and would hang until stage_timeout",
            "Look for a firewall, a missing route or a proxy (role node_trust sets one) between the node and the registry.",
        )
    elif answer.by == "skopeo":
        if not answer.ok:
            by = f"with {answer.authfile}" if answer.authfile else "anonymously, as there is no auth file"
            told = f"{place} does not give the image to the node ({by}): {explain(_reason(answer.message))}"
            yield failed(Check.REGISTRY, told)
    else:
        yield from _asked_without_credentials(place, answer, facts)


def _reason(stderr: str) -> str:
    """What skopeo says, out of its log line (seen with skopeo 1.9) and without the image's name, which we know."""
    found = _FATAL.findall(stderr)
    if not found:
        return stderr
    text = _ESCAPED.sub(lambda match: {"n": " ", "t": ""}.get(match[1], match[1]), found[-1])
    return "error: " + " ".join(_PARSING.sub("", text).split())


def _asked_without_credentials(place: str, answer: RegistryAnswer, facts: NodeFacts) -> Iterator[Finding]:
    """A program that knows neither credentials nor mirrors says whether the node gets there, and little more."""
    unknown = "without skopeo on the node it cannot be known here whether the node's credentials and mirrors do"
    if answer.status == _OK:
        return
    if answer.status in (_UNAUTHORIZED, _FORBIDDEN):
        has = "names" if _names(facts, place) else "names no credentials for"
        yield note(
            Check.REGISTRY, f"{place} answers the node and wants credentials; its auth file {has} it, and {unknown}"
        )
        return
    said = f"HTTP status {answer.status}" if answer.status else answer.message.strip() or "no answer"
    yield warning(Check.REGISTRY, f"{place} did not give the image to the node when asked directly ({said}); {unknown}")


def judge_credentials(image: ImageReference, trust: TrustFacts, facts: NodeFacts, wanted: bool) -> Iterator[Finding]:
    """Which auth file counts, and whether it is there after the reboot. `wanted`: the registry is known to ask for one."""
    for path in facts.dangling:
        yield warning(
            Check.CREDENTIALS,
            f"{path} is a link to nothing, and both tools take that for no file: pulls are anonymous unless a later file exists",
            f"Remove the link, or write what it leads to (role node_trust writes {AUTH_FILES[1]}).",
        )
    if trust.credentials_shadowed:
        yield warning(
            Check.CREDENTIALS,
            f"{trust.credentials} exists and holds other credentials than {AUTH_FILES[1]}; both tools read only the first file",
            f"Remove {trust.credentials}, or find out what writes it.",
        )
    elif trust.credentials == _RUN_AUTH:
        yield note(
            Check.CREDENTIALS,
            f"the credentials are in {_RUN_AUTH}, which is gone after the reboot unless something writes it at boot",
        )
    place = image.registry or ""
    if wanted and trust.credentials and not _names(facts, place):
        yield warning(
            Check.CREDENTIALS,
            f"{trust.credentials} is the only auth file that counts, and it names no credentials for {place}",
            "Add the registry to imagemode_registry_auth and run the trust playbook.",
        )


def _names(facts: NodeFacts, place: str) -> bool:
    """Whether the auth file that counts has something for a registry, or for a part of it."""
    path = next((path for path in AUTH_FILES if path in facts.auth_registries), None)
    return path is not None and any(name.split("/")[0] == place for name in facts.auth_registries[path])


def judge_policy(image: ImageReference, signature: Signature, trust: TrustFacts, facts: NodeFacts) -> Iterator[Finding]:
    """Whether the node's signature policy lets the image in, and whether the tools enforce it where that was asked for."""
    judgement = trust.judge(image)
    if judgement.verdict is Verdict.BROKEN:
        yield error(
            Check.SIGNATURE_POLICY, judgement.reason, f"Write {POLICY_FILE} anew: the role node_trust renders one."
        )
    elif judgement.verdict is Verdict.REJECTED:
        yield error(
            Check.SIGNATURE_POLICY,
            judgement.reason,
            "Add the image to imagemode_trusted_images and run the trust playbook, or name an image that the nodes trust.",
        )
    elif judgement.verdict is Verdict.ACCEPTED and signature == POLICY:
        yield error(
            Check.SIGNATURE_POLICY,
            f"signatures are to be enforced, but {judgement.reason}",
            f"Set the default of {POLICY_FILE} to reject (imagemode_trusted_images does that), or set signature_policy: unverified.",
        )
    elif judgement.verdict is Verdict.SIGNED:
        yield note(Check.SIGNATURE_POLICY, f"{judgement.reason}; that it is signed is proven when it is pulled")
    for path in facts.missing_keys if judgement.verdict is Verdict.SIGNED else ():
        yield error(
            Check.SIGNATURE_POLICY,
            f"the signature policy names the key {path}, which cannot be read",
            "Run the trust playbook, which writes policy and keys together.",
        )
