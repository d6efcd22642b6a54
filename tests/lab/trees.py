# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkouts of images: the layers of an image unpacked into one read-only tree that all nodes of a lab share."""

from __future__ import annotations

import fcntl
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterable

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"

# Files that exist in every tree so that a node's own tools can be mounted over them.
PLACEHOLDERS = (
    *("usr/bin/bootc", "usr/bin/rpm-ostree", "usr/bin/ostree", "usr/bin/skopeo"),
    *(
        "usr/bin/systemctl",
        "usr/bin/systemd-inhibit",
        "usr/bin/systemd-run",
        "usr/bin/reboot",
        "usr/bin/shutdown",
        "usr/bin/poweroff",
    ),
)
# What a placeholder does on a node that lacks the tool: a shell that finds a file without execute permission would say
# `Permission denied` and 126 instead.
NOT_FOUND = '#!/bin/sh\necho "/bin/sh: ${0##*/}: not found" >&2\nexit 127\n'
DIRECTORIES = ("dev", "etc", "proc", "run", "sys", "sysroot", "tmp", "var", "usr/bin", "usr/etc")


def blob_path(lab: str, digest: str) -> str:
    """Where a downloaded layer is kept for the whole lab."""
    return os.path.join(lab, "blobs", digest.replace(":", "/"))


def check_out(lab: str, commit: str, layers: Iterable[str]) -> str:
    """Unpack layers (digests of blobs that are there, lowest first) as ``LAB/trees/COMMIT``; return its path.

    The image's /etc becomes usr/etc, as in an ostree commit. Atomic and safe against other processes doing the same;
    done once per commit.
    """
    trees = os.path.join(lab, "trees")
    target = os.path.join(trees, commit)
    os.makedirs(trees, exist_ok=True)
    if os.path.isdir(target):
        return target
    lock = os.open(os.path.join(trees, f".{commit}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.isdir(target):
            _check_out_as(target, [blob_path(lab, digest) for digest in layers])
    finally:
        os.close(lock)
    return target


def _check_out_as(target: str, blobs: list[str]) -> None:
    scratch = tempfile.mkdtemp(prefix=".new-", dir=os.path.dirname(target))
    try:
        for blob in blobs:
            apply_layer(blob, scratch)
        _make_ostree_tree(scratch)
        os.chmod(scratch, 0o755)  # noqa: S103 (the root directory of a host)
        os.rename(scratch, target)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _make_ostree_tree(root: str) -> None:
    etc = os.path.join(root, "etc")
    if os.path.isdir(etc) and not os.path.islink(etc):
        os.makedirs(os.path.join(root, "usr"), exist_ok=True)
        os.rename(etc, os.path.join(root, "usr/etc"))
    for directory in DIRECTORIES:
        os.makedirs(os.path.join(root, directory), exist_ok=True)
    if not os.path.lexists(os.path.join(root, "ostree")):
        os.symlink("sysroot/ostree", os.path.join(root, "ostree"))
    for placeholder in PLACEHOLDERS:
        path = os.path.join(root, placeholder)
        if not os.path.lexists(path):
            with open(path, "w", encoding="ascii") as file:
                file.write(NOT_FOUND)
            os.chmod(path, 0o755)  # noqa: S103 (a command)


def apply_layer(blob: str, root: str) -> None:
    """Unpack one layer (tar, compressed or not) over a root directory, honouring OCI whiteouts."""
    with tarfile.open(blob, "r:*") as layer:
        for member in layer:
            name = os.path.normpath(member.name.lstrip("/"))
            if name == ".":
                continue
            if name.split("/")[0] == "..":
                raise ValueError(f"layer {blob} holds {member.name}, which is outside of the image")
            parent, base = os.path.split(os.path.join(_real_parent(root, name), os.path.basename(name)))
            if base == OPAQUE:
                for entry in os.listdir(parent) if os.path.isdir(parent) else ():
                    _remove(os.path.join(parent, entry))
            elif base.startswith(WHITEOUT):
                _remove(os.path.join(parent, base[len(WHITEOUT) :]))
            else:
                _extract(layer, member, root, os.path.join(parent, base))


def _real_parent(root: str, name: str) -> str:
    """The directory an entry belongs in, symlinks followed inside of the root (usr/sbin -> bin, for instance)."""
    here = root
    for part in os.path.dirname(name).split("/"):
        if not part:
            continue
        step = os.path.join(here, part)
        for _number in range(40):
            if not os.path.islink(step):
                break
            link = os.readlink(step)
            base = root if link.startswith("/") else os.path.dirname(step)
            step = os.path.normpath(os.path.join(base, link.lstrip("/")))
            if not (step + "/").startswith(root + "/"):
                step = root
        here = step
    return here


def _extract(layer: tarfile.TarFile, member: tarfile.TarInfo, root: str, path: str) -> None:
    if member.isdir() and os.path.isdir(path) and not os.path.islink(path):
        os.chmod(path, member.mode)
        os.chown(path, member.uid, member.gid)
        return
    if os.path.lexists(path):
        _remove(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if member.isdir():
        os.mkdir(path)
    elif member.issym():
        os.symlink(member.linkname, path)
    elif member.islnk():
        linked = os.path.normpath(member.linkname.lstrip("/"))
        os.link(os.path.join(_real_parent(root, linked), os.path.basename(linked)), path)
        return
    elif member.isfile():
        content = layer.extractfile(member)
        if content is None:
            raise ValueError(f"{member.name} has no content")
        with content, open(path, "wb") as target:
            shutil.copyfileobj(content, target, 1 << 20)
    elif member.isfifo():
        os.mkfifo(path)
    else:
        return  # device nodes have no business in an image, and a lab must not make them
    os.chown(path, member.uid, member.gid, follow_symlinks=False)
    if not member.issym():
        os.chmod(path, member.mode)
        os.utime(path, (member.mtime, member.mtime))


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
