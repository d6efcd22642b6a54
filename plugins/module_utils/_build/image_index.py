# SPDX-License-Identifier: GPL-3.0-or-later
"""image_index: put images of several platforms that a registry has under one tag. No layer comes here."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
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
from ansible_collections.imagemode.nodes.plugins.module_utils._build.signing import SIGN_SPEC, Signer
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_index import (
    INDEX_TYPE,
    ImageIndex,
    PlatformImage,
    SamePlatform,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference
from ansible_collections.imagemode.nodes.plugins.module_utils._core.input_key import (
    KEY_LABEL,
    LABEL_PREFIX,
    LONGEST_TAG,
)

INDEX_SPEC: dict[str, Any] = {
    **REGISTRY_SPEC,
    "image": {"type": "str", "required": True},
    "images": {"type": "list", "elements": "str", "required": True},
    "annotations": {"type": "dict", "default": {}},
    "sign": SIGN_SPEC,
}
_PLANNED_LAYOUT = Path("INDEX")


def assemble(params: Mapping[str, Any], check_mode: bool) -> Outcome:
    """The result of image_index."""
    return run_job(
        params, lambda documents: _assemble(params, check_mode, documents), "The tag still names what it named before."
    )


def _assemble(params: Mapping[str, Any], check_mode: bool, documents: RegistryDocuments) -> Outcome:
    target = _target(params["image"])
    index, elsewhere = _index(params, target, documents)
    signer = Signer.of(params["sign"], documents.access)
    registry = Registry(documents.access)
    before = registry.resolve_if_there(target)
    pinned = target.with_digest(index.digest)
    resolved = ResolvedImage.parse(index.content)
    there = before is not None and before.digest == index.digest
    signed = signer is None or (there and signer.is_signed(target, resolved))
    key_tag = target.with_tag(f"{target.tag}-{index.short_key}")
    if check_mode:
        documents.commands.extend(_planned(documents, target, key_tag, index, None if signed else signer, there))
    elif not (there and signed):
        _publish(documents, registry, index, elsewhere, target, key_tag, signer)
    changed = not (there and signed)
    return Outcome(
        {
            "changed": changed,
            "reference": str(target),
            "image": str(pinned),
            "digest": index.digest,
            "platforms": index.platforms,
            "expected_digests": list(resolved.expected_digests),
            "input_key": index.key,
            "commands": documents.commands,
            "diff": _diff(target, before, index),
            "msg": _summary(target, index, changed, check_mode),
        }
    )


def _target(text: str) -> ImageReference:
    target = registry_reference("image", text)
    if target.digest is not None:
        raise input_error(f"The option image names where to push to, so it cannot have a digest: {target}.")
    if len(target.tag or "") > LONGEST_TAG:
        raise input_error(f"The tag {target.tag} is too long: the second tag adds 13 characters to it.")
    return target


def _index(
    params: Mapping[str, Any], target: ImageReference, documents: RegistryDocuments
) -> tuple[ImageIndex, list[ImageReference]]:
    """The index to make, and those of its images that are in another repository. Raises BuildError."""
    annotations = {str(name): str(value) for name, value in params["annotations"].items()}
    reserved = sorted(name for name in annotations if name.startswith(LABEL_PREFIX))
    if reserved:
        raise input_error(f"The annotations {', '.join(reserved)} are this collection's own: choose other names.")
    if not params["images"]:
        raise input_error("The option images is empty: an index needs at least one image.")
    found: dict[str, PlatformImage] = {}
    elsewhere = []
    for text in params["images"]:
        reference = registry_reference("images", text)
        if reference.digest is None:
            raise input_error(
                f"The option images: {reference} has no digest. A tag can move between two runs; name what was built, as the result "
                "`image` of layered_image_build does."
            )
        found[reference.digest] = _platform_image(reference, documents)
        if reference.name != target.name:
            elsewhere.append(reference)
    try:
        return ImageIndex.over(list(found.values()), annotations), elsewhere
    except SamePlatform as error:
        raise input_error(f"The option images: {error}. An index has one image for each platform.") from error


def _platform_image(reference: ImageReference, documents: RegistryDocuments) -> PlatformImage:
    content = documents.manifest(reference)
    if content is None:
        raise input_error(
            f"The option images: {reference} is not in its registry. Was it pushed, and not removed since?"
        )
    try:
        image = ResolvedImage.parse(content)
    except UnknownManifest as error:
        raise input_error(f"The option images: {reference} cannot be used: {error}.") from error
    if image.is_index:
        raise input_error(
            f"The option images: {reference} is an index itself. Name the images in it, by the digests that image_digest_info "
            "returns as platforms."
        )
    configuration = Registry(documents.access).configuration(reference, image)
    if "/" not in configuration.platform:
        raise input_error(f"The option images: {reference} does not say for which platform it is.")
    return PlatformImage(
        image.digest, image.media_type, len(content), configuration.platform, configuration.labels.get(KEY_LABEL)
    )


def _planned(
    documents: RegistryDocuments,
    target: ImageReference,
    key_tag: ImageReference,
    index: ImageIndex,
    signer: Signer | None,
    there: bool,
) -> list[list[str]]:
    """The commands of `_publish` for a prediction."""
    copy = documents.copy_argv
    push = [] if there else [copy(_push_arguments(documents, _PLANNED_LAYOUT, key_tag))]
    sign = signer.planned(target, key_tag, index.digest) if signer else []
    return [*push, *sign, *([] if there else [copy(_tag_arguments(documents, key_tag, target))])]


def _publish(
    documents: RegistryDocuments,
    registry: Registry,
    index: ImageIndex,
    elsewhere: list[ImageReference],
    target: ImageReference,
    key_tag: ImageReference,
    signer: Signer | None,
) -> None:
    """Under the second tag first, signed there, and then under the tag: a crash between leaves a valid state."""
    both = [*documents.access.options("src-"), *documents.access.options("dest-")]
    for source in elsewhere:  # a registry takes an index only of what is in the same repository
        pinned = target.with_digest(source.digest or "")
        urls = [f"docker://{source.pull_text}", f"docker://{pinned.pull_text}"]
        documents.copy([*both, *urls], "copy", source, FailureCategory.PUSH)
    with tempfile.TemporaryDirectory(prefix="imagemode-index-") as name:
        layout = Path(name)
        _write_layout(layout, index)
        documents.copy(_push_arguments(documents, layout, key_tag), "push", key_tag, FailureCategory.PUSH)
    _prove(registry, key_tag, index)
    if signer is not None:
        documents.commands.extend(signer.sign(target, key_tag, ResolvedImage.parse(index.content)))
    documents.copy(_tag_arguments(documents, key_tag, target), "push", target, FailureCategory.PUSH)
    _prove(registry, target, index)


def _prove(registry: Registry, reference: ImageReference, index: ImageIndex) -> None:
    arrived = registry.resolve(reference, FailureCategory.PUSH)
    if arrived.digest != index.digest:
        raise BuildError(
            BuildFailure(
                FailureCategory.PUSH,
                f"{reference} was pushed as {index.digest}, but the registry now has {arrived.digest} there: somebody else pushed "
                "to this tag at the same time, or the registry rewrites manifests.",
                retryable=True,
            )
        )


def _write_layout(layout: Path, index: ImageIndex) -> None:
    """An image layout with nothing but the index: its images are in the registry already."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (blobs / index.digest.partition(":")[2]).write_bytes(index.content)
    entry = {"mediaType": INDEX_TYPE, "digest": index.digest, "size": len(index.content)}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))


