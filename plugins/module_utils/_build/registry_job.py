# SPDX-License-Identifier: GPL-3.0-or-later
"""One job of a module that talks to a registry: from a piece of work to a result, a failure or an interruption."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class JobOutcome:
    """What a module returns, whether it failed, and what it warns of."""

    result: dict[str, Any]
    failed: bool = False
    warnings: tuple[str, ...] = ()


def run_job(
    params: Mapping[str, Any], job: Callable[[RegistryDocuments], JobOutcome], after_interruption: str
) -> JobOutcome:
    """Run a job with access to the registry as the options say.

    `after_interruption` says what state a run that was ended half-way leaves.
    """
    commands: list[list[str]] = []
    try:
        with ending_on_signals(), tempfile.TemporaryDirectory(prefix="imagemode-registry-") as directory:
            access = registry_access(params).with_ca(Path(directory))
            return job(RegistryDocuments(access, commands=commands))
    except BuildError as error:
        return _failed(error.failure, commands)
    except Interrupted as error:
        message = f"Interrupted: {error}. {after_interruption} Run again."
        return _failed(BuildFailure(FailureCategory.ENGINE, message, retryable=True), commands)
    except DeadlinePassed as error:
        message = f"{error}. The machine is overloaded, or its disk hangs. {after_interruption} Run again."
        return _failed(BuildFailure(FailureCategory.ENGINE, message, retryable=True), commands)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        category = FailureCategory.DISK if full else FailureCategory.ENGINE
        return _failed(BuildFailure(category, f"This host refuses: {error}. {after_interruption}"), commands)


def _failed(failure: BuildFailure, commands: list[list[str]]) -> JobOutcome:
    result = {"changed": False, "msg": failure.message, "failure": failure.as_result(), "commands": commands}
    return JobOutcome(result, failed=True)
