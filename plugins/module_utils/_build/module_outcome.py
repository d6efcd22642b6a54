# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules of a build host give back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import DeadlinePassed
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import BuildFailure, FailureCategory


@dataclass(frozen=True)
class Outcome:
    """What a module returns, whether it failed, and what it warns of."""

    result: dict[str, Any]
    failed: bool = False
    warnings: tuple[str, ...] = ()


def finish(module: Any, outcome: Outcome) -> None:
    """End the module (an AnsibleModule) with its outcome."""
    for warning in outcome.warnings:
        module.warn(warning)
    if outcome.failed:
        module.fail_json(**outcome.result)
    module.exit_json(**outcome.result)


def failed(failure: BuildFailure, known: Mapping[str, Any]) -> Outcome:
    """A failure as a result, with what is known in spite of it."""
    result = {**known, "changed": False, "msg": failure.message, "failure": failure.as_result()}
    return Outcome(result, failed=True)


def hanging(error: DeadlinePassed) -> BuildFailure:
    """A short local command that hangs: not the registry, whose deadlines have words of their own."""
    return BuildFailure(
        FailureCategory.ENGINE,
        f"{error}. That is a command on the machine itself, so its container storage hangs, or the machine is overloaded. Run again.",
        retryable=True,
    )
