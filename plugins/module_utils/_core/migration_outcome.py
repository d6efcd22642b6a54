# SPDX-License-Identifier: GPL-3.0-or-later
"""What a survey found in a pool, how its migration ended for each node, and both tables. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import short_digest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kernel_arguments import KernelArguments
from ansible_collections.imagemode.nodes.plugins.module_utils._core.migration_plan import MigrationCase, readable_bytes
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_outcome import NodeOutcome, Outcome

Result = Mapping[str, Any]
"""A result as a task registered it."""

ALREADY = "already bootc-managed"
MIGRATED = "migrated"
PREDICTED = "would be migrated"
UNPROVEN = "not proven"


@dataclass(frozen=True)
class NodeMigration:
    """How it ended for one node.

    `from_checksum`: the ostree commit that it ran, which leads back where there is no digest. `reboots`: between survey
    and proof, from the node's boot ids; None where it could not be looked at. `seconds`: out of service. `arguments`:
    kernel arguments that came and that went.
    """

    node: str
    case: str | None
    outcome: str
    from_digest: str | None = None
    from_checksum: str | None = None
    to_digest: str | None = None
    pull_bytes: int | None = None
    reboots: int | None = None
    seconds: float | None = None
    arguments: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    reason: str | None = None

    @property
    def is_right(self) -> bool:
        """Whether bootc looks after the wanted image there, or would after a real run."""
        return self.outcome in (ALREADY, MIGRATED, PREDICTED)

    def as_dict(self) -> dict[str, Any]:
        """For a module's result."""
        added, removed = self.arguments
        return {
            "node": self.node,
            "case": self.case,
            "outcome": self.outcome,
            "from_digest": self.from_digest,
            "from_checksum": self.from_checksum,
            "to_digest": self.to_digest,
            "pull_bytes": self.pull_bytes,
            "reboots": self.reboots,
            "seconds": self.seconds,
            "kargs_added": list(added),
            "kargs_removed": list(removed),
            "reason": self.reason,
        }


def outcome_of_migration(
    rollout: NodeOutcome, survey: Result | None, staging: Result | None, after: Result | None, check_mode: bool
) -> NodeMigration:
    """From how the rollout ended, and the registered results of `migration_info` before and after, and of the staging."""
    known = survey if survey and survey.get("case") else {}
    node = NodeMigration(
        rollout.node,
        known.get("case"),
        rollout.outcome.value,
        rollout.from_digest,
        (_host(known).get("booted") or {}).get("checksum"),
        rollout.to_digest,
        known.get("pull_bytes"),
        seconds=rollout.seconds,
        reason=rollout.reason,
    )
    managed = MigrationCase.MANAGED.value
    if not rollout.outcome.is_right:
        return node
    if check_mode:
        return replace(node, outcome=ALREADY if node.case == managed else PREDICTED)
    if not after or not after.get("case"):
        reason = str((after or {}).get("msg") or "it was not looked at again")
        return replace(node, outcome=UNPROVEN, reason=reason)
    node = _with_boot(node, known, after)
    if after["case"] != managed:
        return replace(node, outcome=UNPROVEN, reason=str(after.get("blocked") or after.get("msg")))
    problem = _wrong_arguments(node, staging, after)
    if problem:
        return replace(node, outcome=UNPROVEN, reason=problem)
    return replace(node, outcome=ALREADY if node.case == managed and not node.reboots else MIGRATED)


def _with_boot(node: NodeMigration, survey: Result, after: Result) -> NodeMigration:
    before = _host(survey)
    now = _host(after)
    if not before.get("boot_id") or not now.get("boot_id"):
        return node
    old, new = (_arguments((host.get("kargs") or {}).get("booted")) for host in (before, now))
    return replace(
        node,
        reboots=int(before["boot_id"] != now["boot_id"]),
        arguments=(new.missing_from(old), old.missing_from(new)),
    )


def _wrong_arguments(node: NodeMigration, staging: Result | None, after: Result) -> str | None:
    """What is wrong with the command line of a node that was rebooted: it has other arguments than were staged."""
    booted = _arguments((_host(after).get("kargs") or {}).get("booted"))
    staged = (((staging or {}).get("after") or {}).get("kargs") or {}).get("next")
    if not node.reboots or staged is None:
        return None
    wanted = _arguments(staged)
    if booted.same_words_as(wanted):
        return None
    more, less = booted.missing_from(wanted), wanted.missing_from(booted)
    return f"it booted with other kernel arguments than were staged: {_difference(more, less)}"


def _host(result: Result) -> Mapping[str, Any]:
    return result.get("host") or {}


def _arguments(words: Sequence[str] | None) -> KernelArguments:
    return KernelArguments(tuple(words or ()))


