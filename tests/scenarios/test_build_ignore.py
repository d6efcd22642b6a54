# SPDX-License-Identifier: GPL-3.0-or-later
"""Ignore files mean to the input key what they mean to a real engine: what is in the image is in the key."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.context_tree import entries
from ansible_collections.imagemode.nodes.plugins.module_utils._build.ignore_file import IgnoreRules

FILES = ("ab", "axb", "ax/b", "b.pyc", "sub/a.pyc", "sub/.pyc", "sub/deep/c.py", "keep/k", "d1/e", "d/e/f", "[x]/y")
RULES = (
    "**.pyc",
    "**/*.pyc",
    "*.pyc",
    "a**b",
    "a**/b",
    "**",
    "d/**",
    "**/e",
    "sub/**/c.py",
    "*\n!keep",
    "sub\n!sub/deep",
    "**/e/**\n!d/e/f",
    "d[0-9]",
    "\\[x]",
    "# sub",
    "./sub/",
)


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """buildah with a storage of its own."""
    program = shutil.which("buildah")
    if program is None:
        pytest.skip("buildah is not installed")
    storage = tmp_path_factory.mktemp("storage")
    return [program, f"--root={storage / 'graph'}", f"--runroot={storage / 'run'}", "--storage-driver=vfs"]


@pytest.mark.parametrize("rules", RULES)
def test_the_key_covers_what_the_engine_copies(tmp_path: Path, buildah: list[str], rules: str) -> None:
    context = tmp_path / "context"
    for name in FILES:
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        (context / name).write_text("x")
    (tmp_path / "ignore").write_text(rules + "\n")
    container = _tool(*buildah, "from", "scratch")
    try:
        root = Path(_tool(*buildah, "mount", container))
        _tool(
            *buildah,
            "copy",
            f"--ignorefile={tmp_path / 'ignore'}",
            f"--contextdir={context}",
            container,
            str(context),
            "/",
        )
        copied = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    finally:
        _tool(*buildah, "rm", container)
    hashed = {os.fsdecode(entry.path) for entry in entries(context, IgnoreRules.parse(rules))}
    assert hashed & set(FILES) == copied


def _tool(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
