# SPDX-License-Identifier: GPL-3.0-or-later
"""From options to results: what image_digest_info does between its argument specification and its exit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_request import input_error
from ansible_collections.imagemode.nodes.plugins.module_utils._build.module_outcome import (
    Outcome,
    failed,
    hanging,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.options import (
    registry_access,
    registry_reference,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import DeadlinePassed, Interrupted
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import Registry
from ansible_collections.imagemode.nodes.plugins.module_utils._build.release_payload import component_of_release
from ansible_collections.imagemode.nodes.plugins.module_utils._build.resolved_image import ResolvedImage
from ansible_collections.imagemode.nodes.plugins.module_utils._build.signature_evidence import attachment_tag
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference

MOST_QUESTIONS_AT_ONCE = 8


def digest_info(params: Mapping[str, Any]) -> Outcome:
    """The result of image_digest_info."""
    try:
        registry = Registry(registry_access(params))
        reference, release = _asked_for(params, registry)
        image = registry.resolve(reference) if params["must_exist"] else registry.resolve_if_there(reference)
        if image is None:
            return Outcome(_missing_image(reference, release))
        configuration = registry.configuration(reference, image)
        found = image.platforms or {configuration.platform: image.digest}
        platforms = _wanted(reference, found, params["platforms"])
        layers = _layers(registry, reference, image, platforms) if params["with_layers"] else {}
        signatures = _signatures(registry, reference, dict.fromkeys((image.digest, *platforms.values())))
    except BuildError as error:
        return failed(error.failure, {})
    except Interrupted as error:
        return failed(
            BuildFailure(FailureCategory.ENGINE, f"The question was interrupted: {error}.", retryable=True), {}
        )
    except DeadlinePassed as error:
        return failed(hanging(error), {})
    manifests = platforms.values() if params["platforms"] else image.expected_digests
    return Outcome(
        {
            "changed": False,
            "exists": True,
            "reference": reference.canonical,
            "image": str(reference.with_digest(image.digest)),
            "digest": image.digest,
            "media_type": image.media_type,
            "platforms": platforms,
            "expected_digests": list(dict.fromkeys((image.digest, *manifests))),
            "labels": configuration.labels,
            "created": configuration.created,
            "layers": layers,
            "signatures": signatures,
            "release": release,
        }
    )


def _asked_for(params: Mapping[str, Any], registry: Registry) -> tuple[ImageReference, str | None]:
    """The image that is meant, and the digest of the release that names it, if one does. Raises BuildError."""
    if params["release"] is None:
        return registry_reference("image", params["image"]), None
    release = registry_reference("release", params["release"])
    cache = Path(params["work_dir"]).expanduser() / "listings"
    return component_of_release(release, params["release_component"], registry, cache)


def _signatures(registry: Registry, reference: ImageReference, digests: Iterable[str]) -> dict[str, str]:
    """For each digest with sigstore signatures attached, the digest of what carries them. Raises BuildError."""
    wanted = list(digests)
    with ThreadPoolExecutor(max_workers=MOST_QUESTIONS_AT_ONCE) as pool:
        found = pool.map(lambda one: registry.resolve_if_there(reference.with_tag(attachment_tag(one))), wanted)
        return {digest: attached.digest for digest, attached in zip(wanted, found) if attached is not None}


def _wanted(reference: ImageReference, platforms: dict[str, str], wanted: list[str]) -> dict[str, str]:
    """The platforms that were asked for, or all. Raises BuildError of category input where the image lacks one."""
    absent = [name for name in wanted if not _of(platforms, name)]
    if absent:
        raise input_error(f"{reference} has no image for {', '.join(absent)}, only for {', '.join(sorted(platforms))}.")
    return {name: digest for one in wanted for name, digest in _of(platforms, one).items()} if wanted else platforms


def _layers(
    registry: Registry, reference: ImageReference, image: ResolvedImage, platforms: Mapping[str, str]
) -> dict[str, list[dict[str, Any]]]:
    """The layers of each platform, lowest first. Raises BuildError."""
    found = {}
    for name, digest in platforms.items():
        manifest = registry.resolve(reference.with_digest(digest)) if image.is_index else image
        found[name] = [{"digest": layer.digest, "size": layer.size} for layer in manifest.layers]
    return found


def _of(platforms: Mapping[str, str], wanted: str) -> dict[str, str]:
    """The entries for a platform; `os/arch` also stands for its variants."""
    return {name: digest for name, digest in platforms.items() if name == wanted or name.startswith(wanted + "/")}


def _missing_image(reference: ImageReference, release: str | None) -> dict[str, Any]:
    return {
        "changed": False,
        "exists": False,
        "reference": reference.canonical,
        "image": None,
        "digest": None,
        "media_type": None,
        "platforms": {},
        "expected_digests": [],
        "labels": {},
        "created": None,
        "layers": {},
        "signatures": {},
        "release": release,
    }
