# SPDX-License-Identifier: GPL-3.0-or-later
"""`bootc status`: the host as bootc 1.16.9 and 1.1.6 describe it, in JSON, YAML and for people."""

from __future__ import annotations

import hashlib
import json

from lab.simulators import sysroot
from lab.simulators.host import Host
from lab.simulators.image_reference import ImageSpec
from lab.simulators.state import Deployment

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from typing import Any

UNLOCKED = {
    "development": {"accessMode": "readWrite", "persistence": "transient"},
    "hotfix": {"accessMode": "readWrite", "persistence": "persistent"},
    "transient": {"accessMode": "readOnly", "persistence": "transient"},
}


def host_document(host: Host, *, booted_only: bool = False) -> dict[str, Any]:
    """The whole status with its keys in the order of bootc's structures (JSON of 1.5 and newer sorts them)."""
    version = host.version("bootc")
    status: dict[str, Any] = {"staged": None, "booted": None, "rollback": None}
    spec: dict[str, Any] = {"image": None, "bootOrder": "default"}
    queued = False
    if host.is_ostree:
        spec, queued = _fill_in_deployments(host, status)
    if booted_only and version >= (1, 1, 7):
        status["staged"] = status["rollback"] = None
    if version >= (0, 1, 10):
        status["rollbackQueued"] = queued
    else:
        del spec["bootOrder"]
    booted = status["booted"]
    if version >= (0, 1, 6):
        status["type"] = "bootcHost" if booted and booted["image"] else None
    else:
        status["isContainer"] = False
    if version >= (1, 14):
        status["usrOverlay"] = UNLOCKED.get(host.state.unlocked) if host.is_ostree else None
    if version >= (1, 16, 7):
        status["readOnly"] = host.fault("sysroot-read-only") is not None
    return {
        "apiVersion": "org.containers.bootc/v1" if version >= (0, 1, 15) else "org.containers.bootc/v1alpha1",
        "kind": "BootcHost",
        "metadata": {"name": "host"},
        "spec": spec,
        "status": status,
    }


