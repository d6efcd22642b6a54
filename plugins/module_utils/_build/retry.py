# SPDX-License-Identifier: GPL-3.0-or-later
"""The one rule for what is tried again: a command that talks to a registry, where its failure says that this can help."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import DeadlinePassed, capture
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import BuildFailure

RETRY_DELAYS = (1.0, 3.0)  # seconds before the second and the third attempt


def answer(argv: Sequence[str], timeout: float, failure_of: Callable[[str], BuildFailure]) -> bytes | BuildFailure:
    """The output of a command, or its last failure. `failure_of` makes one of what the command said."""
    for delay in (*RETRY_DELAYS, None):
        try:
            done = capture(argv, timeout)
        except DeadlinePassed as error:
            said = str(error)
        else:
            if done.exit_code == 0:
                return done.raw
            said = done.errors or done.output
        failure = failure_of(said)
        if delay is None or not failure.retryable:
            break
        time.sleep(delay)
    return failure
