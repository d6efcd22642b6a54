# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image-mode host is in: one immutable picture, whichever tool described it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    ImageReference,
    Signature,
    short_digest,
)


class Tool(str, Enum):
    """What acts on a node."""

    BOOTC = "bootc"
    RPM_OSTREE = "rpm-ostree"


class Slot(str, Enum):
    """A deployment's place in the order of boots."""

    STAGED = "staged"
    BOOTED = "booted"
    ROLLBACK = "rollback"


class RebootKind(str, Enum):
    """The least reboot that puts the next deployment in charge."""

    SOFT = "soft"
    FULL = "full"


@dataclass(frozen=True)
class DeployedImage:
    """The container image of a deployment.

    `digest` is the manifest digest for the node's architecture, never that of an index: both tools resolve the index
    before they pull (recorded, bootc 1.16.9 and rpm-ostree 2026.2).
    """

    reference: ImageReference
    signature: Signature
    digest: str | None
    version: str | None = None
    timestamp: str | None = None
    architecture: str | None = None

    def describe(self) -> str:
        """Repository and tag, version and short digest, as far as known: `example.com/os:v1 2.0 (sha256:0123456789ab)`."""
        words = [self.reference.without_digest]
        if self.version and self.version != self.reference.tag:
            words.append(self.version)
        if self.digest:
            words.append(f"({short_digest(self.digest)})")
        return " ".join(words)

    def as_dict(self) -> dict[str, Any]:
        """The public shape, as documented for `image_mode_info`."""
        return {
            "reference": self.reference.text or self.reference.canonical,
            "transport": self.reference.transport.value,
            "signature": str(self.signature),
            "digest": self.digest,
            "version": self.version,
            "timestamp": self.timestamp,
            "architecture": self.architecture,
        }


@dataclass(frozen=True)
class LocalChanges:
    """Requested state that makes a host differ from its image; only rpm-ostree can name it.

    `known` is False where bootc said `incompatible` and rpm-ostree was not asked or not there.
    """

    packages: tuple[str, ...] = ()
    removals: tuple[str, ...] = ()
    replacements: tuple[str, ...] = ()
    initramfs: bool = False
    cliwrap: bool = False
    known: bool = True

    def __bool__(self) -> bool:
        return not self.known or bool(
            self.packages or self.removals or self.replacements or self.initramfs or self.cliwrap
        )

    def describe(self) -> str:
        """A sentence part that names every change."""
        if not self.known:
            return "local changes that only rpm-ostree could name"
        parts = []
        if self.packages:
            parts.append("layered packages " + ", ".join(self.packages))
        if self.removals:
            parts.append("removed base packages " + ", ".join(self.removals))
        if self.replacements:
            parts.append("replaced base packages " + ", ".join(self.replacements))
        if self.initramfs:
            parts.append("a locally generated initramfs")
        if self.cliwrap:
            parts.append("cliwrap")
        return "; ".join(parts) or "none"

    def as_dict(self) -> dict[str, Any]:
        """The public shape, as documented for `image_mode_info`."""
        return {
            "packages": list(self.packages),
            "removals": list(self.removals),
            "replacements": list(self.replacements),
            "initramfs": self.initramfs,
            "cliwrap": self.cliwrap,
            "known": self.known,
        }


NO_LOCAL_CHANGES = LocalChanges()
UNKNOWN_LOCAL_CHANGES = LocalChanges(known=False)


@dataclass(frozen=True)
class Deployment:
    """One bootable root: an image, or a plain ostree commit where `image` is None.

    `download_only`: staged, but locked, so a reboot discards it. `composefs` is True for hosts of bootc's composefs
    backend, which have neither `checksum` nor `serial`. `base_checksum`: the commit below layered packages; `below`: the image
    of that commit, where bootc calls a deployment with local changes one without an image and rpm-ostree knows better.
    """

    image: DeployedImage | None
    checksum: str | None
    serial: int | None
    stateroot: str | None = None
    origin: str | None = None
    version: str | None = None
    pinned: bool = False
    download_only: bool = False
    soft_reboot_capable: bool = False
    composefs: bool = False
    local_changes: LocalChanges = NO_LOCAL_CHANGES
    cached_update: str | None = None
    base_checksum: str | None = None
    below: DeployedImage | None = None

    @property
    def digest(self) -> str | None:
        """The digest of the image, None for a plain ostree commit."""
        return self.image.digest if self.image else None

    def describe(self) -> str:
        """The deployment in a few words: image, version and short digest, or its commit."""
        if self.image:
            return self.image.describe()
        if self.local_changes and not self.origin:
            return f"a deployment with {self.local_changes.describe()} (ostree commit {self.checksum})"
        return f"ostree commit {self.checksum}" + (f" of {self.origin}" if self.origin else "")

    def as_dict(self) -> dict[str, Any]:
        """The public shape, as documented for `image_mode_info`."""
        return {
            "image": self.image.as_dict() if self.image else None,
            "digest": self.digest,
            "checksum": self.checksum,
            "serial": self.serial,
            "stateroot": self.stateroot,
            "origin": self.origin,
            "version": self.version,
            "pinned": self.pinned,
            "download_only": self.download_only,
            "soft_reboot_capable": self.soft_reboot_capable,
            "composefs": self.composefs,
            "local_changes": self.local_changes.as_dict(),
            "cached_update": self.cached_update,
        }


