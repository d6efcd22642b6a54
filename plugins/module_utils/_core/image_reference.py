# SPDX-License-Identifier: GPL-3.0-or-later
"""Container image references: one parser, one canonical text for comparison, each tool's spelling at the edge."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum

DEFAULT_TAG = "latest"

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_PATH_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*\Z")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?\Z")


class InvalidReference(ValueError):
    """The text is not an image reference; the message says why and what a right one looks like."""


class Transport(str, Enum):
    """Where an image comes from, in the words of bootc's status (bootc crates/lib/src/spec.rs)."""

    REGISTRY = "registry"
    OCI = "oci"
    OCI_ARCHIVE = "oci-archive"
    DOCKER_ARCHIVE = "docker-archive"
    CONTAINERS_STORAGE = "containers-storage"
    DIR = "dir"
    DOCKER_DAEMON = "docker-daemon"


class SignatureKind(str, Enum):
    """What vouches for an image before it is deployed."""

    UNVERIFIED = "unverified"
    POLICY = "policy"
    OSTREE_REMOTE = "ostree_remote"


@dataclass(frozen=True)
class Signature:
    """The signature policy that a deployment carries in its origin; `remote` names the ostree remote, if any."""

    kind: SignatureKind = SignatureKind.UNVERIFIED
    remote: str | None = None

    def __str__(self) -> str:
        return f"{self.kind.value}:{self.remote}" if self.remote else self.kind.value


UNVERIFIED = Signature()
POLICY = Signature(SignatureKind.POLICY)


def is_digest(text: str) -> bool:
    """Whether the text is a `sha256:` digest with all of its 64 hexadecimal digits."""
    return bool(_DIGEST.match(text))


def require_digests(expected: Iterable[str]) -> None:
    """Raises InvalidReference for the first text that is no digest: an expectation that nothing can meet is a mistake."""
    for digest in sorted(expected):
        if not is_digest(digest):
            raise InvalidReference(
                f"expected_digests: {digest!r} is not a digest (sha256: and 64 lower-case hex digits)."
            )


def short_digest(digest: str | None) -> str:
    """A digest as people read it: `sha256:` and the first 12 digits; `unknown digest` for None."""
    if not digest:
        return "unknown digest"
    algorithm, colon, value = digest.partition(":")
    return f"{algorithm}{colon}{value[:12]}"


@dataclass(frozen=True)
class ImageReference:
    """A parsed reference. `name` is registry and repository; other transports keep their whole text in `name`.

    Two references are equal when they name the same thing, however they were typed: `text` does not take part.
    """

    name: str
    tag: str | None = None
    digest: str | None = None
    transport: Transport = Transport.REGISTRY
    text: str = field(default="", compare=False)

    @classmethod
    def parse(cls, text: str, transport: Transport = Transport.REGISTRY) -> ImageReference:
        """Parse `[docker://]registry/repository[:tag][@digest]`, or what another transport takes.

        A reference with neither tag nor digest means the tag `latest`, as every container tool reads it.
        Raises InvalidReference.
        """
        if transport is not Transport.REGISTRY:
            if not text.strip() or text != text.strip():
                raise InvalidReference(f"{text!r} is no {transport.value} image: it is empty or has blanks around it.")
            if text.startswith("-") or not text.isprintable():
                raise InvalidReference(
                    f"{text!r} is no {transport.value} image: a tool would take it for an option, or could not show it."
                )
            return cls(name=text, transport=transport, text=text)
        body = text[len("docker://") :] if text.startswith("docker://") else text
        rest, at, digest = body.partition("@")
        if at and not is_digest(digest):
            raise InvalidReference(
                f"{text!r} is not an image reference: {digest!r} is not a digest (sha256: and 64 lower-case hex digits)."
            )
        slash = rest.rfind("/")
        colon = rest.rfind(":")
        name, tag = (rest[:colon], rest[colon + 1 :]) if colon > slash else (rest, "")
        if colon > slash and not _TAG.match(tag):
            raise InvalidReference(f"{text!r} is not an image reference: {tag!r} is not a tag.")
        _check_name(text, name)
        if not tag and not at:
            tag = DEFAULT_TAG
        return cls(name=name, tag=tag or None, digest=digest or None, text=body)

    @property
    def registry(self) -> str | None:
        """Host and port, or None where the name does not start with one (a short name)."""
        first, slash, _rest = self.name.partition("/")
        is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
        return first if is_host and self.transport is Transport.REGISTRY else None

    @property
    def repository(self) -> str:
        """The name below the registry."""
        registry = self.registry
        return self.name if registry is None else self.name[len(registry) + 1 :]

    @property
    def canonical(self) -> str:
        """The text that equal references share: the tag is always spelled out, the transport only when it is unusual."""
        text = self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")
        return text if self.transport is Transport.REGISTRY else f"{self.transport.value}:{text}"

    @property
    def without_digest(self) -> str:
        """Name and tag only, for people: the digest is shown beside it."""
        return self.name + (f":{self.tag}" if self.tag else "")

    @property
    def pull_text(self) -> str:
        """What to hand to a tool as target: a reference with tag and digest loses its tag.

        rpm-ostree and `bootc upgrade --check` refuse references that have both (recorded with bootc 1.16.9 and
        rpm-ostree 2026.2), so nodes only ever see one of the two.
        """
        if self.transport is not Transport.REGISTRY:
            return self.name
        if self.digest:
            return f"{self.name}@{self.digest}"
        return f"{self.name}:{self.tag}"

    def with_digest(self, digest: str) -> ImageReference:
        """The same repository pinned to a digest, without the tag."""
        if not is_digest(digest):
            raise InvalidReference(f"{digest!r} is not a digest (sha256: and 64 lower-case hex digits).")
        return replace(self, tag=None, digest=digest, text=f"{self.name}@{digest}")

    def with_tag(self, tag: str) -> ImageReference:
        """The same repository under another tag, without digest."""
        if not _TAG.match(tag):
            raise InvalidReference(f"{tag!r} is not a tag.")
        return replace(self, tag=tag, digest=None, text=f"{self.name}:{tag}")

    def require_registry(self) -> ImageReference:
        """The reference itself; raises InvalidReference for a short name, which each node may resolve differently."""
        if self.transport is Transport.REGISTRY and self.registry is None:
            raise InvalidReference(
                f"{self.text or self.canonical!r} does not name its registry: each node could resolve it differently. "
                f"Write it in full, for example registry.example.com/{self.name}."
            )
        return self

    def __str__(self) -> str:
        return self.canonical


