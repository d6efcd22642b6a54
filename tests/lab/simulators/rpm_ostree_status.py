# SPDX-License-Identifier: GPL-3.0-or-later
"""`rpm-ostree status --json`, as rpm-ostree 2026.2 and 2024.6 print it."""

from __future__ import annotations

import json

from lab.simulators import layering, rpm_ostree_driver, sysroot, sysroot_lock
from lab.simulators import package_repository as packages
from lab.simulators.host import Host
from lab.simulators.state import Deployment

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from typing import Any

IMPORTER_VERSION = "0.15.3"
# The order of GLib's hash table, from recordings; nothing may depend on it.
KEYS = (
    *("unlocked", "pending-base-version", "requested-local-packages", "base-commit-meta", "base-removals"),
    *("gpg-enabled", "pinned", "osname", "base-remote-replacements", "origin", "regenerate-initramfs", "checksum"),
    *("container-image-reference-digest", "requested-base-local-replacements", "id", "version", "base-version"),
    *("requested-local-fileoverride-packages", "finalization-locked", "base-checksum", "requested-base-removals"),
    *("requested-packages", "serial", "live-replaced", "base-timestamp", "timestamp", "staged", "booted"),
    *("layered-commit-meta", "container-image-reference", "packages", "base-local-replacements"),
)


def document(host: Host, *, booted_only: bool = False) -> dict[str, Any]:
    deployments = [
        _deployment(host, one)
        for one in sysroot.all_deployments(host)
        if not booted_only or one.id == host.state.booted
    ]
    running = sysroot_lock.running_transaction(host)
    transaction = None
    if running is not None:
        path = f"/org/projectatomic/rpmostree1/{host.state.stateroot}"
        transaction = [running["method"], running["sender"], path]
    driver = rpm_ostree_driver.registered(host)
    return {
        "deployments": deployments,
        "transaction": transaction,
        "cached-update": cached_update(host),
        "update-driver": {"driver-name": driver.name, "driver-sd-unit": driver.unit} if driver else None,
    }


def cached_update(host: Host) -> dict[str, Any] | None:
    """What the last check found, while it still speaks of the booted deployment."""
    found = host.state.cached_update
    return found if found and found["update-sha256"] == host.booted.checksum else None


def _deployment(host: Host, one: Deployment) -> dict[str, Any]:
    booted = one.id == host.state.booted
    metadata = host.commit(one)
    staged = host.staged
    is_staged = staged is not None and staged.id == one.id
    entry: dict[str, Any] = {
        "unlocked": host.state.unlocked if booted else "none",
        "base-commit-meta": _base_commit_meta(one, metadata),
        "pinned": one.pinned,
        "osname": one.osname,
        "checksum": one.checksum,
        "id": one.id,
        "version": metadata["version"],
        "serial": one.serial,
        "timestamp": metadata["timestamp"],
        "staged": is_staged,
        "booted": booted,
    }
    entry |= _local_changes(host, one) | _source(host, one, metadata)
    if host.version("rpm-ostree") < (2024, 7):
        entry |= {"requested-modules": [], "requested-modules-enabled": [], "modules": []}
    if one.base != one.checksum:
        entry |= _layered(one, metadata)
    if booted and host.state.live_replaced:
        entry["live-replaced"] = host.state.live_replaced
    if is_staged and host.resolve("/run/ostree/staged-deployment-locked") is not None:
        entry["finalization-locked"] = True  # the legacy file is what is looked at, whatever the real lock is
    if entry["version"] is None:
        del entry["version"]
    return {key: entry[key] for key in (*KEYS, *sorted(set(entry) - set(KEYS))) if key in entry}


