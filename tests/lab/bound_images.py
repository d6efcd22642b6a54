# SPDX-License-Identifier: GPL-3.0-or-later
"""Logically bound images: what /usr/lib/bootc/bound-images.d of an image names, and whether it can be pulled."""

from __future__ import annotations

import os

from lab.pull_error import PullError
from lab.registry_access import Access, sources
from lab.registry_client import RegistryClient
from lab.simulators.host import Host
from lab.simulators.image_reference import InvalidReference, RegistryReference

DIRECTORY = "usr/lib/bootc/bound-images.d"
SECTIONS = {".image": "Image", ".container": "Container"}


class BoundImageError(Exception):
    """A bound image is named wrongly or cannot be had. ``podman`` is what podman wrote, empty when it was not asked."""

    def __init__(self, text: str, podman: str = "") -> None:
        super().__init__(text)
        self.podman = podman


def check(host: Host, tree: str) -> None:
    """Look for every bound image of a tree in its registry. Raises BoundImageError for the first that is missing."""
    for reference in references(tree):
        try:
            _look_for(host, reference)
        except (PullError, InvalidReference) as error:
            raise BoundImageError(
                "Pulling bound images: Subprocess failed: ExitStatus(unix_wait_status(32000))",
                podman=f"Error: initializing source docker://{reference}: {error}",
            ) from error


def references(tree: str) -> list[str]:
    """The Image= of each quadlet that the directory links to. Raises BoundImageError."""
    directory = os.path.join(tree, DIRECTORY)
    found = []
    for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else ():
        section = SECTIONS.get(os.path.splitext(name)[1])
        link = os.path.join(directory, name)
        if section is None or not os.path.islink(link):
            raise BoundImageError(f"Querying bound images: Invalid bound image {name}")
        target = os.readlink(link)
        place = os.path.join(tree, target.lstrip("/")) if target.startswith("/") else os.path.join(directory, target)
        try:
            with open(place, encoding="utf-8") as handle:
                settings = _section(handle.read(), section)
        except OSError as error:
            raise BoundImageError(f"Querying bound images: Loading {name}: {error.strerror}") from error
        image = settings.get("Image", "")
        if not image:
            raise BoundImageError(f"Querying bound images: Missing image value in {name}")
        if "%" in image:
            raise BoundImageError(
                f"Querying bound images: Systemd specifiers are not supported by bound images: {image}"
            )
        if "AuthFile" in settings:
            raise BoundImageError("Querying bound images: AuthFile is not supported by bound images")
        found.append(image)
    return found


def _section(text: str, wanted: str) -> dict[str, str]:
    settings: dict[str, str] = {}
    current = ""
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("["):
            current = line.strip("[]")
        elif current == wanted and "=" in line and not line.startswith(("#", ";")):
            key, _separator, value = line.partition("=")
            settings[key.strip()] = value.strip()
    return settings


def _look_for(host: Host, text: str) -> None:
    reference = RegistryReference(text)
    error: PullError | None = None
    for source in sources(host, reference):
        try:
            way = Access.of_node(host, source.reference, insecure=source.insecure, environment=os.environ)
            RegistryClient(source.reference, way).manifest(source.reference.wanted)
            return
        except PullError as found:
            error = found
    if error is not None:
        raise error
