# SPDX-License-Identifier: GPL-3.0-or-later
"""The way a module runs on the node itself, for tasks with `async`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._host.failure import EXPECTED_FAILURES
from ansible_collections.imagemode.nodes.plugins.module_utils._host.local_runner import LocalRunner
from ansible_collections.imagemode.nodes.plugins.module_utils._host.options import require_deadlines
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Runner
from ansible_collections.imagemode.nodes.plugins.module_utils._host.stopwatch import Stopwatch


def run_on_this_machine(module: Any, act: Callable[[Runner], dict[str, Any]], timed: bool = False) -> None:
    """Run `act` here and end the module (an AnsibleModule) with its result, or with its failure.

    `timed`: whether both have `started_at` and `seconds`.
    """
    stopwatch = Stopwatch()

    def times() -> dict[str, Any]:
        return stopwatch.as_dict() if timed else {}

    try:
        require_deadlines(module.params)
        result = act(LocalRunner())
    except EXPECTED_FAILURES as failure:
        module.fail_json(**{**getattr(failure, "result", {}), **times(), "msg": str(failure)})
        return
    for warning in result.pop("warnings", []):
        module.warn(warning)
    module.exit_json(**{**result, **times()})
