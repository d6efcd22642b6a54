# SPDX-License-Identifier: GPL-3.0-or-later
"""`rpm-ostree status`, as rpm-ostree 2026.2 prints it for people and as JSON."""

from __future__ import annotations

import json

from lab.simulators import sysroot, sysroot_lock
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
    return {
        "deployments": deployments,
        "transaction": transaction,
        "cached-update": host.state.cached_update,
        "update-driver": None,
    }


def _deployment(host: Host, one: Deployment) -> dict[str, Any]:
    booted = one.id == host.state.booted
    metadata = host.commit(one)
    staged = host.staged
    is_staged = staged is not None and staged.id == one.id
    requested = list(one.origin.get("packages", []))
    entry: dict[str, Any] = {
        "unlocked": host.state.unlocked if booted else "none",
        "requested-local-packages": list(one.origin.get("local-packages", [])),
        "base-commit-meta": _base_commit_meta(metadata),
        "base-removals": [],
        "pinned": one.pinned,
        "osname": one.osname,
        "base-remote-replacements": {},
        "regenerate-initramfs": bool(one.origin.get("regenerate-initramfs")),
        "checksum": one.checksum,
        "requested-base-local-replacements": [],
        "id": one.id,
        "version": metadata["version"],
        "requested-local-fileoverride-packages": [],
        "requested-base-removals": [],
        "requested-packages": requested,
        "serial": one.serial,
        "timestamp": metadata["timestamp"],
        "staged": is_staged,
        "booted": booted,
        "packages": requested if one.base != one.checksum else [],
        "base-local-replacements": [],
    }
    if "refspec" in one.origin:
        entry |= {"origin": one.origin["refspec"], "gpg-enabled": False}
    else:
        entry |= {
            "container-image-reference": one.origin["container"],
            "container-image-reference-digest": metadata["manifest_digest"],
        }
    if one.base != one.checksum:
        entry |= _layered(one, metadata)
    if booted and host.state.live_replaced:
        entry["live-replaced"] = host.state.live_replaced
    if is_staged and host.resolve("/run/ostree/staged-deployment-locked") is not None:
        entry["finalization-locked"] = True  # the legacy file is what is looked at, whatever the real lock is
    if entry["version"] is None:
        del entry["version"]
    return {key: entry[key] for key in KEYS if key in entry}


def _base_commit_meta(metadata: dict[str, Any]) -> dict[str, Any]:
    if "manifest" not in metadata:
        return {
            "ostree.linux": "6.12.0-1.lab",
            "version": metadata["version"],
            "ostree.bootable": True,
            "ostree.ref-binding": ["labos/stable/base"],
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


def for_people(host: Host, *, booted_only: bool = False) -> str:
    running = sysroot_lock.running_transaction(host)
    lines = ["State: busy" if running else "State: idle"]
    if running:
        lines.append(f"Transaction: {running['title']} ")
        lines.append(f"  Initiator: client(id:cli dbus:{running['sender'].lstrip(':')} unit:sshd.service uid:0)")
    if host.state.finalize_failure:
        lines.append("Warning: failed to finalize previous deployment")
        lines.append(f"         error: {host.state.finalize_failure}")
        lines.append("         check `journalctl -b -1 -u ostree-finalize-staged.service`")
    lines.append("BootedDeployment:" if booted_only else "Deployments:")
    shown = [one for one in sysroot.all_deployments(host) if not booted_only or one.id == host.state.booted]
    blocks = ["\n".join(_block(host, one)) for one in shown]
    return "\n".join(lines) + "\n" + "\n\n".join(blocks) + "\n"


def _block(host: Host, one: Deployment) -> list[str]:
    booted = one.id == host.state.booted
    metadata = host.commit(one)
    name = one.origin.get("refspec") or one.origin["container"]
    rows: list[tuple[str, str]] = []
    if "container" in one.origin:
        rows.append(("Digest", metadata["manifest_digest"]))
    rows.append(("Version", f"{metadata['version']} ({metadata['created']})"))
    packages = one.origin.get("packages", [])
    if "refspec" in one.origin:
        rows.append(("Commit" if one.base == one.checksum else "BaseCommit", one.base))
    if booted and host.state.live_replaced:
        rows.append(("LiveCommit", host.state.live_replaced))
    if packages and one.base != one.checksum and not booted:
        rows.append(("Diff", f"{len(packages)} added"))
    if packages:
        rows.append(("LayeredPackages", " ".join(packages)))
    if booted and host.state.unlocked != "none":
        rows.append(("Unlocked", host.state.unlocked))
    if one.pinned:
        rows.append(("Pinned", "yes"))
    return [f"{'●' if booted else ' '} {name}", *(f"{title.rjust(25)}: {value}" for title, value in rows)]
