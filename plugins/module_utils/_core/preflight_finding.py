# SPDX-License-Identifier: GPL-3.0-or-later
"""What a look before a rollout finds: each finding says what was seen, how bad it is, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Severity(str, Enum):
    """How bad: an error keeps the rollout from working, a warning may, a note is only to be known."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Severity).index(self)


class Check(str, Enum):
    """What was looked at."""

    # of a node
    REACHABLE = "reachable"
    IMAGE_MODE = "image_mode"
    TOOL = "tool"
    BUSY = "busy"
    STAGING = "staging"
    LOCAL_CHANGES = "local_changes"
    DEPLOYMENTS = "deployments"
    UPDATERS = "updaters"
    ARCHITECTURE = "architecture"
    DISK = "disk"
    BOOT_SPACE = "boot_space"
    READ_ONLY = "read_only"
    REGISTRY = "registry"
    CREDENTIALS = "credentials"
    SIGNATURE_POLICY = "signature_policy"
    INHIBITORS = "inhibitors"
    SHUTDOWN = "shutdown"
    CLOCK = "clock"
    GREENBOOT = "greenboot"
    FAILED_UNITS = "failed_units"
    # of the pool
    IMAGE = "image"
    VARIABLES = "variables"
    ROLLOUT = "rollout"
    HEALTH_CHECKS = "health_checks"
    CLUSTER = "cluster"
    CLUSTER_NODE = "cluster_node"
    BUDGETS = "budgets"
    RIGHTS = "rights"


@dataclass(frozen=True)
class Finding:
    """`told`: what was seen, in words. `fix`: what to do, empty where there is nothing to do. `node` is None for the pool."""

    check: Check
    severity: Severity
    told: str
    fix: str = ""
    node: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        """The public shape."""
        return {
            "check": self.check.value,
            "severity": self.severity.value,
            "node": self.node,
            "told": self.told,
            "fix": self.fix,
        }


def error(check: Check, told: str, fix: str = "") -> Finding:
    """A finding that keeps the rollout from working."""
    return Finding(check, Severity.ERROR, told, fix)


def warning(check: Check, told: str, fix: str = "") -> Finding:
    """A finding that may keep it from working, or costs something."""
    return Finding(check, Severity.WARNING, told, fix)


def note(check: Check, told: str, fix: str = "") -> Finding:
    """Something to be known."""
    return Finding(check, Severity.NOTE, told, fix)


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Errors, then warnings, then notes; otherwise in the order in which they were found."""
    return sorted(findings, key=lambda finding: finding.severity.rank)


def counted(findings: Iterable[Finding]) -> dict[str, int]:
    """How many there are of each severity: `{"error": 1, "warning": 0, "note": 3}`."""
    found = [finding.severity for finding in findings]
    return {severity.value: found.count(severity) for severity in Severity}
