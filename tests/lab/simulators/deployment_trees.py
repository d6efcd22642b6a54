# SPDX-License-Identifier: GPL-3.0-or-later
"""/ostree/deploy on a node: the trees of all deployments, the staged one included, and their origin files.

The trees are shared by the nodes of a lab, so what stands in a node's /sysroot are links out of it. Whether
a deployment is there at all is decided by the node's ``deploy/`` directory.
"""

from __future__ import annotations

import os
import shutil

from lab.simulators.host import MACHINE, Host
from lab.simulators.state import Deployment


def refresh(host: Host, deployments: list[Deployment]) -> None:
    """Make /sysroot/ostree/deploy show these deployments, and nothing of those whose directory is gone."""
    for one in deployments:
        directory = _directory(host, one)
        _link(MACHINE + os.path.join(host.tree(one), "usr"), os.path.join(directory, "usr"))
        if os.path.isdir(host.etc(one)):  # /etc comes into being when a staged deployment is finalized
            _link(MACHINE + host.etc(one), os.path.join(directory, "etc"))
        with open(f"{directory}.origin", "w", encoding="utf-8") as handle:
            handle.write(origin_file(one))
    _delete_gone(host)


def _directory(host: Host, one: Deployment) -> str:
    stateroot = host.path("sysroot", "ostree", "deploy", one.osname)
    directory = os.path.join(stateroot, "deploy", one.directory)
    if not os.path.isdir(directory):
        os.makedirs(directory)
        _link("/var", os.path.join(stateroot, "var"))
        os.symlink("sysroot/ostree", os.path.join(directory, "ostree"))
    return directory


def _delete_gone(host: Host) -> None:
    top = host.path("sysroot", "ostree", "deploy")
    present = set(os.listdir(host.path("deploy")))
    for stateroot in os.listdir(top):
        parent = os.path.join(top, stateroot, "deploy")
        for name in os.listdir(parent):
            if name.removesuffix(".origin") in present:
                continue
            path = os.path.join(parent, name)
            if name.endswith(".origin"):
                os.unlink(path)
            else:
                shutil.rmtree(path)


def _link(target: str, place: str) -> None:
    if not os.path.islink(place):
        os.symlink(target, place)
    elif os.readlink(place) != target:
        os.unlink(place)
        os.symlink(target, place)


def origin_file(one: Deployment) -> str:
    """The keyfile beside a deployment (rpm-ostree 2026.2, rust/src/origin.rs): groups without keys are not written."""
    origin = one.origin
    source: dict[str, object] = {}
    if "container" in origin:
        source["container-image-reference"] = origin["container"]
    elif one.incompatible:
        source["baserefspec"] = origin["refspec"]
    else:
        source["refspec"] = origin["refspec"]
    for key in ("override-commit", "custom-url", "custom-description"):
        if origin.get(key):
            source[key] = origin[key]
    groups: dict[str, dict[str, object]] = {
        "origin": source,
        "packages": {"requested": origin.get("packages"), "requested-local": origin.get("local-packages")},
        "overrides": {
            "remove": origin.get("override-remove"),
            "replace-local": origin.get("override-replace-local"),
        },
        "rpmostree": {
            "regenerate-initramfs": origin.get("regenerate-initramfs"),
            "initramfs-args": origin.get("initramfs-args"),
            "initramfs-etc": origin.get("initramfs-etc"),
            "ex-cliwrap": origin.get("cliwrap"),
        },
        "libostree-transient": {"pinned": one.pinned},
    }
    return "\n".join(block for name, keys in groups.items() if (block := _group(name, keys)))


def _group(name: str, keys: dict[str, object]) -> str:
    lines = [f"{key}={_value(value)}\n" for key, value in keys.items() if value]
    return f"[{name}]\n{''.join(lines)}" if lines else ""


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true"
    return "".join(f"{item};" for item in value) if isinstance(value, list) else str(value)
