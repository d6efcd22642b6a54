# SPDX-License-Identifier: GPL-3.0-or-later
"""Searches the layers that a build added, and the image's configuration, for the secrets that the build was given."""

from __future__ import annotations

import posixpath
import tarfile
import zlib
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ansible_collections.imagemode.nodes.plugins.module_utils._build.engine import Engine
from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import check_that_somebody_listens
from ansible_collections.imagemode.nodes.plugins.module_utils._build.storage_export import ExportedImage, exported
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.leak_search import (
    Hit,
    Leak,
    LeakPlace,
    LeakReport,
    LeakScanner,
    SecretPatterns,
)

CHUNK = 1 << 18  # bytes; small enough to stay in the processor's cache while every pattern is looked for
LISTEN_BYTES = 1 << 26  # between two looks whether anybody still waits for the result
GZIP_MAGIC = b"\x1f\x8b\x08"
DECOMPRESSED_LIMIT = 1 << 28  # bytes of one compressed file
MOST_HITS = 1000  # of one layer; beyond that nobody reads on


def find_leaks(
    engine: Engine, image: str, base_diff_ids: Collection[str], secrets: Mapping[str, bytes], work_dir: Path
) -> LeakReport:
    """Where the secrets, by id, are in an image in local storage. Raises BuildError, DeadlinePassed and Interrupted.

    `base_diff_ids` are of the layers that the build did not make (`sha256:…`); they are not searched. `work_dir` gets a
    copy of the others for as long as this runs.
    """
    patterns = SecretPatterns.of(secrets)
    if not patterns.patterns:
        return LeakReport(unsearchable=patterns.unsearchable)
    base = frozenset(base_diff_ids)
    leaks: list[Leak] = []
    searched = 0
    with exported(engine, image, work_dir, without=base) as copy:
        leaks += _leaks_in_configuration(patterns, copy)
        for index, diff_id in enumerate(copy.diff_ids):
            if diff_id in base:
                continue
            layer = LayerSearch(patterns, copy.layers.layers[index], index, copy.created_by()[index])
            leaks += layer.run()
            searched += layer.searched
    return LeakReport(tuple(dict.fromkeys(leaks)), patterns.unsearchable, searched)


@dataclass
class LayerSearch:
    """The search of one layer, an uncompressed tar file.

    All of the file is looked through as it lies there: contents, names, link targets and extended attributes at once, and
    what a later layer deletes. Only then its entries are listed, to say where a hit is, and to look into compressed files.
    """

    patterns: SecretPatterns
    path: Path
    index: int
    instruction: str | None
    searched: int = 0
    _seen: set[tuple[str, str, LeakPlace]] = field(default_factory=set)

    def run(self) -> list[Leak]:
        """The leaks, each secret once for a path. Raises BuildError, OSError and Interrupted."""
        with self.path.open("rb") as file:
            hits = self._scan(iter(lambda: file.read(CHUNK), b""))
            entries = self._entries(file)
            starts = [entry.offset for entry in entries]
            leaks = []
            for hit in hits:
                at = bisect_right(starts, hit.offset) - 1
                leaks += self._leak(hit, entries[at] if at >= 0 else None)
            for entry in entries:
                if entry.isreg() and entry.size > len(GZIP_MAGIC):
                    for hit in self._compressed_hits(file, entry):
                        leaks += self._leak(hit, entry, LeakPlace.COMPRESSED)
        return leaks

    def _scan(self, chunks: Iterator[bytes]) -> list[Hit]:
        scanner = LeakScanner(self.patterns)
        hits: list[Hit] = []
        for chunk in chunks:
            if len(hits) < MOST_HITS:
                hits += scanner.feed(chunk)
            before, self.searched = self.searched, self.searched + len(chunk)
            if before // LISTEN_BYTES != self.searched // LISTEN_BYTES:
                check_that_somebody_listens()
        return hits

    def _entries(self, file: BinaryIO) -> list[tarfile.TarInfo]:
        file.seek(0)
        try:
            with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
                return tar.getmembers()
        except tarfile.TarError as error:
            raise BuildError(
                BuildFailure(
                    FailureCategory.ENGINE,
                    f"Layer {self.index} of the built image could not be searched for leaked secrets, because it is no "
                    f"readable tar file: {error}. Nothing was pushed. Check the container storage of the build host.",
                )
            ) from error

    def _compressed_hits(self, file: BinaryIO, entry: tarfile.TarInfo) -> list[Hit]:
        file.seek(entry.offset_data)
        if file.read(len(GZIP_MAGIC)) != GZIP_MAGIC:
            return []
        file.seek(entry.offset_data)
        return self._scan(_decompressed(file, entry.size))

    def _leak(self, hit: Hit, entry: tarfile.TarInfo | None, place: LeakPlace = LeakPlace.CONTENT) -> list[Leak]:
        if entry is None:
            return []
        in_header = place is LeakPlace.CONTENT and hit.offset < entry.offset_data
        path = self.patterns.hide(posixpath.normpath(f"/{entry.name.lstrip('/')}"))
        place = LeakPlace.ENTRY if in_header else place
        key = (hit.pattern.secret, path, place)
        if key in self._seen:
            return []
        self._seen.add(key)
        instruction = self.patterns.hide(self.instruction) if self.instruction else None
        return [Leak(hit.pattern.secret, self.index, path, place, hit.pattern.form, instruction)]


def _decompressed(file: BinaryIO, size: int) -> Iterator[bytes]:
    """What a gzip file holds, all its members, up to a limit; as much as can be read of a damaged one."""
    left = size
    produced = 0
    pending = b""
    member = zlib.decompressobj(wbits=31)
    while produced < DECOMPRESSED_LIMIT:
        if not pending:
            pending = file.read(min(CHUNK, left))
            left -= len(pending)
            if not pending:
                return
        try:
            data = member.decompress(pending, CHUNK)
        except zlib.error:
            return
        produced += len(data)
        if data:
            yield data
        pending = member.unconsumed_tail
        if member.eof:
            pending = member.unused_data
            member = zlib.decompressobj(wbits=31)


def _leaks_in_configuration(patterns: SecretPatterns, copy: ExportedImage) -> list[Leak]:
    documents: list[tuple[str, Any]] = [("", copy.layers.config), ("annotations", copy.annotations)]
    leaks = []
    for name, document in documents:
        for where, text in _strings(name, document):
            for hit in patterns.hits(text.encode("utf-8", "surrogatepass")):
                made = text if where.endswith(".created_by") else None
                leaks.append(
                    Leak(
                        hit.pattern.secret,
                        None,
                        patterns.hide(where),
                        LeakPlace.CONFIGURATION,
                        hit.pattern.form,
                        patterns.hide(made) if made else None,
                    )
                )
    first: dict[tuple[str, str], Leak] = {}
    for leak in leaks:
        first.setdefault((leak.secret, leak.path), leak)
    return list(first.values())


def _strings(where: str, found: Any) -> Iterator[tuple[str, str]]:
    """Every string of a JSON document, the names in it too, with where it is."""
    if isinstance(found, str):
        yield where, found
    elif isinstance(found, list):
        for index, value in enumerate(found):
            yield from _strings(f"{where}[{index}]", value)
    elif isinstance(found, Mapping):
        for name, value in found.items():
            inside = f"{where}.{name}" if where else name
            yield inside, name
            yield from _strings(inside, value)