def _fill_in_deployments(host: Host, status: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    staged, booted, rollback = host.staged, host.booted, sysroot.rollback_of(host)
    status["staged"] = _entry(host, staged) if staged else None
    status["booted"] = _entry(host, booted)
    status["rollback"] = _entry(host, rollback) if rollback else None
    shown = {booted.id, rollback.id if rollback else ""}
    others = [_entry(host, one) for one in host.state.deployments if one.id not in shown]
    if others and host.version("bootc") >= (1, 3):
        status["otherDeployments"] = others
    source = status["staged"] or status["booted"]
    image = source["image"]["image"] if source["image"] else None
    queued = sysroot.rollback_queued(host)
    order = "rollback" if queued and image else "default"
    return {"image": image, "bootOrder": order}, queued


def current_spec(host: Host) -> ImageSpec | None:
    """What `bootc switch` compares with and `bootc upgrade` follows: the staged image, else the booted one."""
    source = host.staged or host.booted
    if source.incompatible:
        return None
    return ImageSpec.parse_origin(str(source.origin.get("container", "")))


def _entry(host: Host, deployment: Deployment) -> dict[str, Any]:
    version = host.version("bootc")
    image = None if deployment.incompatible else sysroot.image_of(host, deployment)
    entry: dict[str, Any] = {"image": None}
    if version >= (0, 1, 6):
        entry["cachedUpdate"] = None
    if image is not None:
        spec, metadata = image
        entry["image"] = _image_status(spec, metadata, version)
        if metadata["cached_update"] and version >= (0, 1, 6):
            entry["cachedUpdate"] = _image_status(spec, metadata["cached_update"], version)
    entry["incompatible"] = deployment.incompatible
    entry["pinned"] = deployment.pinned
    if version >= (1, 7):
        entry["softRebootCapable"] = soft_reboot_capable(host, deployment)
    if version >= (1, 12):
        entry["downloadOnly"] = deployment.locked
    if version >= (0, 1, 14):
        entry["store"] = "ostreeContainer" if image is not None or version >= (1, 7) else None
    ostree = {"checksum": deployment.checksum, "deploySerial": deployment.serial}
    entry["ostree"] = {"stateroot": deployment.osname, **ostree} if version >= (1, 3) else ostree
    if version >= (1, 9):
        entry["composefs"] = None
    if host.is_composefs:
        entry["store"] = entry["ostree"] = None
        entry["composefs"] = _composefs(host, deployment)
    return entry


def _composefs(host: Host, deployment: Deployment) -> dict[str, Any]:
    """The key of a deployment of the composefs backend (bootc 1.16.9, spec.rs; not recorded)."""
    version = host.version("bootc")
    found: dict[str, Any] = {"verity": verity_of(host.commit(deployment)), "bootType": "Bls", "bootloader": "systemd"}
    if version >= (1, 11):
        found["bootDigest"] = sysroot.boot_checksum(host.tree(deployment))
    if version >= (1, 15, 2):
        found["missingVerityAllowed"] = False
    return found


def verity_of(metadata: dict[str, Any]) -> str:
    """The lab's fs-verity digest (128 hex digits) of an image: a function of its layers, as the real one of its files."""
    return hashlib.sha512("\n".join(layer["digest"] for layer in metadata["layers"]).encode()).hexdigest()


def soft_reboot_capable(host: Host, deployment: Deployment) -> bool:
    """Same kernel and same arguments as the booted deployment; the prerequisites of the target are not looked at."""
    booted = host.booted
    if deployment.machine_kargs() != booted.machine_kargs():
        return False
    if deployment.base == booted.base:
        return True
    return sysroot.boot_checksum(host.tree(deployment)) == sysroot.boot_checksum(host.tree(booted))


def _image_status(spec: ImageSpec, metadata: dict[str, Any], version: tuple[int, ...]) -> dict[str, Any]:
    image: dict[str, Any] = {"image": spec.image, "transport": spec.transport}
    if spec.signature is not None:
        kind, _separator, remote = spec.signature.partition(":")
        image["signature"] = {kind: remote} if remote else kind
    status = {
        "image": image,
        "version": metadata["version"],
        "timestamp": metadata["created"],
        "imageDigest": metadata["manifest_digest"],
    }
    if version >= (1, 1, 7):
        status["architecture"] = metadata["architecture"]
    return status


def as_json(document: dict[str, Any], version: tuple[int, ...]) -> str:
    """One line without a newline; keys are sorted since 1.5.0."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, sort_keys=version >= (1, 5))


def as_yaml(document: dict[str, Any]) -> str:
    return "\n".join(_yaml_lines(document, "")) + "\n"


def _yaml_lines(mapping: dict[str, Any], indent: str) -> list[str]:
    lines = []
    for key, value in mapping.items():
        if key == "signature" and isinstance(value, dict):
            name, content = next(iter(value.items()))
            lines.append(f"{indent}signature: !{name} {content}")
        elif isinstance(value, dict):
            lines += [f"{indent}{key}:", *_yaml_lines(value, indent + "  ")]
        elif isinstance(value, list):
            lines.append(f"{indent}{key}:")
            for item in value:
                first, *rest = _yaml_lines(item, indent + "  ")
                lines += [f"{indent}- {first.lstrip()}", *rest]
        else:
            lines.append(f"{indent}{key}: {_yaml_scalar(value)}")
    return lines


def _yaml_scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    plain = text.lstrip("+-").replace(".", "").replace("_", "").replace("e", "")
    if not text or plain.isdigit() or text.lower() in ("null", "true", "false", "yes", "no", "~"):
        return f"'{text}'"
    return text


def for_people(document: dict[str, Any], *, verbose: bool = False) -> str:
    """The humanreadable format, in the form recorded from bootc 1.16.9."""
    status = document["status"]
    if status["booted"] is None:
        return "System is not deployed via bootc.\n"
    blocks = []
    for mark, title, entry in (
        ("  ", "Staged", status["staged"]),
        ("● ", "Booted", status["booted"]),
        ("  ", "Rollback", status["rollback"]),
    ):
        if entry is not None:
            blocks.append(_human_block(mark, title, entry, verbose))
    return "\n".join(blocks)


def _human_block(mark: str, title: str, entry: dict[str, Any], verbose: bool) -> str:
    image = entry["image"]
    if image is None:
        head = [f"{mark}{title} ostree"]
        width = len(head[0])
        rows = [("Commit", entry["ostree"]["checksum"])]
    else:
        width = len(f"{mark}{title} image")
        head = [f"{mark}{title} image: {image['image']['image']}"]
        architecture = f" ({image['architecture']})" if "architecture" in image else ""
        rows = [("Digest", f"{image['imageDigest']}{architecture}")]
        if image["version"]:
            rows.append(("Version", f"{image['version']} ({image['timestamp']})"))
    if verbose:
        rows += [
            ("StateRoot", entry["ostree"].get("stateroot", "")),
            ("Deploy serial", str(entry["ostree"]["deploySerial"])),
            ("Staged", "yes" if title == "Staged" else "no"),
            ("Commit", entry["ostree"]["checksum"]),
            ("Soft-reboot", "yes" if entry.get("softRebootCapable") else "no"),
        ]
    if image is None:
        width += 2
    return "\n".join(head + [f"{name.rjust(width)}: {value}" for name, value in rows]) + "\n"
