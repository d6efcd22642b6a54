# SPDX-License-Identifier: GPL-3.0-or-later
"""Local changes on top of an image or ostree commit: commits that no registry has, assembled on the host."""

from __future__ import annotations

import hashlib
import os
import time

from lab.simulators import package_repository as packages
from lab.simulators import sysroot
from lab.simulators.rpm_ostree_transaction import RpmOstreeError
from lab.simulators.state import LOCAL_CHANGES, Deployment

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from typing import Any

    from lab.simulators.host import Host

LOCKED = "Cannot operate; `LockLayering=true` in configuration."
CONFIGURATION = ("/etc/rpm-ostreed.conf", "/usr/lib/rpm-ostreed.conf")
SCRIPTS = (
    *("Checking out packages...done", "Running systemd-sysusers...done", "Running pre scripts...done"),
    *("Running post scripts...done", "Running posttrans scripts...done", "Writing rpmdb...done"),
)


def active(host: Host, base: str, origin: dict[str, Any]) -> list[str]:
    """Requests that the image does not satisfy itself; the others are inactive and stay in the origin."""
    base_packages = packages.of_image(host, base)
    return [one for one in origin.get("packages", []) if packages.provider(one, base_packages) is None]


def layered_checksum(host: Host, base: str, origin: dict[str, Any]) -> str:
    """A commit as rpm-ostree assembles it, another one each time; the image's own when nothing has to be changed in it."""
    changes = {key: value for key in LOCAL_CHANGES if (value := origin.get(key)) and key != "packages"}
    if wanted := sorted(active(host, base, origin)):
        changes["packages"] = wanted
    if not changes:
        return base
    return hashlib.sha256(f"{base} with {sorted(changes.items())} at {time.time_ns()}".encode()).hexdigest()


def added(host: Host, one: Deployment) -> list[str]:
    """NEVRAs of what is in a deployment and not in its image, sorted."""
    if one.base == one.checksum:
        return []
    repository = packages.solvables(host)
    found = list(one.origin.get("local-packages", []))
    for request in active(host, one.base, one.origin):
        found.append(packages.provider(request, repository) or f"{request}-1.0-1.noarch")
    replacements = one.origin.get("override-replace-local", [])
    return sorted({*found, *replacements})


def removed(one: Deployment) -> list[str]:
    """Packages of the image that a deployment lacks or has another version of."""
    return sorted(one.origin.get("override-remove", []))


def assemble(host: Host, base: str, origin: dict[str, Any], *, fresh: bool = False) -> str:
    """Build the commit for a base and an origin, saying so; returns its checksum. Raises RpmOstreeError.

    ``fresh``: requests or base are new, so the repository is asked; else what is cached will do.
    """
    checksum = layered_checksum(host, base, origin)
    if not any(origin.get(key) for key in LOCAL_CHANGES):
        return checksum
    refuse_if_locked(host)
    resolve(host, base, origin, fresh=fresh)
    if checksum == base:
        return checksum
    if fresh:
        _download(host, base, origin)
    print("\n".join(SCRIPTS))
    if origin.get("regenerate-initramfs"):
        print("Generating initramfs...done")
    print("Writing OSTree commit...done")
    return checksum


def resolve(host: Host, base: str, origin: dict[str, Any], *, fresh: bool) -> None:
    """Find the packages for an origin. Raises RpmOstreeError."""
    print(f"Checking out tree {base[:7]}...done")
    try:
        if fresh and (origin.get("packages") or origin.get("local-packages")):
            packages.load(host)
        if fresh:
            packages.resolve(host, active(host, base, origin))
    except (packages.NoSuchPackages, packages.RepositoryDown) as error:
        raise RpmOstreeError(str(error)) from error
    print("Resolving dependencies...done")


def _download(host: Host, base: str, origin: dict[str, Any]) -> None:
    """Packages of the deployments that exist are in the cache."""
    cached = {nevra for one in sysroot.all_deployments(host) for nevra in added(host, one)}
    new = [one for one in packages.resolve(host, active(host, base, origin)) if one not in cached]
    if new:
        plural = "s" if len(new) > 1 else ""
        print(f"Will download: {len(new)} package{plural} ({sysroot.format_size(6200 * len(new))})")
        print("Downloading from 'lab'...done\nImporting packages...done")


def refuse_if_locked(host: Host) -> None:
    """Raises RpmOstreeError where the host's configuration forbids local changes."""
    for path in CONFIGURATION:
        lines = (host.read(path) or b"").decode("utf-8", "replace").splitlines()
        if any(line.replace(" ", "").lower() == "locklayering=true" for line in lines):
            raise RpmOstreeError(LOCKED)


class Difference:
    """How the packages of a deployment differ from those of the booted one."""

    def __init__(self, host: Host, one: Deployment) -> None:
        before, after = host.booted, one
        had, has = set(added(host, before)), set(added(host, after))
        gone, was_gone = set(removed(after)), set(removed(before))
        self.added = sorted((has - had) | (was_gone - gone))
        self.removed = sorted((had - has) | (gone - was_gone))

    def summary(self) -> str:
        """As the status for people tells it: ``1 added, 2 removed``; empty without a difference."""
        parts = ((len(self.removed), "removed"), (len(self.added), "added"))
        return ", ".join(f"{count} {word}" for count, word in parts if count)


def print_difference(host: Host, one: Deployment) -> None:
    """What rpm-ostree prints after staging: the packages that differ from the booted deployment's."""
    difference = Difference(host, one)
    for title, names in (("Removed", difference.removed), ("Added", difference.added)):
        if names:
            print(f"{title}:\n" + "\n".join(f"  {name}" for name in names))


def plain_commit(host: Host, commit: str) -> str:
    """Make an ostree commit without container metadata out of a pulled image; the image itself is forgotten."""
    from lab.simulators.ostree_remote import plain_checksum, plain_metadata

    state = host.state
    plain = plain_checksum(commit)
    trees = os.path.join(host.lab, "trees")
    if not os.path.lexists(os.path.join(trees, plain)):
        os.symlink(commit, os.path.join(trees, plain))
    state.commits = {plain: plain_metadata(state.commits[commit])}
    state.images, state.layers = {}, []
    host.save()
    return plain


def layer(host: Host, wanted: list[str]) -> None:
    """Turn the booted deployment into one with exactly these packages layered, as if booted so long ago."""
    state = host.state
    index = state.booted_index()
    old = state.deployments[index]
    origin = {key: value for key, value in old.origin.items() if key != "packages"}
    if wanted:
        origin["packages"] = sorted(wanted)
    checksum = layered_checksum(host, old.base, origin)
    new = Deployment(old.osname, checksum, 0, origin, old.kargs, base=old.base, pinned=old.pinned)
    if new.id != old.id:
        new.serial = sysroot.next_serial(host, checksum)
        os.rename(host.path("deploy", old.directory), host.path("deploy", new.directory))
    state.deployments[index] = new
    state.booted = new.id
    sysroot.write_boot_entries(host, state)
    sysroot.show_trees(host)
    host.save()
