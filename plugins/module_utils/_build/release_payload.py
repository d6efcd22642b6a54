# SPDX-License-Identifier: GPL-3.0-or-later
"""A release payload: the image that names, by digest, every image of a release. Which one is a component?"""

from __future__ import annotations

from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._build.image_layers import downloaded_image
from ansible_collections.imagemode.nodes.plugins.module_utils._build.listing_cache import ListingCache
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import Registry
from ansible_collections.imagemode.nodes.plugins.module_utils._build.resolved_image import (
    ResolvedImage,
    native_platform,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    ImageReference,
    InvalidReference,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_references import (
    IMAGE_REFERENCES_PATH,
    NoSuchComponent,
    component_image,
    parse_image_references,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.layer_tree import resolve_path

_CACHE_KIND = "release"


def component_of_release(
    release: ImageReference, component: str, registry: Registry, cache_dir: Path, platform: str | None = None
) -> tuple[ImageReference, str]:
    """The pinned image of a component of a release, and the digest of the release. Raises BuildError.

    The release is resolved every time, so a tag that moved is noticed; its list is downloaded once for each digest. An
    index of payloads is read for `platform`, by default this machine's.
    """
    found = registry.resolve(release, FailureCategory.BASE_PULL)
    manifest = _manifest(release, found, platform or native_platform())
    images = _images(release.with_digest(manifest), registry, cache_dir)
    try:
        return component_image(images, component), found.digest
    except (NoSuchComponent, InvalidReference) as error:
        raise _input_error(f"The release {release}: {error}") from error


def _manifest(release: ImageReference, image: ResolvedImage, platform: str) -> str:
    if not image.is_index:
        return image.digest
    for name, digest in image.platforms.items():
        if name == platform or name.startswith(f"{platform}/"):
            return digest
    raise _input_error(
        f"The release {release} has no payload for {platform}, only for {', '.join(sorted(image.platforms)) or 'none'}."
    )


def _images(pinned: ImageReference, registry: Registry, cache_dir: Path) -> dict[str, str]:
    """From component to image, from the cache where it is there."""
    cache = ListingCache(cache_dir / "listings")
    digest = str(pinned.digest)
    known = cache.load(_CACHE_KIND, digest)
    if isinstance(known, dict):
        return {str(name): str(image) for name, image in known.items()}
    with downloaded_image(registry, pinned, cache_dir) as image:
        merged = image.tree()
        path = resolve_path(merged.tree, IMAGE_REFERENCES_PATH)
        contents = image.read(merged, [path]) if path is not None else {}
    if path is None or path not in contents:
        raise _input_error(f"{pinned} is not a release payload: it has no file {IMAGE_REFERENCES_PATH}.")
    try:
        images = parse_image_references(contents[path])
    except (ValueError, RecursionError) as error:
        raise _input_error(f"The release {pinned} has a damaged {IMAGE_REFERENCES_PATH}: {error}.") from error
    cache.store(images, _CACHE_KIND, digest)
    return images


def _input_error(message: str) -> BuildError:
    return BuildError(BuildFailure(FailureCategory.INPUT, message))
