# SPDX-License-Identifier: GPL-3.0-or-later
"""An image as a file tree: its layers in a `dir:` or `oci:` directory, or downloaded from a registry into one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from ansible_collections.imagemode.nodes.plugins.module_utils._build.layer_archive import CHUNK, DAMAGE, layer_members
from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import (
    check_that_somebody_listens,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import (
    COPY_SECONDS,
    Registry,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.retry import answer
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
    registry_failure,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileTree
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference, is_digest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.layer_tree import (
    BadLayer,
    ContentPlace,
    LayerEntry,
    LayerTree,
    merge_layers,
    printable,
)

LARGEST_FILE_IN_MEMORY = 64 << 20  # bytes
LISTENER_CHECK_MEMBERS = 1000
DEEPEST_INDEX = 3


@dataclass(frozen=True)
class ImageLayers:
    """The layers of one image on disk, the lowest first, compressed or not. `name` is for messages."""

    name: str
    layers: tuple[Path, ...]
    config: Mapping[str, Any]

    @classmethod
    def in_directory(cls, directory: Path, name: str, platform: str | None = None) -> ImageLayers:
        """The image in a directory that `skopeo copy … dir:DIRECTORY` or `oci:DIRECTORY` made.

        `platform` chooses where the directory has several. Raises BuildError of category input.
        """
        try:
            blob = _oci_blob if (directory / "index.json").exists() else _dir_blob
            manifest = _manifest(directory, platform)
            layers = tuple(blob(directory, str(layer["digest"])) for layer in manifest["layers"])
            config = json.loads(blob(directory, str(manifest["config"]["digest"])).read_bytes())
            if not isinstance(config, dict):
                raise BadLayer("has a configuration that is no JSON object")
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise _unreadable(name, f"{directory} holds no image that can be read: {error}") from error
        return cls(name, layers, config)

    def tree(self, layers: int | None = None) -> LayerTree:
        """The merged tree, or that of the lowest so many layers. Raises BuildError."""
        try:
            return merge_layers(self._entries(layer) for layer in self.layers[:layers])
        except BadLayer as error:
            raise _unreadable(self.name, str(error)) from error

    def _entries(self, layer: Path) -> Iterator[LayerEntry]:
        for number, (entry, _content) in enumerate(_members(layer)):
            if number % LISTENER_CHECK_MEMBERS == 0:
                check_that_somebody_listens()
            yield entry

    def visit(self, places: Iterable[ContentPlace], look: Callable[[ContentPlace, IO[bytes]], None]) -> None:
        """Show the content of files, each place once, in the order of the layers. Raises BuildError."""
        wanted: dict[int, set[int]] = {}
        for place in places:
            wanted.setdefault(place.layer, set()).add(place.member)
        for layer, members in sorted(wanted.items()):
            try:
                self._visit_layer(layer, members, look)
            except BadLayer as error:
                raise _unreadable(self.name, str(error)) from error

    def _visit_layer(self, layer: int, wanted: set[int], look: Callable[[ContentPlace, IO[bytes]], None]) -> None:
        left = set(wanted)
        with contextlib.closing(_members(self.layers[layer])) as members:
            for number, (_entry, content) in enumerate(members):
                if number % LISTENER_CHECK_MEMBERS == 0:
                    check_that_somebody_listens()
                if number in left and content is not None:
                    try:
                        look(ContentPlace(layer, number), content)
                    except DAMAGE as error:
                        raise BadLayer(f"number {layer + 1} is damaged: {error}") from error
                    left.discard(number)
                    if not left:
                        return
        if left:
            raise BadLayer(f"number {layer + 1} has lost members since it was listed")

    def read(self, merged: LayerTree, paths: Iterable[str], limit: int = LARGEST_FILE_IN_MEMORY) -> dict[str, bytes]:
        """The content of regular files by path, links not followed; paths that are no files are left out.

        Raises BuildError, also for a file of more than `limit` bytes.
        """
        found: dict[ContentPlace, bytes] = {}
        asked = {path: merged.places[path] for path in paths if path in merged.places}
        names = {place: path for path, place in asked.items()}

        def look(place: ContentPlace, content: IO[bytes]) -> None:
            data = content.read(limit + 1)
            if len(data) > limit:
                raise BadLayer(f"has {printable(names[place])}, which is larger than {limit} bytes")
            found[place] = data

        self.visit(asked.values(), look)
        return {path: found[place] for path, place in asked.items()}

    def hashed(self, merged: LayerTree, paths: Iterable[str] | None = None) -> FileTree:
        """The tree with the SHA-256 of the files at these paths, of all files by default. Raises BuildError."""
        chosen = merged.places if paths is None else {path for path in paths if path in merged.places}
        hashes: dict[ContentPlace, str] = {}

        def look(place: ContentPlace, content: IO[bytes]) -> None:
            digest = hashlib.sha256()
            for chunk in iter(lambda: content.read(CHUNK), b""):
                digest.update(chunk)
            hashes[place] = digest.hexdigest()

        self.visit({merged.places[path] for path in chosen}, look)
        changed = {path: replace(merged.tree[path], sha256=hashes[merged.places[path]]) for path in chosen}
        return {**merged.tree, **changed}


@contextlib.contextmanager
def downloaded_image(
    registry: Registry, pinned: ImageReference, work: Path, category: FailureCategory = FailureCategory.BASE_PULL
) -> Iterator[ImageLayers]:
    """The image of one manifest's digest, in a directory below `work` that is gone afterwards. Raises BuildError."""
    work.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix="download-", dir=work) as scratch:
        _download(registry, pinned, Path(scratch), category)
        yield ImageLayers.in_directory(Path(scratch), str(pinned))


