# SPDX-License-Identifier: GPL-3.0-or-later
"""The public shape of a host: every key of it is documented, and nothing is documented that is not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import (
    DeployedImage,
    Deployment,
    HostState,
    Tool,
    Transaction,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import UNVERIFIED, ImageReference
from ansible_collections.imagemode.nodes.plugins.modules import image_mode_info

IMAGE = DeployedImage(ImageReference.parse("registry.example.com/os:v1"), UNVERIFIED, "sha256:" + "1" * 64)
HOST = HostState(Tool.BOOTC, Deployment(IMAGE, "commit", 0), transaction=Transaction("Rebase"))


def shape(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: shape(inner) if isinstance(inner, dict) else None for key, inner in value.items()}


def documented(contains: Mapping[str, Any]) -> dict[str, Any]:
    return {key: documented(field["contains"]) if "contains" in field else None for key, field in contains.items()}


def test_every_key_of_a_host_is_documented() -> None:
    described = documented(yaml.safe_load(image_mode_info.RETURN)["host"]["contains"])
    assert shape(HOST.as_dict()) == described
