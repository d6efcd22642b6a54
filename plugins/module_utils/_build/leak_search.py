# SPDX-License-Identifier: GPL-3.0-or-later
"""Searches the layers that a build added, and the image's configuration, for the secrets that the build was given."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._build.engine import Engine
from ansible_collections.imagemode.nodes.plugins.module_utils._core.leak_search import LeakReport


def find_leaks(
    engine: Engine, image: str, base_diff_ids: Collection[str], secrets: Mapping[str, bytes], work_dir: Path
) -> LeakReport:
    """Where the secrets, by id, are in an image in local storage. Raises BuildError, DeadlinePassed and Interrupted.

    `base_diff_ids` are of the layers that the build did not make (`sha256:…`); they are not searched. `work_dir` gets a
    copy of the others for as long as this runs.
    """
    raise NotImplementedError
