# SPDX-License-Identifier: GPL-3.0-or-later
"""The three-way merge of /etc: the new image's defaults, with what the host changed against the old image's on top."""

from __future__ import annotations

import os
import shutil
import stat


class MergeConflict(Exception):
    """A file the host changed is a directory in the new image, or the reverse. ostree then finalizes nothing."""


def copy_tree(source: str, target: str) -> None:
    """Copy a directory with owners, modes, times and symlinks. ``target`` must not exist."""
    os.mkdir(target)
    _copy_attributes(source, target)
    for entry in os.scandir(source):
        _copy(entry.path, os.path.join(target, entry.name))


def merge(old_defaults: str, local: str, new_defaults: str, target: str) -> list[str]:
    """Write the merged /etc to ``target`` (must not exist); return the changes carried over, as ``M path`` lines.

    Letters as in `ostree admin config-diff`: M modified, A added, D deleted. Raises MergeConflict.
    """
    copy_tree(new_defaults, target)
    changes = config_diff(old_defaults, local)
    for change in changes:
        kind, path = change.split(" ", 1)
        destination = os.path.join(target, path)
        if kind == "D":
            _remove(destination)
            continue
        source = os.path.join(local, path)
        if os.path.isdir(source) and not os.path.islink(source):
            if os.path.lexists(destination) and not os.path.isdir(destination):
                raise MergeConflict(f"Modified config file newly defaults to directory '{path}', cannot merge")
            os.makedirs(destination, exist_ok=True)
            _copy_attributes(source, destination)
            continue
        if os.path.isdir(destination) and not os.path.islink(destination):
            raise MergeConflict(f"Modified config file newly defaults to directory '{path}', cannot merge")
        os.makedirs(os.path.dirname(destination), exist_ok=True)
        _remove(destination)
        _copy(source, destination)
    return changes


def config_diff(defaults: str, local: str) -> list[str]:
    """What the host changed, as ``M path``, ``A path`` and ``D path``, sorted by path, parents before children."""
    before, after = _listing(defaults), _listing(local)
    changes = []
    for path in sorted(set(before) | set(after)):
        if path not in after:
            changes.append(f"D {path}")
        elif path not in before:
            changes.append(f"A {path}")
        elif _differs(os.path.join(defaults, path), os.path.join(local, path)):
            changes.append(f"M {path}")
    return changes


def _listing(directory: str) -> dict[str, None]:
    found: dict[str, None] = {}
    for parent, directories, files in os.walk(directory):
        relative = os.path.relpath(parent, directory)
        for name in directories + files:
            found[os.path.normpath(os.path.join(relative, name))] = None
    return found


def _differs(one: str, other: str) -> bool:
    a, b = os.lstat(one), os.lstat(other)
    if (stat.S_IFMT(a.st_mode), a.st_uid, a.st_gid) != (stat.S_IFMT(b.st_mode), b.st_uid, b.st_gid):
        return True
    if stat.S_ISLNK(a.st_mode):
        return os.readlink(one) != os.readlink(other)
    if a.st_mode != b.st_mode:
        return True
    if not stat.S_ISREG(a.st_mode):
        return False
    if a.st_size != b.st_size:
        return True
    with open(one, "rb") as first, open(other, "rb") as second:
        return first.read() != second.read()


def _copy(source: str, target: str) -> None:
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
        status = os.lstat(source)
        os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    elif os.path.isdir(source):
        copy_tree(source, target)
    elif os.path.isfile(source):
        shutil.copyfile(source, target)
        _copy_attributes(source, target)
    # sockets and pipes are nobody's configuration


def _copy_attributes(source: str, target: str) -> None:
    status = os.lstat(source)
    os.chown(target, status.st_uid, status.st_gid)
    shutil.copystat(source, target)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