def _push_arguments(documents: RegistryDocuments, layout: Path, key_tag: ImageReference) -> list[str]:
    options = documents.access.options("dest-")
    return ["--multi-arch=index-only", *options, f"oci:{layout}", f"docker://{key_tag.pull_text}"]


def _tag_arguments(documents: RegistryDocuments, key_tag: ImageReference, target: ImageReference) -> list[str]:
    options = [*documents.access.options("src-"), *documents.access.options("dest-")]
    return ["--multi-arch=index-only", *options, f"docker://{key_tag.pull_text}", f"docker://{target.pull_text}"]


def _diff(target: ImageReference, before: ResolvedImage | None, index: ImageIndex) -> dict[str, str]:
    """The platforms under the tag now, and those that it shall have."""
    platforms = (before.platforms or {"single image": before.digest}) if before else {}
    return {
        "before_header": str(target),
        "after_header": str(target),
        "before": _lines(platforms),
        "after": _lines(index.platforms),
    }


def _lines(platforms: Mapping[str, str]) -> str:
    return "".join(f"{name}: {digest}\n" for name, digest in sorted(platforms.items()))


def _summary(target: ImageReference, index: ImageIndex, changed: bool, check_mode: bool) -> str:
    what = f"{target} is {target.with_digest(index.digest)}, an index of {', '.join(index.platforms)}"
    if not changed:
        return f"{what} (unchanged)"
    return what.replace(" is ", " is yet to be ", 1) if check_mode else what
