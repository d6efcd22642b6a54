# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of images in a release payload: one image that names, by digest, all that belong to a release."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    ImageReference,
    InvalidReference,
)

IMAGE_REFERENCES_PATH = "/release-manifests/image-references"
MOST_MATCHES = 5


class NoSuchComponent(ValueError):
    """The release does not have the component; the message lists near matches."""


def parse_image_references(data: bytes) -> dict[str, str]:
    """From component name to its image, as the ImageStream in a release image's image-references has them.

    Its shape: `spec.tags[]`, each with `name` and `from: {kind: DockerImage, name: IMAGE}`. Raises ValueError.
    """
    document = json.loads(data.decode("utf-8", "replace"))
    kind = document.get("kind") if isinstance(document, dict) else None
    if kind != "ImageStream":
        raise ValueError(f"it is no ImageStream but {kind!r}")
    spec = document.get("spec")
    tags = spec.get("tags") if isinstance(spec, dict) else None
    if not isinstance(tags, list):
        raise ValueError("it has no list spec.tags")
    found: dict[str, str] = {}
    for tag in tags:
        name, image = _tag(tag)
        if image is not None:
            found[name] = image
    return found


def _tag(tag: Any) -> tuple[str, str | None]:
    """Name and image of a tag; no image where the tag points to something else, as tags of a stream may."""
    if not isinstance(tag, dict) or not isinstance(tag.get("name"), str):
        raise ValueError("an entry of spec.tags has no name")
    origin = tag.get("from")
    if not isinstance(origin, dict) or origin.get("kind") != "DockerImage":
        return tag["name"], None
    if not isinstance(origin.get("name"), str):
        raise ValueError(f"the image of {tag['name']} is no text")
    return tag["name"], origin["name"]


def component_image(images: Mapping[str, str], component: str) -> ImageReference:
    """The pinned image of a component. Raises NoSuchComponent, and InvalidReference where it is not pinned."""
    if component not in images:
        raise NoSuchComponent(f"there is no component {component!r} in it. {_near(images, component)}")
    reference = ImageReference.parse(images[component]).require_registry()
    if reference.digest is None:
        raise InvalidReference(f"its component {component} is {images[component]!r}, which is not pinned by digest")
    return reference.with_digest(reference.digest)


def _near(images: Mapping[str, str], component: str) -> str:
    names = sorted(images)
    containing = [name for name in names if component and (component in name or name in component)]
    close = difflib.get_close_matches(component, names, n=MOST_MATCHES, cutoff=0.5)
    matches = list(dict.fromkeys((*close, *containing)))[:MOST_MATCHES]
    if matches:
        return f"Near matches: {', '.join(matches)}."
    return f"It has {len(names)} components, such as {', '.join(names[:MOST_MATCHES])}." if names else "It has none."
