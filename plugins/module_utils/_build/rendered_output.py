# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing a rendered configuration: all of it or none, and nothing of somebody else's."""

from __future__ import annotations

import base64
import fcntl
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._build.rendered_directory import (
    HOST_FILES,
    HOST_TREE,
    IMAGE_TREE,
    MANIFEST,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileType
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_config import PathOwner, Rendering
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_config_json import manifest_text

_FORMAT_KEY = "imagemode_rendered_config"
_UNFINISHED = ".rendering"


@dataclass(frozen=True)
class OutputItem:
    """A path of the output: a file with content, a link with target, or a directory."""

    type: FileType
    mode: int = 0
    content: bytes = field(default=b"", repr=False)
    target: str | None = None


def output_items(rendering: Rendering) -> dict[str, OutputItem]:
    """Everything that is to be in the directory, by path relative to it. What may be secret is for its owner only."""
    items = {
        IMAGE_TREE: OutputItem(FileType.DIRECTORY, 0o755),
        HOST_TREE: OutputItem(FileType.DIRECTORY, 0o700),
        MANIFEST: OutputItem(FileType.FILE, 0o644, manifest_text(rendering.config).encode()),
        HOST_FILES: OutputItem(FileType.FILE, 0o600, host_files_text(rendering).encode()),
    }
    for entry in rendering.config.files:
        if entry.owner is PathOwner.TMPFILES:
            continue
        tree, closed = (HOST_TREE, True) if entry.owner is PathOwner.HOST else (IMAGE_TREE, False)
        item = {
            FileType.FILE: OutputItem(
                FileType.FILE, 0o600 if closed else 0o644, rendering.contents.get(entry.path, b"")
            ),
            FileType.LINK: OutputItem(FileType.LINK, target=entry.target),
            FileType.DIRECTORY: OutputItem(FileType.DIRECTORY, 0o755),
        }[entry.type]
        items[tree + entry.path] = item
        for above in list(Path(tree + entry.path).parents)[:-2]:
            items.setdefault(str(above), OutputItem(FileType.DIRECTORY, 0o700 if closed else 0o755))
    return items


def host_files_text(rendering: Rendering) -> str:
    """JSON: `files` as the module host_files takes them."""
    files = []
    for entry in rendering.config.owned_by(PathOwner.HOST):
        item: dict[str, Any] = {"path": entry.path}
        content = rendering.contents[entry.path]
        try:
            item["content"] = content.decode()
        except UnicodeDecodeError:
            item["content_b64"] = base64.b64encode(content).decode()
        item["mode"] = f"{entry.mode:04o}"
        for key, account in (("owner", entry.user), ("group", entry.group)):
            item[key] = "root" if account == 0 else str(account)
        item["secret"] = entry.secret
        files.append(item)
    return json.dumps({"files": files}, indent=1) + "\n"


def found_items(dest: Path) -> dict[str, OutputItem]:
    """What is in the directory now; empty where there is none. Raises BuildError where it is not one of ours."""
    if not os.path.lexists(dest):
        return {}
    if dest.is_symlink() or not dest.is_dir():
        raise _refused(dest, "is no directory")
    items = dict(_below(dest, ""))
    if items and not _is_ours(items.get(MANIFEST)):
        raise _refused(dest, f"is not empty, and has no {MANIFEST} of an earlier render")
    return items


def remove_unfinished(dest: Path) -> None:
    """Remove what a run that was killed left beside the directory: it may hold secrets. Raises OSError."""
    if dest.parent.is_dir():
        with _alone_in(dest.parent):
            for left in dest.parent.glob(f".{glob.escape(dest.name)}.*{_UNFINISHED}"):
                shutil.rmtree(left)


def write_items(dest: Path, items: Mapping[str, OutputItem]) -> None:
    """Put the directory in place of what is there. A run that is killed leaves the old one or none. Raises BuildError, OSError."""
    dest.parent.mkdir(parents=True, exist_ok=True)
    with _alone_in(dest.parent):
        found_items(dest)
        new = Path(tempfile.mkdtemp(prefix=f".{dest.name}.", suffix=_UNFINISHED, dir=dest.parent))
        try:
            _fill(new, items)
            if dest.exists():
                # Its name, too, is one that the next run cleans up.
                old = Path(tempfile.mkdtemp(prefix=f".{dest.name}.", suffix=_UNFINISHED, dir=dest.parent))
                os.rename(dest, old / "old")
                os.rename(new, dest)
                shutil.rmtree(old)
            else:
                os.rename(new, dest)
        finally:
            with suppress(FileNotFoundError):
                shutil.rmtree(new)


def _fill(root: Path, items: Mapping[str, OutputItem]) -> None:
    root.chmod(0o755)
    for name in sorted(items):
        path, item = root / name, items[name]
        if item.type is FileType.DIRECTORY:
            path.mkdir()
            path.chmod(item.mode)
        elif item.type is FileType.LINK:
            path.symlink_to(item.target or "")
        else:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(item.content)
            path.chmod(item.mode)


def _below(root: Path, relative: str) -> Iterator[tuple[str, OutputItem]]:
    for entry in os.scandir(root / relative):
        name = f"{relative}/{entry.name}" if relative else entry.name
        mode = entry.stat(follow_symlinks=False).st_mode & 0o7777
        if entry.is_symlink():
            yield name, OutputItem(FileType.LINK, target=os.readlink(entry.path))
        elif entry.is_dir():
            yield name, OutputItem(FileType.DIRECTORY, mode)
            yield from _below(root, name)
        elif entry.is_file():
            yield name, OutputItem(FileType.FILE, mode, Path(entry.path).read_bytes())
        else:
            yield name, OutputItem(FileType.OTHER, mode)


def _is_ours(manifest: OutputItem | None) -> bool:
    try:
        document = json.loads(manifest.content) if manifest is not None else None
    except ValueError:
        return False
    return isinstance(document, dict) and _FORMAT_KEY in document


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """While another render into this directory runs, wait for it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _refused(dest: Path, what: str) -> BuildError:
    message = (
        f"{dest} {what}, so nothing was written. dest takes a directory that is empty, absent, or was rendered before."
    )
    return BuildError(BuildFailure(FailureCategory.INPUT, message))
