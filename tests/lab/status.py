# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person sees of the nodes: one line each."""

from __future__ import annotations

from collections.abc import Sequence

from lab.node import Node
from lab.simulators.host import Host
from lab.simulators.state import Deployment

HEADINGS = ("NODE", "STATE", "BOOTC", "BOOTED", "STAGED", "FAULTS")


def table(nodes: Sequence[Node]) -> str:
    """A table of nodes: state, version of bootc, booted and staged image with the first digits of its digest, faults."""
    rows = [HEADINGS, *(_row(node) for node in nodes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(node: Node) -> tuple[str, ...]:
    host = Host(str(node.directory))
    staged = host.staged
    return (
        node.name,
        "up" if node.is_up() else "down",
        str(host.node["versions"].get("bootc") or "-"),
        describe(host, host.booted),
        describe(host, staged) if staged is not None else "-",
        ", ".join(sorted(node.faults)) or "-",
    )


def describe(host: Host, deployment: Deployment) -> str:
    """Image and digest of a deployment, or the ostree ref it follows."""
    origin = deployment.origin
    if "container" not in origin:
        return str(origin.get("refspec", deployment.checksum[:12]))
    image = str(origin["container"]).partition(":")[2].partition("@")[0]
    digest = str(host.commit(deployment)["manifest_digest"])
    return f"{image} {digest.removeprefix('sha256:')[:12]}"