def _download(registry: Registry, pinned: ImageReference, directory: Path, category: FailureCategory) -> None:
    options = registry.access.options("src-")
    argv = [registry.skopeo, "copy", "--quiet", *options, f"docker://{pinned.pull_text}", f"dir:{directory}"]

    def failure_of(said: str) -> BuildFailure:
        if "no space left on device" in said:
            return BuildFailure(
                FailureCategory.DISK, f"The disk is full: {pinned} could not be downloaded to {directory.parent}."
            )
        return registry_failure(category, "download", str(pinned), said, registry.access.authfile)

    found = answer(argv, COPY_SECONDS, failure_of)
    if isinstance(found, BuildFailure):
        raise BuildError(found)


def _members(layer: Path) -> Generator[tuple[LayerEntry, IO[bytes] | None], None, None]:
    """The members of a layer; what is wrong with it is said with the layer's digest."""
    try:
        yield from layer_members(layer)
    except BadLayer as error:
        raise BadLayer(f"its layer {layer.name[:12]} {error}") from error
    except OSError as error:
        raise BadLayer(f"its layer {layer.name[:12]} could not be read: {error}") from error


def _manifest(directory: Path, platform: str | None) -> dict[str, Any]:
    if not (directory / "index.json").exists():
        return _object(directory / "manifest.json")
    document = _object(directory / "index.json")
    for _level in range(DEEPEST_INDEX):
        if not isinstance(document.get("manifests"), list):
            break
        document = _object(_oci_blob(directory, _chosen(document["manifests"], platform)))
    return document


def _chosen(manifests: list[dict[str, Any]], platform: str | None) -> str:
    """The digest of the one manifest, or of that for the platform."""
    if len(manifests) != 1 and platform is None:
        raise BadLayer(f"there are {len(manifests)} images in it")
    for one in manifests:
        where = one.get("platform") or {}
        name = "/".join(str(where[key]) for key in ("os", "architecture", "variant") if where.get(key))
        if len(manifests) == 1 or name == platform or name.startswith(f"{platform}/"):
            return str(one["digest"])
    raise BadLayer(f"there is no image for {platform} in it")


def _object(path: Path) -> dict[str, Any]:
    document = json.loads(path.read_bytes())
    if not isinstance(document, dict):
        raise BadLayer(f"{path.name} is no JSON object")
    return document


def _oci_blob(directory: Path, digest: str) -> Path:
    return directory / "blobs" / "sha256" / _hexadecimal(digest)


def _dir_blob(directory: Path, digest: str) -> Path:
    return directory / _hexadecimal(digest)


def _hexadecimal(digest: str) -> str:
    """The part of a digest that is a file's name; whatever else it says would be a path of its own choice."""
    if not is_digest(digest):
        raise BadLayer(f"{printable(digest)!r} is not a digest")
    return digest.partition(":")[2]


def _unreadable(name: str, why: str) -> BuildError:
    return BuildError(BuildFailure(FailureCategory.INPUT, f"The image {name} cannot be read: {why}."))