@dataclass(frozen=True)
class Transaction:
    """A running rpm-ostree transaction. bootc has no such record: None never proves that a host is idle."""

    method: str
    detail: str = ""

    def as_dict(self) -> dict[str, str]:
        """The public shape, as documented for `image_mode_info`."""
        return {"method": self.method, "detail": self.detail}


@dataclass(frozen=True)
class HostState:
    """One host at one moment.

    `kargs_next` is None where nobody on the host could tell it. `unlocked` is `none`, `development`, `hotfix` or
    `transient`. `live_replaced` is the commit that was applied live, so that /usr is not that of the booted deployment;
    only rpm-ostree tells it. `updaters` are active units that update the host on their own, where they were asked
    for. `tool` is None on a host that is not image-mode, and then every deployment is None as well.
    """

    tool: Tool | None
    booted: Deployment | None = None
    staged: Deployment | None = None
    rollback: Deployment | None = None
    others: tuple[Deployment, ...] = ()
    rollback_queued: bool = False
    unlocked: str = "none"
    live_replaced: str | None = None
    read_only: bool = False
    transaction: Transaction | None = None
    update_driver: str | None = None
    updaters: tuple[str, ...] = ()
    bootc_version: str | None = None
    rpm_ostree_version: str | None = None
    boot_id: str | None = None
    kargs_booted: tuple[str, ...] | None = None
    kargs_next: tuple[str, ...] | None = None

    @property
    def image_mode(self) -> bool:
        """Whether the host was booted by ostree or by bootc's composefs backend."""
        return self.booted is not None

    @property
    def next_slot(self) -> Slot | None:
        """What boots next: an unlocked staged deployment, else a queued rollback, else what is booted.

        A staged deployment wins over a queued rollback although bootc goes on saying `rollbackQueued: true`
        (recorded, bootc 1.16.9).
        """
        if self.booted is None:
            return None
        if self.staged is not None and not self.staged.download_only:
            return Slot.STAGED
        if self.rollback_queued:
            return Slot.ROLLBACK
        return Slot.BOOTED

    @property
    def next(self) -> Deployment | None:
        """The deployment of `next_slot`."""
        slot = self.next_slot
        return (
            None
            if slot is None
            else {Slot.STAGED: self.staged, Slot.ROLLBACK: self.rollback, Slot.BOOTED: self.booted}[slot]
        )

    @property
    def reboot_required(self) -> bool:
        """Whether something other than the booted deployment boots next."""
        return self.next_slot not in (None, Slot.BOOTED)

    @property
    def reboot_kind(self) -> RebootKind | None:
        """The least reboot that is known to do; None when none is required.

        bootc's `softRebootCapable` alone is not believed outside the composefs backend: there a soft reboot was refused
        although the field was true (recorded, bootc 1.16.9).
        """
        following = self.next
        if not self.reboot_required or following is None:
            return None
        return RebootKind.SOFT if following.soft_reboot_capable and following.composefs else RebootKind.FULL

    def as_dict(self) -> dict[str, Any]:
        """The public shape, as documented for `image_mode_info`."""
        return {
            "tool": self.tool.value if self.tool else None,
            "image_mode": self.image_mode,
            "versions": {"bootc": self.bootc_version, "rpm_ostree": self.rpm_ostree_version},
            "booted": self.booted.as_dict() if self.booted else None,
            "staged": self.staged.as_dict() if self.staged else None,
            "rollback": self.rollback.as_dict() if self.rollback else None,
            "others": [deployment.as_dict() for deployment in self.others],
            "next": self.next_slot.value if self.next_slot else None,
            "rollback_queued": self.rollback_queued,
            "unlocked": self.unlocked,
            "live_replaced": self.live_replaced,
            "read_only": self.read_only,
            "transaction": self.transaction.as_dict() if self.transaction else None,
            "update_driver": self.update_driver,
            "updaters": list(self.updaters),
            "boot_id": self.boot_id,
            "kargs": {
                "booted": None if self.kargs_booted is None else list(self.kargs_booted),
                "next": None if self.kargs_next is None else list(self.kargs_next),
            },
            **self.reboot_facts(),
        }

    def reboot_facts(self) -> dict[str, Any]:
        """Whether a reboot is required and which, as every module returns it."""
        kind = self.reboot_kind
        return {"reboot_required": self.reboot_required, "reboot_kind": kind.value if kind else None}


def describe(deployment: Deployment | None) -> str:
    """A deployment in a few words, `nothing` for None."""
    return deployment.describe() if deployment else "nothing"
