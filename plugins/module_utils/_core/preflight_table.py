# SPDX-License-Identifier: GPL-3.0-or-later
"""The findings of a whole pool as lines for people: the worst first, and told once however many nodes share them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_finding import (
    Check,
    Finding,
    Severity,
    counted,
    worst_first,
)

_WIDTH = 120
_NAMES_SHOWN = 6
# What differs from node to node and makes no difference: sizes, seconds, ports of connections, checksums.
_VARIES = re.compile(r"\b(?:[0-9a-f]{12,64}|[0-9]+(?:\.[0-9]+)?)\b")


@dataclass(frozen=True)
class Group:
    """One finding and the nodes that share it, as far as it says the same of them; no nodes for one of the pool."""

    finding: Finding
    nodes: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """The public shape."""
        shape: dict[str, object] = {key: value for key, value in self.finding.as_dict().items() if key != "node"}
        return {**shape, "nodes": list(self.nodes)}


def grouped(findings: Iterable[Finding]) -> list[Group]:
    """The worst first; of one severity what concerns the pool first, then what most nodes share.

    Findings are one where they differ in numbers only; the words are then those of the first node.
    """
    found: dict[tuple[Check, Severity, str, str], list[Finding]] = {}
    for finding in worst_first(findings):
        told, fix = (_sketch(text, finding.node) for text in (finding.told, finding.fix))
        found.setdefault((finding.check, finding.severity, told, fix), []).append(finding)
    groups = [Group(same[0], tuple(dict.fromkeys(f.node for f in same if f.node))) for same in found.values()]
    return sorted(groups, key=lambda group: (group.finding.severity.rank, bool(group.nodes), -len(group.nodes)))


def _sketch(text: str, node: str | None) -> str:
    without_name = text.replace(node, "<node>") if node else text
    return _VARIES.sub("<n>", without_name)


def report(pool: str, nodes: Mapping[str, Sequence[Finding]], of_pool: Sequence[Finding]) -> list[str]:
    """The lines of the report, the summary last. `nodes`: the findings of every node, also of those without any."""
    everything = [*of_pool, *(finding for found in nodes.values() for finding in found)]
    lines = [f"{pool}: preflight of {_nodes(len(nodes))}"]
    for group in grouped(everything):
        lines += _lines(group, len(nodes))
    return [*lines, f"{pool}: {summary(nodes, of_pool)}"]


def summary(nodes: Mapping[str, Sequence[Finding]], of_pool: Sequence[Finding]) -> str:
    """How many nodes are ready, and how much was found: `4 of 6 nodes are ready: 2 errors, 1 warning`."""
    ready = sum(all(finding.severity is not Severity.ERROR for finding in found) for found in nodes.values())
    groups = grouped([*of_pool, *(finding for found in nodes.values() for finding in found)])
    counts = counted(group.finding for group in groups)
    words = [f"{number} {name}{'' if number == 1 else 's'}" for name, number in counts.items() if number]
    who = f"{ready} of {_nodes(len(nodes))} {'is' if ready == 1 or len(nodes) == 1 else 'are'} ready"
    blocked = any(finding.severity is Severity.ERROR for finding in of_pool)
    pool = f", {'but' if ready else 'and'} the pool is not" if blocked else ""
    return f"{who}{pool}: {', '.join(words) or 'nothing was found'}"


def _lines(group: Group, total: int) -> list[str]:
    """`  error    disk: 6 nodes: what was seen` and, below it, what to do."""
    finding = group.finding
    who = _who(group.nodes, total)
    head = f"  {finding.severity.value:<8} {finding.check.value.replace('_', ' ')}: {who}"
    lines = textwrap.wrap(
        f"{head}{finding.told}", _WIDTH, subsequent_indent=" " * 11, break_long_words=False, break_on_hyphens=False
    )
    if finding.fix:
        lines += textwrap.wrap(
            f"→ {finding.fix}",
            _WIDTH,
            initial_indent=" " * 11,
            subsequent_indent=" " * 13,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines


def _who(nodes: Sequence[str], total: int) -> str:
    if not nodes:
        return ""
    if len(nodes) == total and total > 1:
        return f"all {total} nodes, such as {nodes[0]}: "
    if len(nodes) == 1:
        return f"{nodes[0]}: "
    shown = ", ".join(nodes[:_NAMES_SHOWN])
    more = f" and {len(nodes) - _NAMES_SHOWN} more" if len(nodes) > _NAMES_SHOWN else ""
    return f"{len(nodes)} nodes ({shown}{more}): "


def _nodes(number: int) -> str:
    return f"{number} node{'' if number == 1 else 's'}"
