# SPDX-License-Identifier: GPL-3.0-or-later
"""image_retention: remove old second tags of an image from its registry, by policy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_request import input_error
from ansible_collections.imagemode.nodes.plugins.module_utils._build.module_outcome import Outcome
from ansible_collections.imagemode.nodes.plugins.module_utils._build.options import (
    REGISTRY_SPEC,
    registry_reference,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import Registry
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry_documents import RegistryDocuments
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry_job import run_job
from ansible_collections.imagemode.nodes.plugins.module_utils._build.resolved_image import (
    ResolvedImage,
    UnknownManifest,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.signature_evidence import attachment_tag
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
    RegistryTrouble,
    registry_trouble,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference, is_digest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.input_key import KEY_LABEL
from ansible_collections.imagemode.nodes.plugins.module_utils._core.retention import (
    Retention,
    RetentionPolicy,
    StoredImage,
    decide,
    second_tag_pattern,
)

RETENTION_SPEC: dict[str, Any] = {
    **REGISTRY_SPEC,
    "image": {"type": "str", "required": True},
    "keep": {"type": "int", "default": 3},
    "keep_days": {"type": "int"},
    "protected_digests": {"type": "list", "elements": "str", "required": True},
}


def retain(params: Mapping[str, Any], check_mode: bool) -> Outcome:
    """The result of image_retention."""
    return run_job(
        params,
        lambda documents: _retain(params, check_mode, documents),
        "What was removed by then is gone, everything else is whole.",
    )


def _retain(params: Mapping[str, Any], check_mode: bool, documents: RegistryDocuments) -> Outcome:
    reference = registry_reference("image", params["image"])
    if reference.digest is not None or reference.tag is None:
        raise input_error(
            f"The option image needs the tag whose second tags are looked at, and no digest: {reference}."
        )
    policy = _policy(params)
    tags = documents.tags(reference)
    images = _images(documents, reference, tags)
    retention = decide(reference.tag, images, policy, datetime.now(timezone.utc))
    signatures = _signatures(documents, reference, retention, tags)
    if not check_mode and retention.removed:
        _check_main_tag(documents, reference, images)
        _remove(documents, reference, retention, signatures)
    return Outcome(
        {
            "changed": bool(retention.removed),
            "reference": str(reference),
            "removed": [_as_result(reference, image) for image in retention.removed],
            "removed_manifests": list(retention.orphans),
            "removed_signatures": sorted(signatures),
            "kept": dict(retention.kept),
            "commands": documents.commands,
            "diff": _diff(reference, retention),
            "msg": _summary(reference, retention, check_mode),
        }
    )


def _policy(params: Mapping[str, Any]) -> RetentionPolicy:
    wrong = [text for text in params["protected_digests"] if not is_digest(text)]
    if wrong:
        raise input_error(
            f"The option protected_digests: {wrong[0]!r} is not a digest (sha256: and 64 hex digits). Nothing was removed, because what "
            "it stands for would not have been protected."
        )
    for name in ("keep", "keep_days"):
        if params[name] is not None and params[name] < 0:
            raise input_error(f"The option {name} cannot be less than 0.")
    return RetentionPolicy(params["keep"], params["keep_days"], frozenset(params["protected_digests"]))


def _images(documents: RegistryDocuments, reference: ImageReference, tags: Iterable[str]) -> list[StoredImage]:
    """Every image of the repository with its tags, signatures aside. Raises BuildError."""
    names: dict[str, list[str]] = {}
    resolved: dict[str, tuple[ResolvedImage, bytes]] = {}
    for tag in tags:
        if _is_signature(tag):
            continue
        content = documents.manifest(reference.with_tag(tag))
        if content is None:
            continue  # removed since the tags were listed
        image = _parsed(reference.with_tag(tag), content)
        names.setdefault(image.digest, []).append(tag)
        resolved[image.digest] = (image, content)
    pattern = second_tag_pattern(reference.tag or "")
    found = []
    for digest, (image, content) in resolved.items():
        children = _children(content)
        candidate = all(pattern.match(tag) for tag in names[digest])
        key, created = _made(documents, reference, image, content) if candidate else (None, None)
        found.append(StoredImage(digest, tuple(sorted(names[digest])), children, key, created))
    return found


def _is_signature(tag: str) -> bool:
    return tag.startswith("sha256-") and tag.endswith((".sig", ".att", ".sbom"))


def _parsed(reference: ImageReference, content: bytes) -> ResolvedImage:
    try:
        return ResolvedImage.parse(content)
    except UnknownManifest as error:
        raise BuildError(
            BuildFailure(
                FailureCategory.REGISTRY,
                f"{reference} cannot be understood ({error}), so it is not known what it needs. Nothing was removed.",
            )
        ) from error


def _children(content: bytes) -> tuple[str, ...]:
    """Every manifest that an index lists, attestations too."""
    return tuple(str(entry["digest"]) for entry in json.loads(content).get("manifests") or ())


def _made(
    documents: RegistryDocuments, reference: ImageReference, image: ResolvedImage, content: bytes
) -> tuple[str | None, str | None]:
    """The input key and the creation time of an image; an index has its key in an annotation.

    A candidate of which a part is gone already says neither, and is kept.
    """
    try:
        configuration = Registry(documents.access).configuration(reference.with_digest(image.digest), image)
    except BuildError as error:
        if registry_trouble("\n".join(error.failure.excerpt)) is RegistryTrouble.MISSING:
            return None, None
        raise
    if image.is_index:
        key = (json.loads(content).get("annotations") or {}).get(KEY_LABEL) or configuration.labels.get(KEY_LABEL)
        return key, configuration.created
    return configuration.labels.get(KEY_LABEL), configuration.created


def _signatures(
    documents: RegistryDocuments, reference: ImageReference, retention: Retention, tags: Iterable[str]
) -> dict[str, str]:
    """The tags of the signatures of what is removed, and the digests of their manifests."""
    going = {image.digest for image in retention.removed} | set(retention.orphans)
    wanted = {attachment_tag(digest) for digest in going}
    found = {}
    for tag in tags:
        if tag in wanted:
            content = documents.manifest(reference.with_tag(tag))
            if content is not None:
                found[tag] = _parsed(reference.with_tag(tag), content).digest
    return found


def _check_main_tag(documents: RegistryDocuments, reference: ImageReference, images: Iterable[StoredImage]) -> None:
    """Raise BuildError where the tag was moved while the repository was read: it may point to what is to go."""
    content = documents.manifest(reference)
    now = _parsed(reference, content).digest if content is not None else None
    seen = next((image.digest for image in images if reference.tag in image.tags), None)
    if now != seen:
        raise BuildError(
            BuildFailure(
                FailureCategory.REGISTRY,
                f"{reference} was moved from {seen} to {now} while old images were looked for. Nothing was removed. Run again when no "
                "build is running.",
                retryable=True,
            )
        )


def _remove(
    documents: RegistryDocuments, reference: ImageReference, retention: Retention, signatures: Mapping[str, str]
) -> None:
    """Signatures, then the image, then what only an index held: a run that is ended half-way finds the rest again."""
    left = dict(signatures)
    for image in retention.removed:
        _remove_signature(documents, reference, image.digest, left)
        documents.delete(reference.with_digest(image.digest))
    for digest in retention.orphans:
        _remove_signature(documents, reference, digest, left)
        documents.delete(reference.with_digest(digest))


def _remove_signature(
    documents: RegistryDocuments, reference: ImageReference, digest: str, signatures: Mapping[str, str]
) -> None:
    found = signatures.get(attachment_tag(digest))
    if found is not None:
        documents.delete(reference.with_digest(found))


def _as_result(reference: ImageReference, image: StoredImage) -> dict[str, Any]:
    return {
        "image": str(reference.with_digest(image.digest)),
        "digest": image.digest,
        "tags": list(image.tags),
        "created": image.created,
    }


def _diff(reference: ImageReference, retention: Retention) -> dict[str, str]:
    gone = [tag for image in retention.removed for tag in image.tags]
    return {
        "before_header": str(reference),
        "after_header": str(reference),
        "before": "".join(f"{tag}\n" for tag in sorted((*gone, *retention.kept))),
        "after": "".join(f"{tag}\n" for tag in sorted(retention.kept)),
    }


def _summary(reference: ImageReference, retention: Retention, check_mode: bool) -> str:
    verb = "would be removed" if check_mode else "removed"
    return f"{reference}: {len(retention.removed)} old images {verb}, {len(retention.kept)} second tags kept"
