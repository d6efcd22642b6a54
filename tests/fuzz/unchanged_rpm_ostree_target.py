# SPDX-License-Identifier: GPL-3.0-or-later
"""No wrong "unchanged" with rpm-ostree: the planner against an oracle that reads nothing but the raw JSON."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_image import DesiredImage
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    ImageReference,
    InvalidReference,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rpm_ostree_plan import RpmOstreeTool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rpm_ostree_status import parse_rpm_ostree_status
from ansible_collections.imagemode.nodes.plugins.module_utils._core.staging_plan import plan_staging
from ansible_collections.imagemode.nodes.plugins.module_utils._core.status_json import StatusNotUnderstood

from fuzz import json_mutation, recorded_status
from fuzz.choices import Choices

IMAGE = "registry.example.com/os"
DIGESTS = tuple("sha256:" + digit * 64 for digit in "ab")
_REFERENCES = (
    f"ostree-unverified-registry:{IMAGE}:1",
    f"ostree-unverified-image:docker://{IMAGE}:1",
    f"ostree-unverified-registry:{IMAGE}:2",
    f"ostree-unverified-registry:{IMAGE}@{DIGESTS[0]}",
    None,
)
_LAYERED = "requested-packages"


def rpm_ostree_unchanged(data: bytes) -> None:
    """plan_staging says "nothing to do" only where the first deployment that can boot is the wished one."""
    choices = Choices(data)
    document = json.loads(recorded_status.any_text("rpm-ostree", choices))
    for entry in document["deployments"]:
        entry["container-image-reference"] = choices.of(_REFERENCES)
        entry["container-image-reference-digest"] = choices.of(DIGESTS)
        entry[_LAYERED] = choices.of(([], [], [], ["htop"]))
        if entry.get("staged"):
            entry["finalization-locked"] = choices.chance(3)
    if choices.chance(3):
        document["deployments"].insert(0, document["deployments"].pop())
    if choices.chance(4):
        json_mutation.mutated(document["deployments"], choices, 2)
    tag, expected = choices.of(("1", "2")), choices.of(((), DIGESTS[:1], DIGESTS))
    try:
        state = parse_rpm_ostree_status(json.dumps(document))
        plan = plan_staging(
            RpmOstreeTool(), state, DesiredImage(ImageReference.parse(f"{IMAGE}:{tag}"), frozenset(expected))
        )
    except (StatusNotUnderstood, InvalidReference, Refusal):
        return
    met = _is_met(document["deployments"], tag, expected)
    assert plan.changed or met, f"the plan says {plan.summary!r}: {IMAGE}:{tag} {expected}"


def _is_met(entries: list[dict[str, Any]], tag: str, expected: tuple[str, ...]) -> bool:
    """Deployments stand in the order of boots; one that is locked does not boot."""
    following = next(entry for entry in entries if not (entry.get("staged") and entry.get("finalization-locked")))
    text = str(following.get("container-image-reference"))
    return (
        text.endswith((f"registry:{IMAGE}:{tag}", f"docker://{IMAGE}:{tag}"))
        and (not expected or following.get("container-image-reference-digest") in expected)
        and not following.get(_LAYERED)
    )
