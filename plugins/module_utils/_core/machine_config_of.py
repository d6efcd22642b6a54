# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back: a MachineConfig out of what a configuration was rendered to. Rendering it again comes to the same paths."""

from __future__ import annotations

import base64
import posixpath
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileType
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_d import parse_kargs_file
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_config import (
    KARGS_PATH,
    TMPFILES_PATH,
    PathOwner,
    RenderedPath,
    RenderedUnit,
    Rendering,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.tmpfiles_d import parse_tmpfiles

DOCUMENT = "00-rendered-config"
_KEY_FILES = ("/.ssh/authorized_keys", "/.ssh/authorized_keys.d/ignition")


def config_of(rendering: Rendering) -> list[tuple[str, Any]]:
    """Documents as `merge` takes them. Contents come from where they were rendered to: the image, tmpfiles.d, the host."""
    config = rendering.config
    of_units = {unit.origin for unit in config.units}
    plain = [file for file in config.files if file.origin is not None and file.origin not in of_units]
    contents = {**rendering.contents, **_made_at_boot(rendering)}
    homes = dict(config.var_links)
    users = {user: file for file in plain for user in [_user_of_keys(file, homes)] if user is not None}
    stored = [file for file in plain if file not in users.values()]
    ignition = {
        "ignition": {"version": "3.4.0"},
        "storage": {
            "files": [_file(one, contents[one.path]) for one in stored if one.type is FileType.FILE],
            "directories": [_directory(one) for one in stored if one.type is FileType.DIRECTORY],
            "links": [_link(one) for one in stored if one.type is FileType.LINK],
        },
        "systemd": {"units": [_unit(unit, rendering) for unit in config.units]},
        "passwd": {
            "users": [
                {"name": user, "sshAuthorizedKeys": contents[file.path].decode().splitlines()}
                for user, file in users.items()
            ]
        },
        "kernelArguments": {"shouldNotExist": list(config.kargs_absent)},
    }
    spec = {
        "config": ignition,
        "kernelArguments": _kernel_arguments(rendering),
        "kernelType": config.kernel_type,
        "extensions": list(config.extensions),
        "fips": config.fips,
        "osImageURL": config.os_image or "",
        "baseOSExtensionsContainerImage": config.extensions_image or "",
    }
    labels = {"machineconfiguration.openshift.io/role": config.role}
    document = {
        "apiVersion": "machineconfiguration.openshift.io/v1",
        "kind": "MachineConfig",
        "metadata": {"name": DOCUMENT, "labels": labels},
        "spec": spec,
    }
    return [(f"{DOCUMENT}.yaml", document)]


def _made_at_boot(rendering: Rendering) -> dict[str, bytes]:
    text = rendering.contents.get(TMPFILES_PATH, b"").decode()
    return {line.path: line.content for line in parse_tmpfiles(text) if not line.attributes_only}


def _kernel_arguments(rendering: Rendering) -> list[str]:
    text = rendering.contents.get(KARGS_PATH)
    return parse_kargs_file(text.decode())["kargs"] if text is not None else []


def _user_of_keys(file: RenderedPath, var_links: dict[str, str]) -> str | None:
    """Whose SSH keys a file of the host has; None for any other file. Such files are no secrets, unlike others with their mode."""
    if file.owner is not PathOwner.HOST or file.secret or file.mode != 0o600 or not file.path.endswith(_KEY_FILES):
        return None
    home = file.path.partition("/.ssh/")[0]
    if home == var_links.get("/root", "/root"):
        return "root"
    return posixpath.basename(home) if posixpath.dirname(home) == var_links.get("/home", "/home") else None


def _node(file: RenderedPath) -> dict[str, Any]:
    return {"path": file.path, "user": _account(file.user), "group": _account(file.group)}


def _account(account: int | str) -> dict[str, Any]:
    return {"id": account} if isinstance(account, int) else {"name": account}


def _file(file: RenderedPath, content: bytes) -> dict[str, Any]:
    source = "data:;base64," + base64.b64encode(content).decode()
    return {**_node(file), "mode": file.mode, "contents": {"source": source}}


def _directory(file: RenderedPath) -> dict[str, Any]:
    return {**_node(file), "mode": file.mode}


def _link(file: RenderedPath) -> dict[str, Any]:
    return {**_node(file), "target": file.target}


def _unit(unit: RenderedUnit, rendering: Rendering) -> dict[str, Any]:
    """A unit with its texts, wherever these are."""
    found: dict[str, Any] = {"name": unit.name}
    for state, value in (("enabled", unit.enabled), ("mask", unit.masked)):
        if value is not None:
            found[state] = value
    dropins = []
    for file in rendering.config.files:
        if file.origin != unit.origin or file.type is not FileType.FILE:
            continue
        text = rendering.contents[file.path].decode()
        name = posixpath.basename(file.path)
        if posixpath.basename(posixpath.dirname(file.path)) == f"{unit.name}.d":
            dropins.append({"name": name, "contents": text})
        else:
            found["contents"] = text
    return {**found, "dropins": dropins}
