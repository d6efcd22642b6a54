# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs `bootc container lint` in a built image that brings bootc."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._build.engine import Engine
from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileTree


@dataclass(frozen=True)
class LintOutcome:
    """`ran` is false where there was nothing to run, which `note` explains. `warnings` are lint's own, one text each."""

    ran: bool
    warnings: tuple[str, ...] = ()
    note: str | None = None


def lint_image(
    engine: Engine, image: str, tree: FileTree, isolation: str | None, work_dir: Path, log: Path, timeout: float
) -> LintOutcome:
    """Lint an image in local storage; what bootc prints is appended to `log`. Raises BuildError, DeadlinePassed, Interrupted.

    `tree` is the image's; `isolation` is what the build itself uses. Nothing is left in storage.
    """
    raise NotImplementedError
