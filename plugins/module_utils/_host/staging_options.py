# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the three modules that put an image in next place, and what they mean to the engine below them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_image import (
    DesiredImage,
    LocalChangesPolicy,
    Placement,
    SignaturePolicy,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_ref import DesiredRef
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Tool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference, Transport
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_wish import KargsWish
from ansible_collections.imagemode.nodes.plugins.module_utils._core.staging_plan import Desired
from ansible_collections.imagemode.nodes.plugins.module_utils._host.image_staging import StagingOptions
from ansible_collections.imagemode.nodes.plugins.module_utils._host.options import (
    BUSY_SPEC,
    DIGESTS_SPEC,
    InvalidOption,
)

_UNSTAGED = "unstaged"
_STATES = [*(placement.value for placement in Placement), _UNSTAGED]


def _spec(local_changes: Collection[LocalChangesPolicy]) -> dict[str, Any]:
    return {
        **BUSY_SPEC,
        **DIGESTS_SPEC,
        "image": {"type": "str"},
        "transport": {"type": "str", "choices": [t.value for t in Transport], "default": Transport.REGISTRY.value},
        "state": {"type": "str", "choices": _STATES, "default": Placement.STAGED.value},
        "signature_policy": {
            "type": "str",
            "choices": [p.value for p in SignaturePolicy],
            "default": SignaturePolicy.UNCHANGED.value,
        },
        "local_changes": {
            "type": "str",
            "choices": [p.value for p in LocalChangesPolicy if p in local_changes],
            "default": LocalChangesPolicy.FAIL.value,
        },
        "kargs": {
            "type": "dict",
            "options": {
                "present": {"type": "list", "elements": "str", "default": []},
                "absent": {"type": "list", "elements": "str", "default": []},
                "exact": {"type": "dict", "default": {}},
                "owner": {"type": "str"},
                "exclusive": {"type": "bool", "default": False},
            },
        },
        "stage_timeout": {"type": "int", "default": 3600},
    }


_ONLY_RPM_OSTREE: dict[str, Any] = {
    "ostree_remote": {"type": "str"},
    "bypass_driver": {"type": "bool", "default": False},
}

BOOTC_SWITCH_SPEC = _spec([LocalChangesPolicy.FAIL, LocalChangesPolicy.DISCARD])

RPMOSTREE_REBASE_SPEC: dict[str, Any] = {
    **_spec(list(LocalChangesPolicy)),
    **_ONLY_RPM_OSTREE,
    "ref": {"type": "str"},
    "revision": {"type": "str"},
    "apply_live": {"type": "bool", "default": False},
}

IMAGE_STAGE_SPEC: dict[str, Any] = {
    **_spec(list(LocalChangesPolicy)),
    **_ONLY_RPM_OSTREE,
    "tool": {"type": "str", "choices": ["auto", *(tool.value for tool in Tool)], "default": "auto"},
}


def staging_options(params: dict[str, Any], tool: Tool | None) -> StagingOptions:
    """What a task asks for. Raises InvalidOption, InvalidReference, InvalidWish."""
    unstage = params["state"] == _UNSTAGED
    desired = _desired(params)
    if desired is None and not unstage:
        names = "image or ref" if "ref" in params else "image"
        raise InvalidOption(f"state: {params['state']} needs {names}: say what the node shall boot.")
    kargs = params.get("kargs")
    if kargs and params["state"] != Placement.STAGED.value:
        raise InvalidOption(
            f"kargs go with state: staged, so that image and arguments boot together. With state: {params['state']} use the kargs module."
        )
    apply_live = bool(params.get("apply_live"))
    if apply_live and params["state"] != Placement.STAGED.value:
        raise InvalidOption("apply_live goes with state: staged.")
    return StagingOptions(
        tool=tool,
        desired=desired,
        unstage=unstage,
        kargs=KargsWish.of(**kargs) if kargs else None,
        apply_live=apply_live,
        bypass_driver=bool(params.get("bypass_driver")),
        busy_timeout=params["busy_timeout"],
        stage_timeout=params["stage_timeout"],
    )


def chosen_tool(params: dict[str, Any]) -> Tool | None:
    """The tool that `image_stage` shall use; None for whichever the node has."""
    return None if params["tool"] == "auto" else Tool(params["tool"])


def _desired(params: dict[str, Any]) -> Desired | None:
    image, ref = params["image"], params.get("ref")
    placement = Placement.STAGED if params["state"] == _UNSTAGED else Placement(params["state"])
    local_changes = LocalChangesPolicy(params["local_changes"])
    if image and ref:
        raise InvalidOption("image and ref exclude each other: a node follows an image or an ostree branch.")
    if params.get("revision") and not ref:
        raise InvalidOption("revision goes with ref. Pin an image by its digest: image: registry/repository@sha256:…")
    if ref:
        return DesiredRef(ref, params["revision"] or None, local_changes, placement)
    if not image:
        return None
    return DesiredImage(
        reference=ImageReference.parse(image, Transport(params["transport"])).require_registry(),
        expected_digests=frozenset(params["expected_digests"]),
        signature_policy=SignaturePolicy(params["signature_policy"]),
        local_changes=local_changes,
        placement=placement,
        remote=params.get("ostree_remote") or None,
    )
