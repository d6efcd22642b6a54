# SPDX-License-Identifier: GPL-3.0-or-later
"""A component: an image whose content becomes part of another one, as a tree to copy or as RPMs to install."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_step import BuildStep
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    ImageReference,
    InvalidReference,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.input_key import LABEL_PREFIX, text_hash

COMPONENT_LABEL_PREFIX = f"{LABEL_PREFIX}component."
VERSION_LABEL = "org.opencontainers.image.version"
DEFAULT_TREE = "/usr"
DEFAULT_DEST = "/usr"
DESTINATIONS = ("/usr", "/etc")

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*\Z")
# What an instruction takes as it is: no blank, no quote, no `$` of a variable, none of the wildcards of COPY.
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._+@:=~/-]*\Z")
_KEYS = frozenset({"name", "image", "rpms", "tree", "dest", "version"})

# Why nothing below these directories is the image's: what a host does with each.
_HOST_DIRECTORIES = {
    "/var": "a host keeps its own /var over all updates, and takes the image's only when it is installed",
    "/run": "a host mounts an empty /run at every boot",
    "/tmp": "a host mounts or empties /tmp at boot",  # noqa: S108 # not used as a file
    "/home": "homes belong to the host; /home is a link into /var",
    "/root": "the home of root belongs to the host; /root is a link into /var",
    "/srv": "/srv is a link into /var, which the host keeps over all updates",
    "/mnt": "/mnt is a link into /var, which the host keeps over all updates",
    "/media": "/media is a link into /run, which is empty at every boot",
    "/boot": "the host's boot loader owns /boot; kernels belong to /usr/lib/modules",
    "/sysroot": "the deployments of the host are mounted there",
    "/ostree": "the deployments of the host are kept there",
    "/dev": "the kernel mounts /dev at every boot",
    "/proc": "the kernel mounts /proc at every boot",
    "/sys": "the kernel mounts /sys at every boot",
}


class ComponentKind(str, Enum):
    """What of the image is taken."""

    TREE = "tree"
    RPMS = "rpms"


@dataclass(frozen=True)
class ComponentOption:
    """A component as the user names it. `source` is the directory in its image; `dest` is None for RPMs."""

    name: str
    kind: ComponentKind
    image: ImageReference
    source: str
    dest: str | None = None
    version: str | None = None


@dataclass(frozen=True)
class Component:
    """A component pinned. `digest` is what its reference stands for.

    `platforms` has platform and manifest digest of each image of an index, and is empty for a single image.
    """

    option: ComponentOption
    digest: str
    version: str
    platforms: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """Its name, unique among the components of an image."""
        return self.option.name

    @property
    def kind(self) -> ComponentKind:
        """Whether it is a tree or RPMs."""
        return self.option.kind

    @property
    def pinned(self) -> ImageReference:
        """Its image by digest."""
        return self.option.image.with_digest(self.digest)

    def pinned_for(self, platform: str) -> ImageReference:
        """The one image for a platform by digest; of several variants the first. Raises BuildError of category input."""
        if not self.platforms:
            return self.pinned
        for name, digest in self.platforms:
            if name == platform or name.startswith(f"{platform}/"):
                return self.option.image.with_digest(digest)
        names = ", ".join(name for name, _digest in self.platforms)
        raise component_error(self.name, f"{self.option.image} has no image for {platform}, only for {names}.")


def component_error(name: str, message: str, category: FailureCategory = FailureCategory.INPUT) -> BuildError:
    """A failure that begins with the component's name."""
    return BuildError(BuildFailure(category, f"Component {name}: {message}"))


def why_no_image_can_carry(path: str) -> str | None:
    """The reason for which a path cannot be part of an image's content; None where it can."""
    for directory, reason in _HOST_DIRECTORIES.items():
        if path == directory or path.startswith(directory + "/"):
            return reason
    return None


