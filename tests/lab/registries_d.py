# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's /etc/containers/registries.d: whether a scope has sigstore attachments, and where its GPG signatures lie."""

from __future__ import annotations

import json
import os

from lab.pull_error import PullError
from lab.simulators.host import Host

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

DIRECTORY = "/etc/containers/registries.d"


def settings_for(host: Host, scopes: Sequence[str]) -> dict[str, Any]:
    """``use-sigstore-attachments``, ``lookaside``, … of the first scope that is configured, else the default's.

    Raises PullError for a file that cannot be read as the few lines of YAML these files are.
    """
    configured: dict[str, Any] = {}
    default: dict[str, Any] = {}
    directory = host.resolve(DIRECTORY)
    names = sorted(os.listdir(directory)) if directory is not None and os.path.isdir(directory) else []
    for name in names:
        if not name.endswith(".yaml"):
            continue
        content = (host.read(f"{DIRECTORY}/{name}") or b"").decode(errors="replace")
        document = _parse(content, name)
        default = document.get("default-docker") or default
        configured.update(document.get("docker") or {})
    for scope in scopes:
        if scope in configured:
            return dict(configured[scope] or {})
    return default


def _parse(text: str, name: str) -> dict[str, Any]:
    """Mappings by indentation, with plain or quoted scalars; or JSON, which is YAML too."""
    if text.lstrip().startswith("{"):
        try:
            document: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise PullError(f"parsing {DIRECTORY}/{name}: {error}") from error
        return document
    root: dict[str, Any] = {}
    open_mappings: list[tuple[int, dict[str, Any]]] = [(-1, root)]
    for number, line in enumerate(text.splitlines(), 1):
        content = line.split(" #")[0].rstrip()
        if not content.strip() or content.lstrip().startswith("#") or content.strip() == "---":
            continue
        indent = len(content) - len(content.lstrip())
        key, value = _key_and_value(content.strip(), name, number)
        while indent <= open_mappings[-1][0]:
            open_mappings.pop()
        parent = open_mappings[-1][1]
        if value is None:
            parent[key] = {}
            open_mappings.append((indent, parent[key]))
        else:
            parent[key] = value
    return root


def _key_and_value(content: str, name: str, number: int) -> tuple[str, Any]:
    quote = content[0] if content[0] in "\"'" else ""
    if quote:
        key, separator, value = content[1:].partition(f"{quote}:")
    elif content.endswith(":"):
        key, separator, value = content[:-1], ":", ""
    else:
        key, separator, value = content.partition(": ")
    if not separator:
        raise PullError(f"parsing {DIRECTORY}/{name}: yaml: line {number}: could not find expected ':'")
    value = value.strip()
    if not value:
        return key, None
    if value in ("{}", "null", "~"):
        return key, {}
    if value.lower() in ("true", "yes", "on", "false", "no", "off"):
        return key, value.lower() in ("true", "yes", "on")
    return key, value.strip("\"'")
