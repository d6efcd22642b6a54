# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the records of a pool's rollouts lie, and how they get there. Private to this collection."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible_collections.imagemode.nodes.plugins.plugin_utils._store_selection import default_directory, platform_job


def reports_directory(pool: str, given: str | None, task_vars: Mapping[str, Any]) -> Path | None:
    """`given`, else `reports` in the hidden directory beside the inventory, where Ansible takes no file for an inventory.

    None inside Automation Platform unless it is given: files end with the job there.
    """
    if given:
        return Path(given)
    if platform_job(task_vars):
        return None
    return default_directory(pool, task_vars) / "reports"


class ReportFiles:
    """The reports of one pool: `<pool>-<UTC time>.<kind>`, the newest `keep` of them, and `<pool>-latest.html`."""

    def __init__(self, directory: Path, pool: str, keep: int) -> None:
        self._directory = directory
        self._name = quote(pool, safe=" ").replace(".", "%2E")
        self._keep = keep

    def write(self, at: float, content: Mapping[str, str]) -> dict[str, Path]:
        """From kind to text, to the paths written; `at` in seconds since 1970. Raises OSError."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
        written = {}
        for kind, text in content.items():
            written[kind] = self._directory / f"{self._name}-{stamp}.{kind}"
            self._replace(written[kind], text)
        self._replace(self._directory / f"{self._name}-latest.html", content["html"])
        self._remove_old()
        return written

    def _replace(self, path: Path, text: str) -> None:
        """Whoever opens the file sees the old text or the new one, never half of it."""
        descriptor, temporary = tempfile.mkstemp(dir=self._directory, prefix=".report-")  # mkstemp: for its owner alone
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(text)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def _remove_old(self) -> None:
        pattern = re.compile(rf"{re.escape(self._name)}-(\d{{8}}T\d{{6}}Z)\.(?:json|html)")
        found = [
            (match.group(1), path) for path in self._directory.iterdir() if (match := pattern.fullmatch(path.name))
        ]
        kept = sorted({stamp for stamp, _path in found}, reverse=True)[: max(1, self._keep)]
        for stamp, path in found:
            if stamp not in kept:
                path.unlink(missing_ok=True)
