# SPDX-License-Identifier: GPL-3.0-or-later
"""image_archive: an image from a registry into a file that can be carried, and from the file into another registry."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._build import oci_archive
from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_request import input_error
from ansible_collections.imagemode.nodes.plugins.module_utils._build.module_outcome import Outcome
from ansible_collections.imagemode.nodes.plugins.module_utils._build.oci_archive import OciArchive, UnusableArchive
from ansible_collections.imagemode.nodes.plugins.module_utils._build.options import (
    REGISTRY_SPEC,
    registry_reference,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import Registry
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry_documents import (
    OTHER_DIGEST,
    RegistryDocuments,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry_job import run_job
from ansible_collections.imagemode.nodes.plugins.module_utils._build.resolved_image import ResolvedImage
from ansible_collections.imagemode.nodes.plugins.module_utils._build.signature_evidence import (
    attached_in_layout,
    attachment_tag,
    signatures_in,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.signing import signed_digests
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference

ARCHIVE_SPEC: dict[str, Any] = {
    **REGISTRY_SPEC,
    "state": {"type": "str", "choices": ["saved", "loaded"], "required": True},
    "image": {"type": "str", "required": True},
    "archive": {"type": "path", "required": True},
    "signatures": {"type": "bool", "default": True},
    "tmp_dir": {"type": "path"},
}
_PLANNED_LAYOUT = Path("LAYOUT")


def save_or_load(params: Mapping[str, Any], check_mode: bool) -> Outcome:
    """The result of image_archive."""
    if params["state"] == "saved":
        return run_job(
            params, lambda documents: _save(params, check_mode, documents), "The archive is still what it was before."
        )
    return run_job(
        params, lambda documents: _load(params, check_mode, documents), "The tag still names what it named before."
    )


def _archive_path(params: Mapping[str, Any]) -> Path:
    path = Path(os.path.abspath(params["archive"]))
    if ":" in str(path):
        raise input_error(f"The archive {path} has a colon in its path, where the container tools expect a tag.")
    if path.is_dir():
        raise input_error(f"The archive {path} is a directory; name the file in it.")
    return path


# saved


def _save(params: Mapping[str, Any], check_mode: bool, documents: RegistryDocuments) -> Outcome:
    path = _archive_path(params)
    if not path.parent.is_dir():
        raise input_error(f"The directory {path.parent} for the archive does not exist on this host.")
    reference = registry_reference("image", params["image"])
    registry = Registry(documents.access)
    image = registry.resolve(reference)
    signatures = _attachments(documents, reference, image) if params["signatures"] else {}
    before = _present(path)
    changed = before is None or before.image.digest != image.digest or dict(before.signatures) != signatures
    if changed and check_mode:
        for arguments in _save_arguments(documents, reference, image, signatures, _PLANNED_LAYOUT):
            documents.commands.append(documents.copy_argv(arguments))
    elif changed:
        with _scratch(path) as scratch:
            layout = scratch / "layout"
            for arguments in _save_arguments(documents, reference, image, signatures, layout):
                documents.copy(arguments, "save", reference, FailureCategory.REGISTRY)
            oci_archive.write(layout, scratch / "archive")
            written = _usable(scratch / "archive")
            if written.image.digest != image.digest:
                raise BuildError(
                    BuildFailure(
                        FailureCategory.ENGINE,
                        f"{reference} is {image.digest}, but was saved as {written.image.digest}. The archive was not replaced.",
                    )
                )
            os.replace(scratch / "archive", path)
    result = _result(documents, reference, image, path, signatures, changed)
    verb = "unchanged" if not changed else "yet to be saved" if check_mode else "saved"
    return Outcome(
        {
            **result,
            "diff": _diff(str(path), before.image if before else None, image),
            "msg": f"{path}: {reference.with_digest(image.digest)}, {_with(signatures)} ({verb})",
        }
    )


def _attachments(documents: RegistryDocuments, reference: ImageReference, image: ResolvedImage) -> dict[str, str]:
    """The tags of the sigstore signatures that the image has, and the digests of their manifests."""
    found = {}
    for digest in signed_digests(image):
        tag = attachment_tag(digest)
        content = documents.manifest(reference.with_tag(tag))
        if content is not None:
            found[tag] = ResolvedImage.parse(content).digest
    return found


def _save_arguments(
    documents: RegistryDocuments,
    reference: ImageReference,
    image: ResolvedImage,
    signatures: Mapping[str, str],
    layout: Path,
) -> Iterator[list[str]]:
    options = ["--all", *documents.access.options("src-")]
    yield [*options, f"docker://{reference.with_digest(image.digest).pull_text}", f"oci:{layout}"]
    for tag, digest in signatures.items():
        yield [*options, f"docker://{reference.with_digest(digest).pull_text}", f"oci:{layout}:{tag}"]


@contextmanager
def _scratch(archive: Path) -> Iterator[Path]:
    """A directory beside the archive, on the same file system, that goes away; left-overs of a killed run go first."""
    directory = archive.parent / f".{archive.name}.imagemode-new"
    directory.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise input_error(
                f"Another run is writing {archive} right now. Wait for it, or name another file."
            ) from None
        for left in directory.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    finally:
        os.close(descriptor)


def _present(path: Path) -> OciArchive | None:
    """What the archive has so far; None for none, and for one that has to be written anew."""
    try:
        return OciArchive.read(path)
    except (FileNotFoundError, UnusableArchive):
        return None


def _usable(path: Path) -> OciArchive:
    try:
        return OciArchive.read(path)
    except FileNotFoundError:
        raise input_error(f"The archive {path} does not exist on this host.") from None
    except UnusableArchive as error:
        raise input_error(
            f"The archive {path} {error}. Compare its checksum with that of the file it was copied from."
        ) from error


# loaded


def _load(params: Mapping[str, Any], check_mode: bool, documents: RegistryDocuments) -> Outcome:
    archive = _usable(_archive_path(params))
    reference = registry_reference("image", params["image"])
    if reference.digest is not None:
        raise input_error(f"The option image names the tag to load into, so it cannot have a digest: {reference}.")
    registry = Registry(documents.access)
    before = registry.resolve_if_there(reference)
    there = before is not None and before.digest == archive.image.digest
    wanted = archive.signatures if params["signatures"] else {}
    with tempfile.TemporaryDirectory(prefix="imagemode-archive-", dir=params["tmp_dir"]) as name:
        layout = Path(name) / "signatures"
        warnings: list[str] = []
        sending: list[str] = []
        if wanted:
            archive.extract_signatures(layout)
            sending, warnings = _signatures_to_send(documents, reference, archive, layout)
        changed = not there or bool(sending)
        copies = [*_signature_arguments(documents, reference, layout, sending)]
        if not there:
            copies.append(_load_arguments(documents, reference, archive))
        for arguments in copies:
            if check_mode:
                documents.commands.append(documents.copy_argv(arguments, params["tmp_dir"]))
            else:
                _copy_in(documents, arguments, reference, archive, params["tmp_dir"])
    if not check_mode and not there:
        _prove(registry, reference, archive)
    result = _result(documents, reference, archive.image, archive.path, wanted, changed)
    verb = "unchanged" if not changed else "yet to be loaded" if check_mode else "loaded"
    return Outcome(
        {
            **result,
            "diff": _diff(str(reference), before, archive.image),
            "msg": f"{reference}: {reference.with_digest(archive.image.digest)}, {_with(wanted)} ({verb})",
        },
        warnings=tuple(warnings),
    )


def _signatures_to_send(
    documents: RegistryDocuments, reference: ImageReference, archive: OciArchive, layout: Path
) -> tuple[list[str], list[str]]:
    """The tags of signatures that the registry lacks, and what to warn of. Signatures made there are not replaced."""
    sending, warnings = [], []
    spoken_of: set[str] = set()
    for tag, digest in archive.signatures.items():
        spoken_of.update(found.reference for found in attached_in_layout(layout, digest) if found.reference)
        carried = signatures_in((layout / "blobs" / digest.replace(":", "/")).read_bytes())
        content = documents.manifest(reference.with_tag(tag))
        present = signatures_in(content) if content is not None else set()
        if present < carried:
            sending.append(tag)
        elif not present >= carried:
            warnings.append(
                f"{reference.with_tag(tag)} has signatures that the archive does not have, and was left alone. "
                "Sign the image there again if nodes need a signature from the archive."
            )
    if spoken_of and str(reference) not in spoken_of:
        warnings.append(
            f"The signatures are about {', '.join(sorted(spoken_of))}, not about {reference}: nodes accept them if they know the image "
            "by that name (a mirror), or if their policy has remapIdentity or exactRepository in signedIdentity."
        )
    return sending, warnings


def _signature_arguments(
    documents: RegistryDocuments, reference: ImageReference, layout: Path, tags: list[str]
) -> Iterator[list[str]]:
    """The signatures go first: a node that pulls the image the moment it is there finds them."""
    for tag in tags:
        yield [
            *documents.access.options("dest-"),
            f"oci:{layout}:{tag}",
            f"docker://{reference.with_tag(tag).pull_text}",
        ]


def _load_arguments(documents: RegistryDocuments, reference: ImageReference, archive: OciArchive) -> list[str]:
    return [
        *("--all", *documents.access.options("dest-")),
        f"oci-archive:{archive.path}",
        f"docker://{reference.pull_text}",
    ]


def _copy_in(
    documents: RegistryDocuments,
    arguments: list[str],
    reference: ImageReference,
    archive: OciArchive,
    tmp_dir: str | None,
) -> None:
    try:
        documents.copy(arguments, "load", reference, FailureCategory.PUSH, tmp_dir)
    except BuildError as error:
        if OTHER_DIGEST in error.failure.message:
            raise BuildError(
                BuildFailure(
                    FailureCategory.INPUT,
                    f"The archive {archive.path} is damaged: the content of a layer has another digest. Nothing was put under "
                    f"{reference}. Copy the file again, and compare checksums.",
                    excerpt=error.failure.excerpt,
                )
            ) from error
        if error.failure.category is FailureCategory.DISK:
            raise BuildError(
                BuildFailure(
                    FailureCategory.DISK,
                    f"{error.failure.message} Loading unpacks the archive, into /var/tmp unless tmp_dir says otherwise: it takes as "
                    "much room again as the archive has.",
                    excerpt=error.failure.excerpt,
                )
            ) from error
        raise


def _prove(registry: Registry, reference: ImageReference, archive: OciArchive) -> None:
    arrived = registry.resolve(reference, FailureCategory.PUSH)
    if arrived.digest != archive.image.digest:
        raise BuildError(
            BuildFailure(
                FailureCategory.PUSH,
                f"{archive.path} has {archive.image.digest}, but the registry now has {arrived.digest} as {reference}: somebody else "
                "pushed to this tag at the same time, or the registry rewrites manifests.",
                retryable=True,
            )
        )


# both


def _with(signatures: Mapping[str, str]) -> str:
    return f"with the signatures of {len(signatures)} manifests" if signatures else "without signatures"


def _result(
    documents: RegistryDocuments,
    reference: ImageReference,
    image: ResolvedImage,
    path: Path,
    signatures: Mapping[str, str],
    changed: bool,
) -> dict[str, Any]:
    return {
        "changed": changed,
        "reference": str(reference),
        "image": str(reference.with_digest(image.digest)),
        "digest": image.digest,
        "platforms": image.platforms,
        "expected_digests": list(image.expected_digests),
        "archive": str(path),
        "size": path.stat().st_size if path.exists() else None,
        "signatures": sorted(signatures),
        "commands": documents.commands,
    }


def _diff(header: str, before: ResolvedImage | None, after: ResolvedImage) -> dict[str, str]:
    return {
        "before_header": header,
        "after_header": header,
        "before": f"{before.digest}\n" if before else "",
        "after": f"{after.digest}\n",
    }