def _difference(added: Sequence[str], removed: Sequence[str]) -> str:
    return " ".join([*(f"+{word}" for word in added), *(f"-{word}" for word in removed)])


def survey_table(pool: str, image: str, surveys: Mapping[str, Result | None]) -> list[str]:
    """What each node is and costs, a line that counts, and what has to be decided."""
    rows = [("node", "tools", "case", "to pull", "reboots", "would be lost", "runs")]
    decisions = []
    for name, survey in surveys.items():
        if not survey or not survey.get("case"):
            rows.append((name, "?", "not seen", "?", "?", "", str((survey or {}).get("msg") or "it was not looked at")))
            continue
        reboots = "?" if survey["reboots"] is None else str(survey["reboots"])
        lost = "; ".join(survey["losses"])
        cells = (survey["case"], readable_bytes(survey["pull_bytes"]), reboots, lost, str(survey["runs"]))
        rows.append((name, _tools(survey), *cells))
        if survey["blocked"]:
            decisions.append(f"{name} needs a decision. {survey['blocked']}")
            decisions += [f"  - {_way(way)}" for way in survey["ways"]]
    return [
        f"{pool}: what it takes to have bootc look after {image}",
        *_aligned(rows),
        *decisions,
        _total(pool, surveys),
    ]


def _tools(survey: Result) -> str:
    versions = _host(survey).get("versions") or {}
    names = {"bootc": "bootc", "rpm_ostree": "rpm-ostree"}
    return ", ".join(f"{name} {versions[key]}" for key, name in names.items() if versions.get(key)) or "none"


def _way(way: Mapping[str, Any]) -> str:
    if way["reboots"] is None:
        return str(way["do"])
    reboots = "no reboot" if way["reboots"] == 0 else "1 reboot"
    return f"{way['do']} ({readable_bytes(way['pull_bytes'])} to pull, {reboots})"


def survey_totals(surveys: Mapping[str, Result | None]) -> dict[str, Any]:
    """Numbers over the pool; `pull_bytes` is None if one node's are not known."""
    seen = [survey for survey in surveys.values() if survey and survey.get("case")]
    going = [survey for survey in seen if not survey["blocked"]]
    sizes = [survey["pull_bytes"] for survey in going]
    return {
        "nodes": len(surveys),
        "free": sum(1 for survey in going if survey["reboots"] == 0),
        "rebooting": sum(1 for survey in going if survey["reboots"]),
        "undecided": len(seen) - len(going),
        "unseen": len(surveys) - len(seen),
        "pull_bytes": None if None in sizes else sum(sizes),
    }


def _total(pool: str, surveys: Mapping[str, Result | None]) -> str:
    totals = survey_totals(surveys)
    kinds = {
        "free": "without a reboot",
        "rebooting": "with one reboot",
        "undecided": "to be decided on",
        "unseen": "not seen",
    }
    parts = ", ".join(f"{totals[key]} {words}" for key, words in kinds.items() if totals[key])
    return f"{pool}: {totals['nodes']} nodes: {parts}; {readable_bytes(totals['pull_bytes'])} to pull in all"


def migration_table(pool: str, outcomes: Sequence[NodeMigration]) -> list[str]:
    """The closing table, line by line, with a first line that counts."""
    rows = [("node", "was", "from", "to", "reboots", "out of service", "kernel arguments", "outcome")]
    for item in outcomes:
        rows.append(
            (
                item.node,
                item.case or "-",
                _origin(item),
                short_digest(item.to_digest) if item.to_digest else "-",
                "-" if item.reboots is None else str(item.reboots),
                "-" if item.seconds is None else f"{item.seconds:.0f} s",
                "-" if item.reboots is None else _difference(*item.arguments) or "unchanged",
                item.outcome,
            )
        )
    return [f"{pool}: {counted_migrations(outcomes)}", *_aligned(rows)]


def _origin(item: NodeMigration) -> str:
    if item.from_digest:
        return short_digest(item.from_digest)
    return f"commit {item.from_checksum[:12]}" if item.from_checksum else "-"


def counted_migrations(outcomes: Sequence[NodeMigration]) -> str:
    """`6 nodes: 3 already bootc-managed, 3 migrated`."""
    kinds = [ALREADY, MIGRATED, PREDICTED, UNPROVEN, *(kind.value for kind in Outcome)]
    found = [(kind, sum(1 for item in outcomes if item.outcome == kind)) for kind in kinds]
    return f"{len(outcomes)} nodes: " + ", ".join(f"{count} {kind}" for kind, count in found if count)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    used = [column for column in range(len(rows[0])) if any(row[column] for row in rows[1:])]
    widths = {column: max(len(row[column]) for row in rows) for column in used}
    return ["  " + "  ".join(row[column].ljust(widths[column]) for column in used).rstrip() for row in rows]