def _check_name(text: str, name: str) -> None:
    first, slash, _rest = name.partition("/")
    has_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    path = name[len(first) + 1 :] if has_host else name
    if has_host and not _HOST.match(first):
        raise InvalidReference(f"{text!r} is not an image reference: {first!r} is not a registry host.")
    for component in path.split("/"):
        if not _PATH_COMPONENT.match(component):
            why = (
                "is empty"
                if not component
                else f"has {component!r}, and only lower-case letters, digits and . _ - may be in it"
            )
            raise InvalidReference(
                f"{text!r} is not an image reference: its repository name {why}. "
                "Expected registry/repository:tag or registry/repository@sha256:…"
            )


@dataclass(frozen=True)
class SignedReference:
    """An image reference together with the signature policy its origin demands."""

    reference: ImageReference
    signature: Signature


def parse_ostree_reference(text: str) -> SignedReference:
    """Parse the spelling of rpm-ostree and of origin files, such as `ostree-unverified-registry:IMAGE`.

    The prefixes and what they mean to bootc: bootc crates/ostree-ext/src/container/mod.rs. Raises InvalidReference.
    """
    prefix, _colon, rest = text.partition(":")
    if prefix == "ostree-unverified-registry":
        return SignedReference(ImageReference.parse(rest), UNVERIFIED)
    if prefix == "ostree-unverified-image":
        return SignedReference(_parse_with_transport(text, rest), UNVERIFIED)
    if prefix == "ostree-image-signed":
        return SignedReference(_parse_with_transport(text, rest), POLICY)
    if prefix in ("ostree-remote-registry", "ostree-remote-image"):
        remote, _colon, image = rest.partition(":")
        signature = Signature(SignatureKind.OSTREE_REMOTE, remote)
        if prefix == "ostree-remote-registry":
            return SignedReference(ImageReference.parse(image), signature)
        return SignedReference(_parse_with_transport(text, image), signature)
    raise InvalidReference(f"{text!r} is not a container reference of ostree: unknown prefix {prefix!r}.")


def _parse_with_transport(text: str, rest: str) -> ImageReference:
    if rest.startswith("docker://"):
        return ImageReference.parse(rest)
    name, _colon, body = rest.partition(":")
    try:
        transport = Transport(name)
    except ValueError:
        raise InvalidReference(
            f"{text!r} is not a container reference of ostree: unknown transport {name!r}."
        ) from None
    return ImageReference.parse(body, transport)
