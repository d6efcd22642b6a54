# SPDX-License-Identifier: GPL-3.0-or-later
"""What was read out of images, kept by digest: a digest never changes its content, so nothing here is ever stale."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import tempfile
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT = 1  # raised when what is stored changes its shape
KEPT_UNUSED_SECONDS = 90 * 86400.0


@dataclass(frozen=True)
class ListingCache:
    """JSON documents in a directory of their own, which is the owner's alone."""

    directory: Path

    def load(self, *key: str) -> Any | None:
        """The document that was stored under these words; None where there is none that can be read."""
        path = self._path(key)
        try:
            document = json.loads(gzip.decompress(path.read_bytes()))
            os.utime(path)
        except (OSError, EOFError, zlib.error, ValueError):
            return None
        return document

    def store(self, document: Any, *key: str) -> None:
        """Keep a document, at once or not at all, and forget what nobody has asked for in three months."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory.chmod(0o700)
        packed = gzip.compress(json.dumps(document, separators=(",", ":")).encode(), compresslevel=5, mtime=0)
        descriptor, name = tempfile.mkstemp(prefix=".new-", dir=self.directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(packed)
            os.replace(name, self._path(key))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
        self._forget()

    def _path(self, key: tuple[str, ...]) -> Path:
        return self.directory / (hashlib.sha256(json.dumps([FORMAT, *key]).encode()).hexdigest() + ".json.gz")

    def _forget(self) -> None:
        oldest = time.time() - KEPT_UNUSED_SECONDS
        for path in self.directory.iterdir():
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.unlink()
