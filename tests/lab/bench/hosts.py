# SPDX-License-Identifier: GPL-3.0-or-later
"""The three kinds of host that everything is measured on, by the tools that they have."""

from __future__ import annotations

from collections.abc import Mapping

Versions = Mapping[str, str | None]

HOSTS: Mapping[str, Versions] = {"bootc": {"rpm-ostree": None}, "rpm-ostree": {"bootc": None}, "both": {}}
"""Name of the node -> what differs from the lab's default versions."""

STATUS = {"bootc": "bootc status --json", "rpm-ostree": "rpm-ostree status --json"}


def has(host: str, tool: str) -> bool:
    """Whether this kind of host has the tool."""
    return host in (tool, "both")


def own_tool(host: str) -> str:
    """The tool that the collection takes there by itself."""
    return "rpm-ostree" if host == "rpm-ostree" else "bootc"
