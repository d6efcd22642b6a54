# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of node_health_info, and what they make of themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.duration import DurationError, parse_duration
from ansible_collections.imagemode.nodes.plugins.module_utils._core.health_checks import (
    Check,
    HealthCheckError,
    parse_checks,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.options import InvalidOption

HEALTH_SPEC: dict[str, Any] = {
    "checks": {"type": "list", "elements": "dict", "default": []},
    "deadline": {"type": "str", "default": "10m"},
    "stable_for": {"type": "str", "default": "0"},
    "boot_id": {"type": "str"},
    "node": {"type": "str"},
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
}


@dataclass(frozen=True)
class HealthWish:
    """What was asked for; times in seconds."""

    checks: tuple[Check, ...]
    deadline: float = 600.0
    stable_for: float = 0.0
    boot_id: str | None = None


def health_wish(params: dict[str, Any]) -> HealthWish:
    """From the module's options. Raises InvalidOption, with everything that is wrong with the checks."""
    try:
        checks = parse_checks(params["checks"])
        deadline = parse_duration(params["deadline"], "deadline")
        stable_for = parse_duration(params["stable_for"], "stable_for")
    except (DurationError, HealthCheckError) as error:
        raise InvalidOption(str(error)) from None
    if deadline < 1:
        raise InvalidOption(f"deadline is {params['deadline']}. Give the node a second or more to be healthy.")
    if stable_for and stable_for >= deadline:
        raise InvalidOption(
            f"stable_for is {params['stable_for']} and deadline {params['deadline']}: nothing can stay right for longer than it is "
            "looked at. Give a longer deadline."
        )
    return HealthWish(checks, deadline, stable_for, params["boot_id"] or None)