def parse_components(options: Sequence[Mapping[str, Any]]) -> tuple[ComponentOption, ...]:
    """The components of the option of that name, in its order. Raises BuildError of category input."""
    found = tuple(_parse_component(index, option) for index, option in enumerate(options, 1))
    names = [one.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise component_error(twice[0], "there are two components of this name. Each needs a name of its own.")
    return found


def _parse_component(index: int, option: Mapping[str, Any]) -> ComponentOption:
    given = {str(key): value for key, value in option.items() if value is not None}
    name = str(given.get("name", ""))
    if not _NAME.match(name):
        raise component_error(
            name or f"number {index}",
            f"{name!r} is not a name for a component. Write lower-case letters, digits and . _ - only.",
        )
    unknown = sorted(given.keys() - _KEYS)
    if unknown:
        raise component_error(
            name, f"there is no such key as {', '.join(unknown)}. Known are {', '.join(sorted(_KEYS))}."
        )
    if "rpms" in given and "tree" in given:
        raise component_error(name, "it has both rpms and tree, and can be only one of the two.")
    image = _image(name, given.get("image"))
    version = str(given["version"]) if "version" in given else None
    if "rpms" in given:
        if "dest" in given:
            raise component_error(name, "dest is for trees: RPMs know themselves where their files belong.")
        return ComponentOption(name, ComponentKind.RPMS, image, _path(name, "rpms", given["rpms"]), None, version)
    tree = _path(name, "tree", given.get("tree", DEFAULT_TREE))
    dest = _destination(name, given.get("dest", DEFAULT_DEST))
    return ComponentOption(name, ComponentKind.TREE, image, tree, dest, version)


def _image(name: str, text: object) -> ImageReference:
    if not text:
        raise component_error(name, "it needs an image.")
    try:
        return ImageReference.parse(str(text)).require_registry()
    except InvalidReference as error:
        raise component_error(name, str(error)) from error


def _path(name: str, key: str, value: object) -> str:
    """A directory without trailing slash, `/` for the root."""
    text = str(value)
    if not _PLAIN_PATH.match(text) or ".." in text.split("/"):
        raise component_error(
            name,
            f"{key} is {text!r}. Expected the absolute path of a directory without .., blanks, wildcards or quotes.",
        )
    return posixpath.normpath("/" + text.lstrip("/"))


def _destination(name: str, value: object) -> str:
    dest = _path(name, "dest", value)
    if any(dest == root or dest.startswith(root + "/") for root in DESTINATIONS):
        return dest
    reason = why_no_image_can_carry(dest) or "an image's content lives in /usr, and its defaults in /etc"
    raise component_error(
        name, f"dest is {dest}, which no image can carry: {reason}. Choose /usr, /etc or a directory below."
    )


def component_inputs(components: Sequence[Component]) -> dict[str, str]:
    """What the components add to the input key: a name each, to the hash over its digest and how it is put in."""
    return {
        f"component {one.name}": text_hash(
            json.dumps([one.kind.value, one.digest, one.option.source, one.option.dest, _label(one)])
        )
        for one in components
    }


def component_labels(components: Sequence[Component]) -> dict[str, str]:
    """A label for each component: compact JSON with `version`, `image` as it was named, and `digest`."""
    return {COMPONENT_LABEL_PREFIX + one.name: _label(one) for one in components}


def _label(component: Component) -> str:
    document = {
        "version": component.version,
        "image": component.option.image.without_digest,
        "digest": component.digest,
    }
    return json.dumps(document, separators=(",", ":"))


def component_steps(
    components: Sequence[Component], rpm_step: Callable[[str, str, str], BuildStep]
) -> tuple[BuildStep, ...]:
    """One instruction for each component, in order. `rpm_step` makes that of RPMs from name, pinned image, directory.

    Measured with buildah 1.28: COPY from an image keeps owner, mode, set-user-id, capabilities, links and hard links. It
    leaves the destination directory itself alone, but gives directories below it that exist already the component's mode
    and owner, and silently replaces a link by a directory, or a directory with all it has by a link or a file. So what a
    component does to its base is compared after the build (`component_conflicts.changes_to_base`).
    """
    return tuple(_step(one, rpm_step) for one in components)


def _step(component: Component, rpm_step: Callable[[str, str, str], BuildStep]) -> BuildStep:
    option = component.option
    image = component.pinned.pull_text
    if option.kind is ComponentKind.RPMS:
        return rpm_step(option.name, image, option.source)
    source, dest = (f"{path.rstrip('/')}/" for path in (option.source, option.dest or DEFAULT_DEST))
    return BuildStep(f"copy the component {option.name}", f"COPY --from={image} {source} {dest}")
