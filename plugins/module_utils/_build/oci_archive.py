# SPDX-License-Identifier: GPL-3.0-or-later
"""An oci-archive: a tar file with an image layout in it, and beside the image the signatures that were attached to it.

To every other reader it is an archive of one image: the signatures are not in `index.json` but in a file of our own with
the same form, and their blobs lie among the others.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import check_that_somebody_listens
from ansible_collections.imagemode.nodes.plugins.module_utils._build.resolved_image import (
    INDEX_TYPES,
    ResolvedImage,
    UnknownManifest,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.signature_evidence import attachment_tag

INDEX_FILE = "index.json"
LAYOUT_FILE = "oci-layout"
SIGNATURES_FILE = "imagemode-signatures.json"
NAME_ANNOTATION = "org.opencontainers.image.ref.name"
LARGEST_DOCUMENT = 32 * 1024 * 1024  # bytes; manifests are some kilobytes


class UnusableArchive(ValueError):
    """The file is not a whole oci-archive of one image. The message completes "The archive …"."""


@dataclass(frozen=True)
class OciArchive:
    """What an archive has. `signatures` maps the tag of each attachment to the digest of its manifest."""

    path: Path
    image: ResolvedImage
    signatures: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> OciArchive:
        """Read the table of contents and every manifest, and check that each blob is there with its size.

        Contents of layers are checked when they are copied. Raises UnusableArchive, and OSError.
        """
        try:
            with _opened(path) as archive:
                contents = _Contents.of(archive)
                image = contents.only_image()
                signatures = contents.signatures()
        except UnusableArchive:
            raise
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UnusableArchive(f"is damaged: a manifest in it lacks what belongs there ({error!r})") from error
        strange = set(signatures) - {attachment_tag(digest) for digest in (image.digest, *image.manifests)}
        if strange:
            raise UnusableArchive(f"has {sorted(strange)[0]!r} among its signatures, which is not one of this image")
        return cls(path, image, signatures)

    def extract_signatures(self, layout: Path) -> None:
        """Write the signatures alone as an image layout into an empty directory. Raises UnusableArchive, and OSError."""
        (layout / "blobs" / "sha256").mkdir(parents=True)
        with _opened(self.path) as archive:
            contents = _Contents.of(archive)
            index = contents.content(SIGNATURES_FILE)
            (layout / INDEX_FILE).write_bytes(index)
            (layout / LAYOUT_FILE).write_bytes(contents.content(LAYOUT_FILE))
            for digest in self.signatures.values():
                manifest = contents.blob(digest)
                document = json.loads(manifest)
                for blob in (digest, document["config"]["digest"], *(layer["digest"] for layer in document["layers"])):
                    (layout / _blob_name(blob)).write_bytes(contents.blob(blob))


def write(layout: Path, target: Path) -> None:
    """Turn a layout as skopeo wrote it into an archive; the layout's blobs are gone then.

    The same layout always gives the same bytes. Raises OSError, and Interrupted.
    """
    index = json.loads((layout / INDEX_FILE).read_bytes())
    images: list[dict[str, Any]] = []
    signatures: list[dict[str, Any]] = []
    for entry in index["manifests"]:
        is_signature = (entry.get("annotations") or {}).get(NAME_ANNOTATION, "").endswith(".sig")
        (signatures if is_signature else images).append(entry)
    (layout / INDEX_FILE).write_text(_document(images))
    if signatures:
        signatures.sort(key=lambda entry: str(entry["annotations"][NAME_ANNOTATION]))
        (layout / SIGNATURES_FILE).write_text(_document(signatures))
    with target.open("wb") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(found for found in layout.rglob("*") if found.is_file()):
                check_that_somebody_listens()
                member = tarfile.TarInfo(path.relative_to(layout).as_posix())
                member.size, member.mode = path.stat().st_size, 0o644
                with path.open("rb") as content:
                    archive.addfile(member, content)
                path.unlink()  # so that the disk holds one blob twice, not the whole image
        file.flush()
        os.fsync(file.fileno())


def _document(entries: list[dict[str, Any]]) -> str:
    return json.dumps({"schemaVersion": 2, "manifests": entries}, separators=(",", ":"))


def _blob_name(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _opened(path: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(path, mode="r:")
    except tarfile.TarError as error:
        raise UnusableArchive(f"is not a tar file, or not a whole one ({error})") from error


@dataclass(frozen=True)
class _Contents:
    archive: tarfile.TarFile
    members: Mapping[str, tarfile.TarInfo]

    @classmethod
    def of(cls, archive: tarfile.TarFile) -> _Contents:
        try:
            found = {_without_dot(member.name): member for member in archive if member.isfile()}
        except tarfile.TarError as error:
            raise UnusableArchive(f"ends too early ({error}): it was not copied as a whole") from error
        return cls(archive, found)

    def content(self, name: str) -> bytes:
        """The content of a small member. Raises UnusableArchive."""
        member = self.members.get(name)
        if member is None:
            raise UnusableArchive(f"lacks {name}: it was not copied as a whole")
        if member.size > LARGEST_DOCUMENT:
            raise UnusableArchive(f"has {member.size} bytes in {name}, where a short document should be")
        try:
            file: IO[bytes] | None = self.archive.extractfile(member)
            content = file.read() if file is not None else b""
        except tarfile.TarError as error:
            raise UnusableArchive(f"ends too early ({error}): it was not copied as a whole") from error
        if len(content) != member.size:
            raise UnusableArchive(f"ends within {name}: it was not copied as a whole")
        return content

    def document(self, name: str) -> dict[str, Any]:
        """The same as a JSON object. Raises UnusableArchive."""
        try:
            found = json.loads(self.content(name))
        except ValueError as error:
            raise UnusableArchive(f"is damaged: {name} is not JSON ({error})") from error
        if not isinstance(found, dict):
            raise UnusableArchive(f"is damaged: {name} is not a JSON object")
        return found

    def blob(self, digest: str) -> bytes:
        """A small blob, held against its digest. Raises UnusableArchive."""
        content = self.content(_blob_name(digest))
        if "sha256:" + hashlib.sha256(content).hexdigest() != digest:
            raise UnusableArchive(f"is damaged: the content of {digest} has another digest")
        return content

    def only_image(self) -> ResolvedImage:
        """The image that the archive is about. Raises UnusableArchive, and what a strange document causes."""
        if INDEX_FILE not in self.members:
            docker = "manifest.json" in self.members
            raise UnusableArchive(
                "is one of Docker's format (`docker save`), not an oci-archive: make it with `skopeo copy --all … oci-archive:FILE`"
                if docker
                else "has no index.json, so it is not an oci-archive, or not a whole one"
            )
        entries = self.document(INDEX_FILE).get("manifests") or []
        if len(entries) != 1:
            names = [str((entry.get("annotations") or {}).get(NAME_ANNOTATION)) for entry in entries]
            raise UnusableArchive(
                f"has {len(entries)} images ({', '.join(names)}), and only an archive of one can be loaded"
            )
        return self.image(str(entries[0]["digest"]))

    def signatures(self) -> dict[str, str]:
        """The tags of the attachments and the digests of their manifests. Raises as `only_image` does."""
        if SIGNATURES_FILE not in self.members:
            return {}
        entries = self.document(SIGNATURES_FILE).get("manifests") or []
        return {
            str(entry["annotations"][NAME_ANNOTATION]): self.image(str(entry["digest"])).digest for entry in entries
        }

    def image(self, digest: str) -> ResolvedImage:
        """The image or index of a digest, with everything that belongs to it there. Raises UnusableArchive."""
        content = self.blob(digest)
        try:
            image = ResolvedImage.parse(content)
        except UnknownManifest as error:
            raise UnusableArchive(f"is damaged: {digest}: {error}") from error
        document = json.loads(content)
        for manifest in document.get("manifests") or ():
            self.image(str(manifest["digest"]))
        if image.media_type not in INDEX_TYPES:
            for digest_of_blob, size in _needed(document):
                member = self.members.get(_blob_name(digest_of_blob))
                if member is None or member.size != size:
                    raise UnusableArchive(f"lacks {digest_of_blob}, or a part of it: it was not copied as a whole")
        return image


def _needed(manifest: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for descriptor in (manifest["config"], *manifest["layers"]):
        yield str(descriptor["digest"]), int(descriptor["size"])


def _without_dot(name: str) -> str:
    return name[2:] if name.startswith("./") else name
