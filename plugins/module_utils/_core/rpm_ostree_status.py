# SPDX-License-Identifier: GPL-3.0-or-later
"""`rpm-ostree status --json` to HostState (fields: rpm-ostree rust/src/daemon.rs, src/daemon/rpmostreed-deployment-utils.cxx)."""

from __future__ import annotations

import json
from datetime import datetime, timezone

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import (
    DeployedImage,
    Deployment,
    HostState,
    LocalChanges,
    Tool,
    Transaction,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    UNVERIFIED,
    ImageReference,
    InvalidReference,
    parse_ostree_reference,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.status_json import Fields, decode


def parse_rpm_ostree_status(text: str) -> HostState:
    """HostState from what `rpm-ostree status --json` printed. Raises StatusNotUnderstood.

    The array is in boot order: a staged deployment comes first, and a first one that is neither staged nor booted is a
    queued rollback. A lock on a staged deployment cannot be told from it since rpm-ostree 2024.6, so `download_only`
    is only ever True where the key says so.
    """
    document = decode("rpm-ostree status", text)
    entries = document.objects("deployments")
    deployments = [_deployment(entry) for entry in entries]
    booted_at = next((index for index, entry in enumerate(entries) if entry.flag("booted")), None)
    if booted_at is None:
        raise document.complain("deployments", "has no booted deployment.")
    booted = deployments[booted_at]
    staged_at = next((index for index, entry in enumerate(entries) if entry.flag("staged")), None)
    if staged_at:
        raise document.complain(
            "deployments", "has a staged deployment that is not the first: what boots next is not known."
        )
    queued_at = next((index for index in range(booted_at) if index != staged_at), None)
    later = range(booted_at + 1, len(entries))
    rollback_at = (
        queued_at
        if queued_at is not None
        else next((i for i in later if deployments[i].stateroot == booted.stateroot), None)
    )
    named = {booted_at, staged_at, rollback_at}
    driver = document.object("update-driver")
    return HostState(
        tool=Tool.RPM_OSTREE,
        booted=booted,
        staged=None if staged_at is None else deployments[staged_at],
        rollback=None if rollback_at is None else deployments[rollback_at],
        others=tuple(deployment for index, deployment in enumerate(deployments) if index not in named),
        rollback_queued=queued_at is not None,
        unlocked=entries[booted_at].text("unlocked") or "none",
        live_replaced=entries[booted_at].text("live-replaced"),
        transaction=_transaction(document),
        update_driver=driver.text("driver-name") if driver else None,
    )


def _deployment(entry: Fields) -> Deployment:
    return Deployment(
        image=_image(entry),
        checksum=entry.text("checksum"),
        serial=entry.number("serial"),
        stateroot=entry.text("osname"),
        origin=entry.text("origin"),
        version=entry.text("version"),
        pinned=entry.flag("pinned"),
        download_only=entry.flag("finalization-locked"),
        local_changes=_local_changes(entry),
        base_checksum=entry.text("base-checksum"),
    )


def _image(entry: Fields) -> DeployedImage | None:
    text = entry.text("container-image-reference")
    if text is None:
        return None
    try:
        signed = parse_ostree_reference(text)
        reference, signature = signed.reference, signed.signature
    except InvalidReference:
        # The host runs it, so it is a fact; it equals nothing that can be asked for.
        reference, signature = ImageReference(name=text, text=text), UNVERIFIED
    return DeployedImage(
        reference=reference,
        signature=signature,
        digest=_digest(entry),
        version=entry.text("version"),
        timestamp=_timestamp(entry),
    )


def _digest(entry: Fields) -> str | None:
    """rpm-ostree before 2021.9 did not print the digest, but the commit has always had it (recorded, 2026.2: they are the same)."""
    meta = entry.object("base-commit-meta")
    return entry.text("container-image-reference-digest") or (meta.text("ostree.manifest-digest") if meta else None)


def _timestamp(entry: Fields) -> str | None:
    seconds = entry.number("timestamp")
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        raise entry.complain("timestamp", f"is {str(seconds)[:40]}, which is no time.") from None


def _local_changes(entry: Fields) -> LocalChanges:
    """What was *requested*, as bootc counts it: an inactive request makes a host incompatible too (bootc crates/lib/src/utils.rs)."""
    packages = (
        entry.texts("requested-packages")
        + entry.texts("requested-local-packages")
        + entry.texts("requested-local-fileoverride-packages")
        + entry.texts("requested-modules")
        + entry.texts("requested-modules-enabled")
    )
    return LocalChanges(
        packages=packages,
        removals=entry.texts("requested-base-removals"),
        replacements=entry.texts("requested-base-local-replacements") + _remote_replacements(entry),
        initramfs=entry.flag("regenerate-initramfs") or bool(entry.any("initramfs-args") or entry.any("initramfs-etc")),
        cliwrap=entry.flag("cliwrap"),
    )


def _remote_replacements(entry: Fields) -> tuple[str, ...]:
    """A list in some versions, an object of lists by source in others. Of an unknown shape, whatever is there counts as one."""
    value = entry.any("requested-base-remote-replacements")
    groups = value.values() if isinstance(value, dict) else [value]
    packages = [package for group in groups for package in (group if isinstance(group, list) else [group])]
    return tuple(package if isinstance(package, str) else json.dumps(package) for package in packages if package)


def _transaction(document: Fields) -> Transaction | None:
    parts = document.texts("transaction")
    if not parts:
        return None
    return Transaction(method=parts[0], detail=" ".join(parts[1:]))
