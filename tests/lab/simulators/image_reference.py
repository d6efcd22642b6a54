# SPDX-License-Identifier: GPL-3.0-or-later
"""Image references as the tools read them: containers/image's grammar, and the strings that origin files hold."""

from __future__ import annotations

_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*(?::[0-9]+)?)"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_GRAMMAR = (
    rf"(?P<name>(?:{_HOST}/)?{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)

TRANSPORTS = ("registry", "oci", "oci-archive", "docker-archive", "containers-storage", "dir")


class InvalidReference(Exception):
    """The text is no image reference. ``str()`` is what containers/image says about it."""


class RegistryReference:
    """``host/path[:tag][@digest]`` taken apart. ``name`` is host and path, as error messages quote it; ``text`` is all."""

    def __init__(self, text: str) -> None:
        import re  # slow to import, and `bootc status` does without

        match = re.fullmatch(_GRAMMAR, text)
        if match is None:
            if re.fullmatch(_GRAMMAR, text.lower()) and not text.split("/", 1)[-1].islower():
                raise InvalidReference("repository name must be lowercase")
            raise InvalidReference("invalid reference format")
        name = match["name"]
        first, _separator, rest = name.partition("/")
        if not rest or not ("." in first or ":" in first or first == "localhost"):
            first, rest = "docker.io", name if "/" in name else f"library/{name}"
        self.host = first
        self.path = rest
        self.name = f"{first}/{rest}"
        self.tag: str | None = match["tag"]
        self.digest: str | None = match["digest"]
        tag, digest = self.tag or ("" if self.digest else "latest"), self.digest
        self.text = self.name + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")

    @property
    def wanted(self) -> str:
        """What to ask the registry for: the digest where there is one, else the tag, else ``latest``."""
        return self.digest or self.tag or "latest"


class ImageSpec:
    """What a deployment follows: image, transport and signature policy, as `bootc status` shows them."""

    def __init__(self, image: str, transport: str = "registry", signature: str | None = None) -> None:
        self.image = image
        self.transport = transport
        self.signature = signature  # None, "containerPolicy" or "ostreeRemote:NAME"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ImageSpec) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[str, str, str | None]:
        return (self.image, self.transport, self.signature)

    @property
    def stored_as(self) -> str:
        """The name under which a pulled image is kept, whatever its signature policy."""
        return f"docker://{self.image}" if self.transport == "registry" else f"{self.transport}:{self.image}"

    @property
    def shown(self) -> str:
        """How bootc names it when it speaks of what it pulled and queued (recorded, bootc 1.16.9)."""
        return self.image if self.signature is None and self.transport == "registry" else self.origin()

    @property
    def shown_by_check(self) -> str:
        """How `bootc upgrade --check` names it (recorded, bootc 1.16.9)."""
        return self.stored_as if self.signature is None else self.origin()

    def origin(self) -> str:
        """``container-image-reference`` of the origin file, as bootc writes it (bootc 1.16.9)."""
        if self.signature == "containerPolicy":
            return f"ostree-image-signed:{self.stored_as}"
        if self.signature is not None:
            return f"ostree-remote-image:{self.signature.split(':', 1)[1]}:{self.stored_as}"
        if self.transport == "registry":
            return f"ostree-unverified-registry:{self.image}"
        return f"ostree-unverified-image:{self.transport}:{self.image}"

    @classmethod
    def parse_origin(cls, text: str) -> ImageSpec | None:
        """The spec behind an origin's string, in any of its spellings; None when it is not a container reference."""
        scheme, _separator, rest = text.partition(":")
        if scheme == "ostree-unverified-registry":
            return cls(rest) if rest else None
        if scheme == "ostree-remote-registry":
            remote, _separator, image = rest.partition(":")
            return cls(image, signature=f"ostreeRemote:{remote}") if image else None
        signature: str | None = None
        if scheme == "ostree-remote-image":
            remote, _separator, rest = rest.partition(":")
            signature = f"ostreeRemote:{remote}"
        elif scheme == "ostree-image-signed":
            signature = "containerPolicy"
        elif scheme != "ostree-unverified-image":
            return None
        transport, _separator, image = rest.partition(":")
        if transport == "docker":
            transport, image = "registry", image[2:] if image.startswith("//") else ""
        return cls(image, transport, signature) if image and transport in TRANSPORTS else None
