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


def desired_image(params: dict[str, Any]) -> DesiredImage:
    """The wanted image from a module's options. Raises InvalidReference."""
    return DesiredImage(
        reference=ImageReference.parse(params["image"], Transport(params["transport"])).require_registry(),
        expected_digests=frozenset(params["expected_digests"]),
        signature_policy=SignaturePolicy(params["signature_policy"]),
        local_changes=LocalChangesPolicy(params["local_changes"]),
    )
