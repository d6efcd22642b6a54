# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the modules that act on a node: one place for the module's and the action's argument spec."""

from __future__ import annotations

from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_plan import Backend
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_wish import InvalidWish, KargsWish
from ansible_collections.imagemode.nodes.plugins.module_utils._core.reboot_plan import (
    Inhibitors,
    RebootPolicy,
    SoftReboot,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollback_plan import (
    RollbackRequest,
    RollbackState,
    StagedPolicy,
)


class InvalidOption(ValueError):
    """An option has a value that makes no sense; the message names it."""


BUSY_SPEC: dict[str, Any] = {"busy_timeout": {"type": "int", "default": 300}}
DIGESTS_SPEC: dict[str, Any] = {"expected_digests": {"type": "list", "elements": "str", "default": []}}

INFO_SPEC: dict[str, Any] = dict(BUSY_SPEC)

REBOOT_SPEC: dict[str, Any] = {
    **BUSY_SPEC,
    **DIGESTS_SPEC,
    "reboot_timeout": {"type": "int", "default": 900},
    "soft": {"type": "str", "choices": [s.value for s in SoftReboot], "default": SoftReboot.NEVER.value},
    "inhibitors": {"type": "str", "choices": [i.value for i in Inhibitors], "default": Inhibitors.FAIL.value},
    "inhibitor_timeout": {"type": "int", "default": 600},
}

ROLLBACK_SPEC: dict[str, Any] = {
    **BUSY_SPEC,
    **DIGESTS_SPEC,
    "state": {"type": "str", "choices": [s.value for s in RollbackState], "default": RollbackState.QUEUED.value},
    "expected_checksum": {"type": "str"},
    "staged": {"type": "str", "choices": [p.value for p in StagedPolicy], "default": StagedPolicy.FAIL.value},
}

HOST_FILES_SPEC: dict[str, Any] = {
    "files": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "no_log": True,
        "options": {
            "path": {"type": "path", "required": True},
            "content": {"type": "str"},
            "content_b64": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "mode": {"type": "str"},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
            "secret": {"type": "bool", "default": False, "no_log": False},
            "live_link": {"type": "str", "choices": ["fail", "replace"], "default": "fail"},
        },
    },
    "exclusive": {"type": "list", "elements": "str", "default": []},
    "directory_mode": {"type": "str", "default": "0755"},
    "file_timeout": {"type": "int", "default": 60},
}


KARGS_SPEC: dict[str, Any] = {
    **BUSY_SPEC,
    "present": {"type": "list", "elements": "str", "default": []},
    "absent": {"type": "list", "elements": "str", "default": []},
    "exact": {"type": "dict", "default": {}},
    "owner": {"type": "str"},
    "exclusive": {"type": "bool", "default": False},
    "backend": {"type": "str", "choices": [b.value for b in Backend], "default": Backend.AUTO.value},
    "stage_timeout": {"type": "int", "default": 600},
}


def require_deadlines(params: dict[str, Any]) -> None:
    """Raises InvalidOption unless every deadline among the options leaves at least a second."""
    for name, value in params.items():
        if name.endswith("_timeout") and value < 1:
            raise InvalidOption(f"{name} is {value}. Give the number of seconds to wait, 1 or more.")


def reboot_policy(params: dict[str, Any]) -> RebootPolicy:
    """The wanted reboot from a module's options."""
    return RebootPolicy(
        expected_digests=frozenset(params["expected_digests"]),
        soft=SoftReboot(params["soft"]),
        inhibitors=Inhibitors(params["inhibitors"]),
    )


def rollback_request(params: dict[str, Any]) -> RollbackRequest:
    """The wanted rollback from a module's options."""
    return RollbackRequest(
        state=RollbackState(params["state"]),
        expected_digests=frozenset(params["expected_digests"]),
        expected_checksum=params["expected_checksum"] or None,
        staged=StagedPolicy(params["staged"]),
    )


def kargs_wish(params: dict[str, Any]) -> KargsWish:
    """The wanted kernel arguments from a module's options. Raises InvalidOption."""
    try:
        return KargsWish.of(**{name: params[name] for name in ("present", "absent", "exact", "owner", "exclusive")})
    except InvalidWish as failure:
        raise InvalidOption(str(failure)) from None
