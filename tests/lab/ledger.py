# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node did in a period, added up from its journal: the evidence for "nothing was done"."""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path

from lab.node import Node
from lab.simulators.host import Host


@dataclasses.dataclass(frozen=True)
class Ledger:
    """One node between two moments. ``round_trips`` are commands over the connection; times are seconds.

    ``out_of_service`` runs from the beginning of a shutdown to the first command that the node answered afterwards.
    """

    node: str
    reboots: int
    pulled_bytes: int
    pulls: int
    round_trips: int
    tools: Mapping[str, int]
    node_cpu: float
    out_of_service: float

    @classmethod
    def of(cls, node: Node, since: float, until: float | None = None) -> Ledger:
        """Read the journal of ``node``; ``since`` and ``until`` are seconds since 1970."""
        end = time.time() if until is None else until
        entries = [entry for entry in node.journal.read() if since <= entry["t"] <= end]
        by_event: dict[str, list[dict[str, object]]] = collections.defaultdict(list)
        away, down_since = 0.0, None
        for entry in sorted(entries, key=lambda entry: float(entry["t"])):
            by_event[entry["event"]].append(entry)
            if entry["event"] == "shutdown" and down_since is None:
                down_since = float(entry["t"])
            elif entry["event"] == "exec" and entry["rc"] is not None and down_since is not None:
                answered = float(entry["t"])
                if (
                    answered - float(entry["seconds"]) >= down_since
                ):  # began after the shutdown, so it found the node up
                    away += answered - down_since
                    down_since = None
        pulls = by_event["pull"]
        return cls(
            node=node.name,
            reboots=len(by_event["boot"]),
            pulled_bytes=sum(int(str(pull["bytes"])) for pull in pulls),
            pulls=len(pulls),
            round_trips=len(by_event["exec"]),
            tools=dict(collections.Counter(str(entry["tool"]) for entry in by_event["tool"])),
            node_cpu=sum(float(str(entry.get("cpu", 0.0))) for entry in by_event["exec"]),
            out_of_service=away,
        )


@dataclasses.dataclass(frozen=True)
class Booted:
    """The image a node runs: reference, manifest digest, version label."""

    image: str
    digest: str
    version: str

    @classmethod
    def of(cls, directory: Path) -> Booted:
        """Read from the node's own state, without asking the node."""
        host = Host(str(directory))
        metadata = host.commit(host.booted)
        image = str(host.booted.origin.get("container", host.booted.origin.get("refspec", ""))).partition(":")[2]
        return cls(image, str(metadata["manifest_digest"]), str(metadata["version"]))
