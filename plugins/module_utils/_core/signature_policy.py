# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images a host accepts: containers-policy.json(5), rendered, and read again to say what it really comes to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal

POLICY_FILE = "/etc/containers/policy.json"

_INSECURE = "insecureAcceptAnything"
_SIGNED = ("signedBy", "sigstoreSigned")


class Verdict(str, Enum):
    """What a policy does with an image that nobody signed."""

    SIGNED = "signed"
    REJECTED = "rejected"
    ACCEPTED = "accepted"
    BROKEN = "broken"


@dataclass(frozen=True)
class Judgement:
    """A verdict, and the words for it."""

    verdict: Verdict
    reason: str

    @property
    def signed_only(self) -> bool:
        """Whether signed images are accepted, and no other ones."""
        return self.verdict is Verdict.SIGNED


class PolicyNotUnderstood(ValueError):
    """The text is no signature policy; the message says why."""


@dataclass(frozen=True)
class SignaturePolicyFile:
    """A parsed policy: requirements by default, and by transport and scope."""

    default: tuple[Mapping[str, Any], ...]
    transports: Mapping[str, Mapping[str, tuple[Mapping[str, Any], ...]]]

    @classmethod
    def parse(cls, text: str) -> SignaturePolicyFile:
        """Raises PolicyNotUnderstood."""
        try:
            document = json.loads(text)
            default = _requirements(document["default"], "default")
            transports = {
                str(transport): {
                    str(scope): _requirements(requirements, f"{transport}:{scope}")
                    for scope, requirements in scopes.items()
                }
                for transport, scopes in (document.get("transports") or {}).items()
            }
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, PolicyNotUnderstood):
                raise
            raise PolicyNotUnderstood(f"it is no signature policy ({type(error).__name__})") from error
        return cls(default, transports)

    @property
    def default_is_permissive(self) -> bool:
        """Whether bootc and rpm-ostree refuse to enforce it: both look at nothing but the default (recorded, bootc 1.16.9)."""
        return any(requirement["type"] == _INSECURE for requirement in self.default)

    def judge(self, image: ImageReference) -> Judgement:
        """What this policy does with an unsigned image that is pulled from its registry under this name."""
        scopes = self.transports.get("docker", {})
        matching = next((scope for scope in scopes_of(image) if scope in scopes), None)
        requirements = self.default if matching is None else scopes[matching]
        rule = "its default" if matching is None else f"its rule for docker:{matching}"
        types = [str(requirement["type"]) for requirement in requirements]
        if "reject" in types:
            return Judgement(Verdict.REJECTED, f"{rule} rejects {image.name}, signed or not")
        if not any(kind in _SIGNED for kind in types):
            return Judgement(Verdict.ACCEPTED, f"{rule} accepts {image.name} without any signature")
        if self.default_is_permissive:
            return Judgement(
                Verdict.ACCEPTED,
                f"its default accepts anything, and so both tools refuse to enforce it, though {rule} wants a signature",
            )
        return Judgement(Verdict.SIGNED, f"{rule} accepts {image.name} only with a signature")


@dataclass(frozen=True)
class TrustedScope:
    """Images that have to be signed. `keys`: paths on the node. `lookaside`: where GPG signatures are, if not in the registry."""

    scope: str
    keys: tuple[str, ...]
    sigstore: bool
    identity: str = "matchRepository"
    lookaside: str | None = None

    def requirement(self) -> dict[str, Any]:
        """The rule in the policy. Several keys need containers-image 5.30 or newer on the node: any of them may have signed."""
        rule: dict[str, Any] = (
            {"type": "sigstoreSigned"} if self.sigstore else {"type": "signedBy", "keyType": "GPGKeys"}
        )
        keys = {"keyPath": self.keys[0]} if len(self.keys) == 1 else {"keyPaths": list(self.keys)}
        return {**rule, **keys, "signedIdentity": {"type": self.identity}}


