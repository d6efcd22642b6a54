# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the modules that act on a node: one place for the module's and the action's argument spec."""

from __future__ import annotations

from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_image import (
    DesiredImage,
    LocalChangesPolicy,
    SignaturePolicy,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference, Transport


class InvalidOption(ValueError):
    """An option has a value that makes no sense; the message names it."""


_BUSY: dict[str, Any] = {"busy_timeout": {"type": "int", "default": 300}}
_DIGESTS: dict[str, Any] = {"expected_digests": {"type": "list", "elements": "str", "default": []}}

INFO_SPEC: dict[str, Any] = dict(_BUSY)

BOOTC_SWITCH_SPEC: dict[str, Any] = {
    **_BUSY,
    **_DIGESTS,
    "image": {"type": "str", "required": True},
    "transport": {"type": "str", "choices": [t.value for t in Transport], "default": Transport.REGISTRY.value},
    "signature_policy": {
        "type": "str",
        "choices": [p.value for p in SignaturePolicy],
        "default": SignaturePolicy.UNCHANGED.value,
    },
    "local_changes": {
        "type": "str",
        "choices": [p.value for p in LocalChangesPolicy],
        "default": LocalChangesPolicy.FAIL.value,
    },
    "stage_timeout": {"type": "int", "default": 3600},
}

REBOOT_SPEC: dict[str, Any] = {
    **_BUSY,
    **_DIGESTS,
    "reboot_timeout": {"type": "int", "default": 900},
}


def require_deadlines(params: dict[str, Any]) -> None:
    """Raises InvalidOption unless every deadline among the options leaves at least a second."""
    for name, value in params.items():
        if name.endswith("_timeout") and value < 1:
            raise InvalidOption(f"{name} is {value}. Give the number of seconds to wait, 1 or more.")


def desired_image(params: dict[str, Any]) -> DesiredImage:
    """The wanted image from a module's options. Raises InvalidReference."""
    return DesiredImage(
        reference=ImageReference.parse(params["image"], Transport(params["transport"])).require_registry(),
        expected_digests=frozenset(params["expected_digests"]),
        signature_policy=SignaturePolicy(params["signature_policy"]),
        local_changes=LocalChangesPolicy(params["local_changes"]),
    )