def _source(host: Host, one: Deployment, metadata: dict[str, Any]) -> dict[str, Any]:
    """What the deployment follows, and what is known of newer commits of an ostree ref."""
    if "container" in one.origin:
        entry = {
            "container-image-reference": one.origin["container"],
            "container-image-reference-digest": metadata["manifest_digest"],
        }
        if one.origin.get("custom-url"):
            entry["custom-origin"] = [one.origin["custom-url"], one.origin["custom-description"]]
        return entry
    entry = {"origin": one.origin["refspec"], "gpg-enabled": False}
    newest = host.state.refs.get(one.origin["refspec"])
    if newest is not None and newest != one.base and newest in host.state.commits:
        commit = host.state.commits[newest]
        entry |= {"pending-base-checksum": newest, "pending-base-timestamp": commit["timestamp"]}
        if commit["version"] is not None:
            entry["pending-base-version"] = commit["version"]
    return entry


def _local_changes(host: Host, one: Deployment) -> dict[str, Any]:
    """What the origin asks for, and what of that is applied. Packages that the image has too are requested only."""
    origin, in_image = one.origin, packages.of_image(host, one.base)
    removed, replaced = origin.get("override-remove", []), origin.get("override-replace-local", [])
    entry: dict[str, Any] = {
        "requested-packages": list(origin.get("packages", [])),
        "requested-local-packages": list(origin.get("local-packages", [])),
        "requested-local-fileoverride-packages": [],
        "requested-base-removals": list(removed),
        "requested-base-local-replacements": list(replaced),
        "packages": layering.active(host, one.base, origin) if one.base != one.checksum else [],
        "base-removals": [_nevra(nevra) for nevra in in_image if packages.name_of(nevra) in removed],
        "base-local-replacements": [
            [_nevra(new), _nevra(old)]
            for new in replaced
            for old in in_image
            if packages.name_of(old) == packages.name_of(new)
        ],
        "base-remote-replacements": {},
        "regenerate-initramfs": bool(origin.get("regenerate-initramfs")),
    }
    for key in ("initramfs-args", "initramfs-etc"):
        if origin.get(key):
            entry[key] = list(origin[key])
    if origin.get("cliwrap"):
        entry["cliwrap"] = True
    return entry


def _nevra(nevra: str) -> list[Any]:
    name, version, rest = nevra.rsplit("-", 2)
    release, _separator, arch = rest.rpartition(".")
    return [nevra, name, 0, version, release, arch]


def _base_commit_meta(one: Deployment, metadata: dict[str, Any]) -> dict[str, Any]:
    if "manifest" not in metadata:
        return {
            "ostree.linux": "6.12.0-1.lab",
            "version": metadata["version"],
            "ostree.bootable": True,
            "ostree.ref-binding": [str(one.origin.get("refspec", "")).rpartition(":")[2]],
        }
    meta = {
        "ostree.manifest-digest": metadata["manifest_digest"],
        "ostree.manifest": metadata["manifest"],
        "ostree.container.image-config": metadata["config"],
        "ostree.importer.version": IMPORTER_VERSION,
    }
    if len(metadata["layers"]) > metadata["chunks"]:
        meta["ostree.tar-filtered"] = "{}"
    return meta


def _layered(one: Deployment, metadata: dict[str, Any]) -> dict[str, Any]:
    extra = {
        "base-checksum": one.base,
        "base-timestamp": metadata["timestamp"],
        "layered-commit-meta": {
            "rpmostree.clientlayer": True,
            "rpmostree.clientlayer_version": 6,
            "rpmostree.state-sha512": (one.checksum * 2),
            "ostree.bootable": True,
        },
    }
    if metadata["version"] is not None and "refspec" in one.origin:
        extra["base-version"] = metadata["version"]
    return extra


def as_json(value: Any) -> str:
    """JSON as json-glib prints it: two blanks, ` : `, and empty objects with the indentation inside."""
    return _pretty(value, "") + "\n"


def _pretty(value: Any, indent: str) -> str:
    inner = indent + "  "
    if isinstance(value, dict):
        if not value:
            return "{" + indent + "}"
        items = [f"{inner}{json.dumps(key)} : {_pretty(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}"
    if isinstance(value, list):
        if not value:
            return "[]"
        return "[\n" + ",\n".join(inner + _pretty(item, inner) for item in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)
