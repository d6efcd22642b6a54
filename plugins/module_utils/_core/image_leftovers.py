# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build left in an image that no host should get: scratch files, logs, build repositories, credentials, an identity."""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileType, TreeEntry
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_finding import (
    CheckedImage,
    Finding,
    error,
    examples,
    warning,
)

CACHES = {
    "/var/cache/dnf": "dnf clean all",
    "/var/cache/libdnf5": "dnf clean all",
    "/var/cache/yum": "yum clean all",
    "/var/cache/apt": "apt-get clean",
    "/var/lib/apt/lists": "rm -rf /var/lib/apt/lists/*",
}
# what engines leave where they mounted something is empty, and is their business
ENGINE_FILES = frozenset({"/run/.containerenv", "/run/systemd/resolve/stub-resolv.conf"})
MACHINE_ID = "/etc/machine-id"
_UNSET = ("", "uninitialized")


@dataclass(frozen=True)
class _Credential:
    """Files that must not be in an image. `pattern` is of the name; `what` and `advice` are sentences."""

    check: str
    directory: str
    pattern: str
    what: str
    advice: str


_ENTITLEMENT = "Mount it for the step that needs it, by the option for entitlement, and do not copy it"
_CREDENTIALS = (
    _Credential(
        "entitlement", "/etc/pki/entitlement", "*", "a subscription's certificate or key is in the image", _ENTITLEMENT
    ),
    _Credential("entitlement", "/etc/pki/consumer", "*", "the build host's identity is in the image", _ENTITLEMENT),
    _Credential(
        "entitlement", "/run/secrets", "*", "a build secret was written here", "Read secrets where they are mounted"
    ),
    _Credential(
        "build-repositories",
        "/etc/yum.repos.d",
        "imagemode*.repo",
        "a repository that was meant for the build is in the image, and hosts would ask it",
        "Give repositories by the option for them, which mounts them, and do not copy them",
    ),
    _Credential(
        "ssh-host-keys",
        "/etc/ssh",
        "ssh_host_*_key",
        "every host with this image would have this private key, and so would everybody who can pull it",
        "Remove the ssh_host_* files in the step that installs the server: a host makes its own at boot",
    ),
)


def leftovers(image: CheckedImage) -> Iterator[Finding]:
    """What is left over. Empty files and directories below /run are where an engine mounts things, and are left out."""
    yield from _credentials(image)
    yield from _machine_id(image)
    yield from _scratch(image)


def _files(entries: list[TreeEntry]) -> list[TreeEntry]:
    return [entry for entry in entries if entry.type is FileType.FILE and entry.size]


def _credentials(image: CheckedImage) -> Iterator[Finding]:
    for kind in _CREDENTIALS:
        found = [
            entry.path
            for entry in image.added_below(kind.directory)
            if entry.type is not FileType.DIRECTORY
            and (entry.size or entry.type is not FileType.FILE)
            and fnmatch.fnmatchcase(posixpath.basename(entry.path), kind.pattern)
        ]
        if found:
            yield error(kind.check, found[0], f"{kind.what} ({examples(found)}). {kind.advice}.")


def _machine_id(image: CheckedImage) -> Iterator[Finding]:
    entry = image.tree.get(MACHINE_ID)
    if entry is None or entry.type is not FileType.FILE or not entry.size or not image.added(MACHINE_ID):
        return
    if image.content(MACHINE_ID).decode("utf-8", "replace").strip() not in _UNSET:
        yield error(
            "machine-id",
            MACHINE_ID,
            "it holds an id, which every host installed from this image would share, so that DHCP, the journal and clusters take "
            "them for one. Empty it in the last step that installs packages: `: > /etc/machine-id`.",
        )


def _scratch(image: CheckedImage) -> Iterator[Finding]:
    for directory in ("/run", "/tmp"):  # noqa: S108 # of the image
        found = [
            entry.path
            for entry in _files(image.added_below(directory))
            if entry.path not in ENGINE_FILES and not entry.path.startswith("/run/secrets/")
        ]
        if found:
            yield warning(
                "nonempty-run-tmp",
                directory,
                f"{examples(found)} will be hidden on a host, where this is in memory. Remove it in the step that makes it.",
            )
    found = [entry.path for entry in image.children("/var/tmp") if image.added(entry.path)]  # noqa: S108
    if found:
        yield warning("var-tmp", "/var/tmp", f"{examples(found)} is left over. Remove it in the step that makes it.")  # noqa: S108
    for directory, command in CACHES.items():
        files = _files(image.added_below(directory))
        size = sum(entry.size for entry in files)
        if files:
            yield warning(
                "package-cache",
                directory,
                f"{len(files)} files of a package cache, {size / 1e6:.1f} MB, travel with the image. "
                f"End the step that installs packages with `&& {command}`.",
            )
    logs = [entry.path for entry in _files(image.added_below("/var/log"))]
    if logs:
        yield warning(
            "var-log",
            "/var/log",
            f"logs of the build are in the image: {examples(logs)}. They make every build differ and tell of the build host. "
            "Remove them in the step that writes them: `rm -rf /var/log/*`.",
        )
