# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages on top of an image, and plain ostree commits: commits that no registry has."""

from __future__ import annotations

import hashlib
import os

from lab.simulators import sysroot
from lab.simulators.host import Host
from lab.simulators.state import Deployment


def layered_checksum(base: str, packages: list[str]) -> str:
    """The commit that rpm-ostree would assemble from an image and packages; the image's own without any."""
    if not packages:
        return base
    return hashlib.sha256(f"{base} with {' '.join(sorted(packages))}".encode()).hexdigest()


def plain_commit(host: Host, commit: str) -> str:
    """Make an ostree commit without container metadata out of a pulled image; the image itself is forgotten."""
    state = host.state
    metadata = state.commits[commit]
    plain = hashlib.sha256(f"plain {commit}".encode()).hexdigest()
    trees = os.path.join(host.lab, "trees")
    if not os.path.lexists(os.path.join(trees, plain)):
        os.symlink(commit, os.path.join(trees, plain))
    state.commits = {
        plain: {key: metadata[key] for key in ("version", "created", "timestamp", "architecture")}
        | {"layers": [], "cached_update": None}
    }
    state.images, state.layers = {}, []
    host.save()
    return plain


def layer(host: Host, packages: list[str]) -> None:
    """Turn the booted deployment into one with exactly these packages layered, as if booted so long ago."""
    state = host.state
    index = state.booted_index()
    old = state.deployments[index]
    origin = {key: value for key, value in old.origin.items() if key != "packages"}
    if packages:
        origin["packages"] = sorted(packages)
    checksum = layered_checksum(old.base, packages)
    new = Deployment(old.osname, checksum, 0, origin, old.kargs, base=old.base, pinned=old.pinned)
    if new.id != old.id:
        new.serial = sysroot.next_serial(host, checksum)
        os.rename(host.path("deploy", old.directory), host.path("deploy", new.directory))
    state.deployments[index] = new
    state.booted = new.id
    sysroot.write_boot_entries(host, state)
    sysroot.show_trees(host)
    host.save()
