# SPDX-License-Identifier: GPL-3.0-or-later
"""One job of a module that talks to a registry: from a piece of work to a result, a failure or an interruption."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._build.module_outcome import Outcome, failed
from ansible_collections.imagemode.nodes.plugins.module_utils._build.options import registry_access
from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import (
    DeadlinePassed,
    Interrupted,
    ending_on_signals,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry_documents import RegistryDocuments
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
)


def run_job(params: Mapping[str, Any], job: Callable[[RegistryDocuments], Outcome], after_interruption: str) -> Outcome:
    """Run a job with access to the registry as the options say.

    `after_interruption` says what state a run that was ended half-way leaves.
    """
    commands: list[list[str]] = []
    try:
        with ending_on_signals():
            return job(RegistryDocuments(registry_access(params), commands=commands))
    except BuildError as error:
        return failed(error.failure, {"commands": commands})
    except Interrupted as error:
        message = f"Interrupted: {error}. {after_interruption} Run again."
        return failed(BuildFailure(FailureCategory.ENGINE, message, retryable=True), {"commands": commands})
    except DeadlinePassed as error:
        message = f"{error}. The machine is overloaded, or its disk hangs. {after_interruption} Run again."
        return failed(BuildFailure(FailureCategory.ENGINE, message, retryable=True), {"commands": commands})
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        category = FailureCategory.DISK if full else FailureCategory.ENGINE
        return failed(
            BuildFailure(category, f"This host refuses: {error}. {after_interruption}"), {"commands": commands}
        )
