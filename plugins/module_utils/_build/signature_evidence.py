# SPDX-License-Identifier: GPL-3.0-or-later
"""Which signatures an image has already: attached to it in its registry, or as files in a lookaside directory."""

from __future__ import annotations

import base64
import binascii
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import capture
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import ANSWER_SECONDS, RegistryAccess
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    FailureCategory,
    RegistryTrouble,
    registry_failure,
    registry_trouble,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.ecdsa_p256 import PublicKey
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference

_SIGNATURE = "dev.cosignproject.cosign/signature"


def attachment_tag(digest: str) -> str:
    """The tag under which the sigstore signatures of a manifest lie."""
    return digest.replace(":", "-") + ".sig"


@dataclass(frozen=True)
class AttachedSignature:
    """A signed document and the signature over it."""

    payload: bytes
    signature: bytes

    @property
    def reference(self) -> str | None:
        """The reference that the document is about, None where it is not such a document."""
        try:
            return str(json.loads(self.payload)["critical"]["identity"]["docker-reference"])
        except (ValueError, KeyError, TypeError):
            return None

    def is_about(self, image: ImageReference, digest: str) -> bool:
        """Whether the document says that this manifest is `image`."""
        try:
            critical = json.loads(self.payload)["critical"]
            said = (critical["identity"]["docker-reference"], critical["image"]["docker-manifest-digest"])
        except (ValueError, KeyError, TypeError):
            return False
        return said == (str(image), digest)


@dataclass(frozen=True)
class AttachedSignatures:
    """The sigstore signatures beside images in a registry, as cosign and skopeo attach them."""

    access: RegistryAccess
    skopeo: str

    def include(self, image: ImageReference, digest: str, public: PublicKey | None) -> bool:
        """Whether one says that the manifest is `image`, and is by the key if one is given. Raises BuildError."""
        return any(
            found.is_about(image, digest) and (public is None or public.verifies(found.payload, found.signature))
            for found in self.of(image, digest)
        )

    def of(self, image: ImageReference, digest: str) -> list[AttachedSignature]:
        """All of a manifest, none if there are none. Raises BuildError where the registry cannot be asked."""
        place = image.with_tag(attachment_tag(digest))
        with tempfile.TemporaryDirectory(prefix="imagemode-signatures-") as directory:
            options = self.access.options("src-")
            argv = [self.skopeo, "--insecure-policy", "copy", *options, f"docker://{place}", f"dir:{directory}/found"]
            done = capture(argv, ANSWER_SECONDS)
            if done.exit_code == 0:
                found = Path(directory) / "found"
                return list(_attached(found / "manifest.json", found))
        said = done.errors or done.output
        if registry_trouble(said) is RegistryTrouble.MISSING:
            return []
        raise BuildError(
            registry_failure(
                FailureCategory.SIGN,
                "read the signatures of",
                str(image.with_digest(digest)),
                said,
                self.access.authfile,
            )
        )


def attached_in_layout(layout: Path, digest: str) -> list[AttachedSignature]:
    """The signatures of an attachment in an image layout."""
    blobs = layout / "blobs" / "sha256"
    return list(_attached(blobs / digest.partition(":")[2], blobs))


def signatures_in(manifest: bytes) -> set[tuple[str, str]]:
    """What an attachment has, to compare: the digest of each signed document, and the signature over it.

    Two keys sign the very same document with cosign, which leaves the time out.
    """
    layers = json.loads(manifest).get("layers") or ()
    return {(str(layer["digest"]), str((layer.get("annotations") or {}).get(_SIGNATURE))) for layer in layers}


def _attached(manifest: Path, blobs: Path) -> Iterator[AttachedSignature]:
    document: dict[str, Any] = json.loads(manifest.read_bytes())
    for layer in document.get("layers") or ():
        text = (layer.get("annotations") or {}).get(_SIGNATURE)
        payload = blobs / str(layer.get("digest")).partition(":")[2]
        if not text or not payload.is_file():
            continue
        try:
            yield AttachedSignature(payload.read_bytes(), base64.b64decode(text, validate=True))
        except binascii.Error:
            continue


@dataclass(frozen=True)
class LookasideSignatures:
    """GPG signatures in a directory, laid out as a lookaside server offers them. `command` calls skopeo with the keyring."""

    staging: Path
    access: RegistryAccess
    skopeo: str
    command: Sequence[str]

    def include(self, image: ImageReference, digest: str, fingerprint: str) -> bool:
        """Whether one says that the manifest is `image`, and is by the key. Raises BuildError."""
        directory = self.staging / f"{image.repository}@{digest.replace(':', '=')}"
        files = sorted(directory.glob("signature-*")) if directory.is_dir() else []
        if not files:
            return False
        pinned = image.with_digest(digest)
        asked = capture(
            [self.skopeo, "inspect", "--raw", *self.access.options(), f"docker://{pinned.pull_text}"], ANSWER_SECONDS
        )
        if asked.exit_code != 0:
            raise BuildError(
                registry_failure(FailureCategory.SIGN, "read", str(pinned), asked.errors, self.access.authfile)
            )
        with tempfile.TemporaryDirectory(prefix="imagemode-signatures-") as scratch:
            manifest = Path(scratch) / "manifest.json"
            manifest.write_bytes(asked.raw)
            return any(self._verifies(manifest, image, fingerprint, file) for file in files)

    def _verifies(self, manifest: Path, image: ImageReference, fingerprint: str, signature: Path) -> bool:
        argv = [*self.command, "standalone-verify", str(manifest), str(image), fingerprint, str(signature)]
        return capture(argv, ANSWER_SECONDS).exit_code == 0