def render_policy(trusted: Sequence[TrustedScope], also: Sequence[str]) -> str:
    """A policy that rejects everything but these. `also`: `TRANSPORT:SCOPE` accepted without signatures. Raises Refusal."""
    transports: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for scope in trusted:
        _put(transports, "docker", scope.scope, scope.requirement(), "imagemode_trusted_images")
    for text in also:
        transport, scope_text = split_scope(text)
        if transport == "docker" and not scope_text:
            raise Refusal(
                f"imagemode_trust_also: {text!r} accepts every image of every registry, and any of them could be booted then. "
                "Name the registries or repositories that the nodes need besides their own image."
            )
        _put(transports, transport, scope_text, {"type": _INSECURE}, "imagemode_trust_also")
    document = {"default": [{"type": "reject"}], "transports": transports}
    return json.dumps(document, indent=4, sort_keys=True) + "\n"


def render_registries_d(trusted: Sequence[TrustedScope], places: Mapping[str, Sequence[str]]) -> str:
    """Where signatures are, containers-registries.d(5). `places`: the mirrors of each scope, which are asked instead of it."""
    entries: dict[str, dict[str, Any]] = {}
    for scope in trusted:
        settings = {"use-sigstore-attachments": True} if scope.sigstore else {"lookaside": scope.lookaside}
        if not scope.sigstore and not scope.lookaside:
            continue
        for place in (scope.scope, *places.get(scope.scope, ())):
            entries.setdefault(place, {}).update(settings)
    lines = ["# Managed by imagemode.nodes", "docker:" if entries else "docker: {}"]
    for place, settings in sorted(entries.items()):
        lines.append(f"  {json.dumps(place)}:")
        lines += [f"    {key}: {json.dumps(value)}" for key, value in sorted(settings.items())]
    return "\n".join(lines) + "\n"


def split_scope(text: str) -> tuple[str, str]:
    """`containers-storage:` or `docker:quay.io/example` or `quay.io/example` as transport and scope. Raises Refusal."""
    transport, colon, scope = text.partition(":")
    if colon and transport in _TRANSPORTS:
        return transport, scope.removeprefix("//")
    if not text or not text.isprintable() or "//" in text or " " in text:
        raise Refusal(
            f"imagemode_trust_also: {text!r} is no scope. Write a registry or repository, such as registry.example.com/tools, "
            f"or one of {', '.join(sorted(_TRANSPORTS))} and a colon."
        )
    return "docker", text


def scopes_of(image: ImageReference) -> Iterator[str]:
    """The scopes that apply to an image of a registry, the most specific first, as containers-policy.json(5) orders them."""
    if image.tag:
        yield f"{image.name}:{image.tag}"
    if image.digest:
        yield f"{image.name}@{image.digest}"
    parts = image.name.split("/")
    for length in range(len(parts), 0, -1):
        yield "/".join(parts[:length])
    labels = parts[0].split(":")[0].split(".")
    for start in range(1, len(labels)):
        yield f"*.{'.'.join(labels[start:])}"
    yield ""


_TRANSPORTS = frozenset(
    {"docker", "containers-storage", "docker-daemon", "docker-archive", "oci", "oci-archive", "dir", "tarball", "sif"}
)


def _put(
    transports: dict[str, dict[str, list[dict[str, Any]]]],
    transport: str,
    scope: str,
    requirement: dict[str, Any],
    where: str,
) -> None:
    scopes = transports.setdefault(transport, {})
    if scope in scopes:
        raise Refusal(f"{where}: {transport}:{scope} is there twice, and a scope can have one rule.")
    scopes[scope] = [requirement]


def _requirements(value: object, where: str) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(value, list) or not value:
        raise PolicyNotUnderstood(f"{where} is no list of requirements")
    for requirement in value:
        if not isinstance(requirement, Mapping) or not isinstance(requirement.get("type"), str):
            raise PolicyNotUnderstood(f"{where} has a requirement without a type")
        if requirement["type"] not in (*_SIGNED, _INSECURE, "reject", "signedBaseLayer"):
            raise PolicyNotUnderstood(f"{where} has a requirement of the unknown type {requirement['type']!r}")
    return tuple(value)
