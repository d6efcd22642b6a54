# SPDX-License-Identifier: GPL-3.0-or-later
"""The components of a build: pinned all at once, and compared before anything is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import Registry
from ansible_collections.imagemode.nodes.plugins.module_utils._build.resolved_image import ResolvedImage
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import FailureCategory
from ansible_collections.imagemode.nodes.plugins.module_utils._core.component import (
    VERSION_LABEL,
    Component,
    ComponentOption,
    component_error,
    parse_components,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference

MOST_QUESTIONS_AT_ONCE = 8


def resolve_components(
    options: Sequence[Mapping[str, Any]], registry: Registry, platform: str
) -> tuple[Component, ...]:
    """Pin every component for a platform such as `linux/amd64`. Raises BuildError.

    One question to the registry for each, and two more where the version is that of the image's label. No layer is read.
    """
    wanted = parse_components(options)
    if not wanted:
        return ()
    with ThreadPoolExecutor(max_workers=min(len(wanted), MOST_QUESTIONS_AT_ONCE)) as pool:
        return tuple(pool.map(lambda one: _resolve(one, registry, platform), wanted))


def _resolve(wanted: ComponentOption, registry: Registry, platform: str) -> Component:
    found = registry.resolve(wanted.image, FailureCategory.BASE_PULL)
    manifest = _manifest_of_platform(wanted, found, platform)
    version = wanted.version or _version(wanted, registry, found, manifest)
    return Component(wanted, found.digest, manifest, version)


def _manifest_of_platform(wanted: ComponentOption, image: ResolvedImage, platform: str) -> str:
    """The manifest's digest; of several variants of an architecture the first. Raises BuildError of category input."""
    if not image.is_index:
        return image.digest
    for name, digest in image.platforms.items():
        if name == platform or name.startswith(platform + "/"):
            return digest
    raise component_error(
        wanted.name,
        f"{wanted.image} has no image for {platform}, only for {', '.join(sorted(image.platforms)) or 'none at all'}.",
    )


def _version(wanted: ComponentOption, registry: Registry, image: ResolvedImage, manifest: str) -> str:
    reference: ImageReference = wanted.image.with_digest(manifest)
    single = registry.resolve(reference) if image.is_index else image
    labelled = registry.configuration(reference, single).labels.get(VERSION_LABEL)
    return labelled or wanted.image.tag or image.digest.partition(":")[2][:12]
