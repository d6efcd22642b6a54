# SPDX-License-Identifier: GPL-3.0-or-later
"""The components of a build: pinned all at once, and compared before anything is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from ansible_collections.imagemode.nodes.plugins.module_utils._build.image_layers import ImageLayers, downloaded_image
from ansible_collections.imagemode.nodes.plugins.module_utils._build.listing_cache import ListingCache
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import Registry
from ansible_collections.imagemode.nodes.plugins.module_utils._build.resolved_image import ResolvedImage
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    FailureCategory,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.component import (
    VERSION_LABEL,
    Component,
    ComponentKind,
    ComponentOption,
    component_error,
    parse_components,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.component_conflicts import (
    ComponentContent,
    changes_to_base,
    check_conflicts,
    rpm_content,
    shown,
    tree_content,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileTree
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference
from ansible_collections.imagemode.nodes.plugins.module_utils._core.layer_tree import (
    ContentPlace,
    LayerTree,
    below,
    printable,
    resolve_path,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rpm_header import (
    BadPackage,
    RpmHeader,
    read_package,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.tree_json import (
    packages_document,
    parse_packages,
    parse_tree,
    tree_document,
)

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
    if found.is_index and not found.platforms:
        raise component_error(wanted.name, f"{wanted.image} is an index without any image.")
    component = Component(wanted, found.digest, wanted.version or "", tuple(sorted(found.platforms.items())))
    single = component.pinned_for(platform)
    return component if wanted.version else replace(component, version=_version(wanted, registry, found, single))


def _version(wanted: ComponentOption, registry: Registry, image: ResolvedImage, pinned: ImageReference) -> str:
    single = registry.resolve(pinned) if image.is_index else image
    labelled = registry.configuration(pinned, single).labels.get(VERSION_LABEL)
    return labelled or wanted.image.tag or image.digest.partition(":")[2][:12]


def check_components(components: Sequence[Component], registry: Registry, platform: str, cache_dir: Path) -> None:
    """Compare what the components bring, before anything is built. Raises BuildError.

    Downloads each image whose listing is not in `cache_dir` yet; nothing of it stays there but the listing.
    """
    check_conflicts(component_contents(components, registry, platform, cache_dir))


def component_contents(
    components: Sequence[Component], registry: Registry, platform: str, cache_dir: Path
) -> tuple[ComponentContent, ...]:
    """What each component brings. Raises BuildError, of category input for content that no image can carry."""
    reader = _ComponentReader(registry, platform, cache_dir)
    return tuple(reader.content(one) for one in components)


def check_base_survived(
    components: Sequence[Component], registry: Registry, platform: str, cache_dir: Path, base: FileTree
) -> tuple[str, ...]:
    """Compare what tree components bring with the base's tree; warnings about directories that they change.

    Raises BuildError of category conflict where a component replaced a directory of the base, or a link to one. The base's
    tree is that of the lowest layers of the built image (`ImageLayers.tree`), so nothing is downloaded for it.
    """
    warnings = []
    for content in component_contents(components, registry, platform, cache_dir):
        found = changes_to_base(content, base)
        name = content.component.name
        if found.lost:
            raise component_error(
                name,
                f"it would replace directories of the base, or links to them, with all that is there: {shown(found.lost)}. "
                f"Put the content of {content.component.option.image} where the base has it.",
                FailureCategory.CONFLICT,
            )
        if found.directories:
            warnings.append(
                f"Component {name} changes mode and owner of directories of the base: {shown(found.directories)}. "
                "Give them the base's in the component's image."
            )
    return tuple(warnings)


class _ComponentReader:
    """Reads what components bring, from the cache where it is there."""

    def __init__(self, registry: Registry, platform: str, cache_dir: Path) -> None:
        self._registry = registry
        self._platform = platform
        self._downloads = cache_dir
        self._cache = ListingCache(cache_dir / "listings")

    def content(self, component: Component) -> ComponentContent:
        """What one component brings."""
        document = self._document(component)
        if document["platform"] and not _fits(document["platform"], self._platform):
            raise component_error(
                component.name, f"{component.pinned} is an image for {document['platform']}, not for {self._platform}."
            )
        if component.kind is ComponentKind.TREE:
            return tree_content(component, parse_tree(document["tree"]))
        return rpm_content(component, parse_packages(document["packages"]), self._platform)

    def _document(self, component: Component) -> dict[str, Any]:
        pinned = component.pinned_for(self._platform)
        key: tuple[str, ...] = (component.kind.value, str(pinned.digest))
        if component.kind is ComponentKind.RPMS:
            key = (*key, component.option.source)
        known = self._cache.load(*key)
        if isinstance(known, dict):
            return known
        with downloaded_image(self._registry, pinned, self._downloads) as image:
            document = {"platform": _platform(image.config), **_read(component, image)}
        self._cache.store(document, *key)
        return document


def _read(component: Component, image: ImageLayers) -> dict[str, Any]:
    merged = image.tree()
    if component.kind is ComponentKind.TREE:
        return {"tree": tree_document(merged.tree)}
    return {"packages": packages_document(_packages(component, image, merged))}


def _packages(component: Component, image: ImageLayers, merged: LayerTree) -> dict[str, RpmHeader]:
    """The headers of the files *.rpm that are directly in the component's directory, by file name.

    As in the step that installs them: what the shell's `*.rpm` finds, without `*.src.rpm`.
    """
    tree = merged.tree
    directory = resolve_path(tree, component.option.source)
    if directory is None:
        raise component_error(component.name, f"there is no directory {component.option.source} in {component.pinned}.")
    wanted: dict[ContentPlace, str] = {}
    for entry in below(tree, directory):
        parent, _slash, name = entry.path.rpartition("/")
        if (parent or "/") != directory or not _is_installed(name):
            continue
        place = merged.places.get(resolve_path(tree, entry.path) or "")
        if place is not None:
            wanted[place] = name
    found: dict[str, RpmHeader] = {}

    def look(place: ContentPlace, content: IO[bytes]) -> None:
        try:
            found[wanted[place]] = read_package(content.read)
        except BadPackage as error:
            raise component_error(
                component.name, f"{printable(wanted[place])} in {component.option.source} {error}."
            ) from error

    image.visit(wanted, look)
    return found


def _is_installed(name: str) -> bool:
    return name.endswith(".rpm") and not name.endswith(".src.rpm") and not name.startswith(".")


def _platform(config: Mapping[str, Any]) -> str:
    return "/".join(str(config[key]) for key in ("os", "architecture", "variant") if config.get(key))


def _fits(platform: str, wanted: str) -> bool:
    """Whether an image's platform is the wanted one; a variant that is not asked for does not matter."""
    return platform == wanted or platform.startswith(f"{wanted}/") or wanted.startswith(f"{platform}/")
