# SPDX-License-Identifier: GPL-3.0-or-later
"""A change that did not work out, with everything that is known of the node after it."""

from __future__ import annotations

from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import InvalidReference
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._core.status_json import StatusNotUnderstood
from ansible_collections.imagemode.nodes.plugins.module_utils._host.observe import ObservationFailed
from ansible_collections.imagemode.nodes.plugins.module_utils._host.options import InvalidOption
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import NodeUnreachable, ShellFailed

_LONG = frozenset({"before", "after", "booted", "diff"})


class HostFailure(Exception):
    """`result` is the module's result without the long descriptions of the host, which would bury the message on a terminal.

    `changed` in it is what the node's state says.
    """

    def __init__(self, message: str, result: dict[str, Any]) -> None:
        super().__init__(message)
        self.result = {key: value for key, value in result.items() if key not in _LONG}


EXPECTED_FAILURES = (
    HostFailure,
    InvalidOption,
    InvalidReference,
    NodeUnreachable,
    ObservationFailed,
    Refusal,
    ShellFailed,
    StatusNotUnderstood,
)
"""What may go wrong on a node. Every message of these is written for the person who reads it; anything else is a bug."""
