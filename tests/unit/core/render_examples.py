# SPDX-License-Identifier: GPL-3.0-or-later
"""Configurations made by hand, as the tests of rendering need them."""

from __future__ import annotations

from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.config_render import RenderOptions, render
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config import (
    ConfigDirectory,
    ConfigFile,
    ConfigLink,
    ConfigUnit,
    DropIn,
    MergedConfig,
    Origin,
    SshKeys,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.path_owner import OwnerRules
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rendered_config import RenderedPath, Rendering

SERVICE = "[Service]\nExecStart=/usr/bin/true\n[Install]\nWantedBy=multi-user.target\n"
PEM = b"-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\n"


def origin(field: str) -> Origin:
    return Origin("50-worker", f"spec.config.{field}")


def file(path: str, content: bytes | str = b"x\n", mode: int = 0o644, **more: Any) -> ConfigFile:
    data = content.encode() if isinstance(content, str) else content
    return ConfigFile(path, data, mode, more.get("user"), more.get("group"), origin(f"storage.files[{path}]"))


def directory(path: str, mode: int = 0o755, **more: Any) -> ConfigDirectory:
    return ConfigDirectory(path, mode, more.get("user"), more.get("group"), origin(f"storage.directories[{path}]"))


def link(path: str, target: str, hard: bool = False, **more: Any) -> ConfigLink:
    return ConfigLink(path, target, hard, more.get("user"), more.get("group"), origin(f"storage.links[{path}]"))


def unit(
    name: str,
    contents: str | None = None,
    *,
    enabled: bool | None = None,
    mask: bool | None = None,
    dropins: dict[str, str] | None = None,
) -> ConfigUnit:
    drops = tuple(DropIn(drop, text) for drop, text in (dropins or {}).items())
    return ConfigUnit(name, contents, enabled, mask, drops, origin(f"systemd.units[{name}]"))


def keys(user: str, *values: str) -> SshKeys:
    return SshKeys(user, values, origin("passwd.users[0]"))


def config(*items: ConfigFile | ConfigDirectory | ConfigLink | ConfigUnit | SshKeys, **more: Any) -> MergedConfig:
    return MergedConfig(
        role=more.pop("role", "worker"),
        sources=("50-worker",),
        files=tuple(item for item in items if isinstance(item, ConfigFile)),
        directories=tuple(item for item in items if isinstance(item, ConfigDirectory)),
        links=tuple(item for item in items if isinstance(item, ConfigLink)),
        units=tuple(item for item in items if isinstance(item, ConfigUnit)),
        ssh_keys=tuple(item for item in items if isinstance(item, SshKeys)),
        **more,
    )


def rendered(*items: Any, rules: OwnerRules | None = None, **more: Any) -> Rendering:
    return render(config(*items, **more), RenderOptions(rules or OwnerRules()))


def path_of(rendering: Rendering, path: str) -> RenderedPath:
    """The entry of a path. Fails where it is not there."""
    found = {entry.path: entry for entry in rendering.config.files}
    assert path in found, f"{path} is not among {sorted(found)}"
    return found[path]
