# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images in local storage are ours: one build's layers are kept as cache, older ones are removed."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

_PULLING = re.compile(r"Trying to pull (\S+?)\.\.\.\Z")
_REUSED = re.compile(r"--> Using cache ([0-9a-f]{11,64})\Z")
_CREATED = re.compile(r"--> ([0-9a-f]{11,64})\Z")


@dataclass
class StorageTrace:
    """What a build did to local storage, read from its output.

    `created` are ids of images it made for its steps, `reused` of those that were there, `pulled` are references.
    The last image that an engine announces is the result: it has a name, so it is not among them.
    """

    created: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    pulled: list[str] = field(default_factory=list)
    result: str | None = None

    def read(self, line: str) -> None:
        """Take note of one line of the engine's output."""
        reused = _REUSED.match(line)
        created = _CREATED.match(line)
        pulling = _PULLING.match(line)
        if reused:
            self.reused.append(reused.group(1))
        elif created:
            if self.result is not None and not any(found.startswith(self.result) for found in self.reused):
                self.created.append(self.result)
            self.result = created.group(1)
        elif pulling:
            self.pulled.append(pulling.group(1))


@dataclass(frozen=True)
class LayerLedger:
    """The list of images in local storage that builds of one image made or pulled, kept in a file."""

    path: Path

    def entries(self) -> list[str]:
        """Names and ids, the oldest first; empty where nothing is recorded or the file is damaged."""
        try:
            found = json.loads(self.path.read_text())["images"]
        except (OSError, ValueError, KeyError, TypeError):
            return []
        return [str(entry) for entry in found]

    def remember(self, trace: StorageTrace, names: Iterable[str] = ()) -> None:
        """Add what a build left behind, so that a later one can use it or remove it."""
        self._write([*self.entries(), *trace.pulled, *trace.created, *names])

    def prune(self, keep: Callable[[str], bool], remove: Callable[[str], bool]) -> None:
        """Remove what `keep` does not want, the newest first; what cannot be removed stays recorded.

        An image cannot go before those that rest on it, and the order of the list is that of several builds: so it is
        gone through again as long as that removes something.
        """
        left = self.entries()
        unwanted = [entry for entry in reversed(left) if not keep(entry)]
        while unwanted:
            stuck = [entry for entry in unwanted if not remove(entry)]
            if len(stuck) == len(unwanted):
                break
            unwanted = stuck
        self._write([entry for entry in left if entry in unwanted or keep(entry)])

    def _write(self, entries: Iterable[str]) -> None:
        temporary = self.path.with_suffix(".new")
        with contextlib.suppress(OSError):  # a full disk costs the cache its order, never the build its result
            temporary.write_text(json.dumps({"images": list(dict.fromkeys(entries))}, indent=1) + "\n")
            temporary.replace(self.path)
