# SPDX-License-Identifier: GPL-3.0-or-later
"""No wrong "unchanged", and no wrong "changed": the planner against an oracle that reads nothing but the raw JSON.

A recorded status is changed in what decides about the next boot. The plan may refuse, but where it says that there is
nothing to do the wish must be met by what boots next, and where the wish is met it must say so.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.bootc_plan import BootcTool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.bootc_status import parse_bootc_status
from ansible_collections.imagemode.nodes.plugins.module_utils._core.desired_image import DesiredImage, SignaturePolicy
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    ImageReference,
    InvalidReference,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._core.staging_plan import plan_staging
from ansible_collections.imagemode.nodes.plugins.module_utils._core.status_json import StatusNotUnderstood

from fuzz import json_mutation, recorded_status
from fuzz.choices import Choices

SLOTS = ("booted", "staged", "rollback")
DIGESTS = tuple("sha256:" + digit * 64 for digit in "ab")
POLICIES = (SignaturePolicy.UNCHANGED, SignaturePolicy.UNCHANGED, SignaturePolicy.UNVERIFIED, SignaturePolicy.POLICY)
_PLAIN = re.compile(r"(docker://)?[a-z0-9.:-]+(/[a-z0-9]+)+(:[\w.-]+)?(@sha256:[0-9a-f]{64})?", re.ASCII)
_SIGNATURES = {SignaturePolicy.UNVERIFIED: "insecure", SignaturePolicy.POLICY: "containerPolicy"}


def bootc_unchanged(data: bytes) -> None:
    """The plan for bootc says "nothing to do" exactly where the raw status meets the wish."""
    choices = Choices(data)
    document = json.loads(recorded_status.any_text("bootc", choices))
    wish, expected = _wish(document["status"], choices)
    policy = choices.of(POLICIES)
    for _turn in range(choices.number(4)):
        _change(document["status"], choices)
    if choices.chance(4):
        json_mutation.mutated(document["status"], choices, 2)
    try:
        desired = DesiredImage(ImageReference.parse(wish), frozenset(expected), policy)
        plan = plan_staging(BootcTool(), parse_bootc_status(json.dumps(document)), desired)
    except (StatusNotUnderstood, InvalidReference, Refusal):
        return
    met = is_met(document["status"], wish, expected, policy)
    told = f"the plan says {plan.summary!r}; met by the raw status: {met}; {wish} {expected} {policy}"
    assert plan.changed or met, told
    if _texts_are_plain(document["status"]):  # what cannot be parsed equals nothing: staging it again is right
        assert not (met and plan.changed), told


def is_met(status: dict[str, Any], wish: str, expected: tuple[str, ...], policy: SignaturePolicy) -> bool:
    """The oracle: whether what boots next is what was wished for."""
    following = boots_next(status) or {}
    image = following.get("image") or {}
    spec = image.get("image")
    if not spec or following.get("incompatible"):
        return False
    digest = image.get("imageDigest")
    if expected and digest not in expected:
        return False
    if (spec.get("transport") or "registry") != "registry" or _signature(spec) != _wanted_signature(status, policy):
        return False
    has, wants = _spelled_out(spec["image"]), _spelled_out(wish)
    if has == wants:
        return True
    pinned = wants.partition("@")[2]
    return (
        bool(pinned)
        and _repository(has) == _repository(wants)
        and pinned in (has.partition("@")[2], digest, *([pinned] if digest in expected else []))
    )


def boots_next(status: dict[str, Any]) -> dict[str, Any] | None:
    """The raw deployment that boots next."""
    staged = status.get("staged")
    if staged is not None and not staged.get("downloadOnly"):
        found: dict[str, Any] | None = staged
    else:
        found = status.get("rollback") if status.get("rollbackQueued") else status.get("booted")
    return found


def _spelled_out(text: str) -> str:
    """Without the scheme, with the tag that is meant; a tag beside a digest means nothing."""
    name, at, digest = text.removeprefix("docker://").partition("@")
    if at:
        return f"{_repository(name)}@{digest}"
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _repository(text: str) -> str:
    name = text.partition("@")[0]
    path, slash, last = name.rpartition("/")
    return path + slash + last.partition(":")[0]


def _texts_are_plain(status: dict[str, Any]) -> bool:
    specs = [((status.get(slot) or {}).get("image") or {}).get("image") or {} for slot in SLOTS]
    return all(_PLAIN.fullmatch(spec.get("image", "a/b")) for spec in specs)


def _signature(spec: dict[str, Any]) -> Any:
    return spec.get("signature") or "insecure"


def _wanted_signature(status: dict[str, Any], policy: SignaturePolicy) -> Any:
    """`unchanged` keeps what bootc would compare with: that of the staged deployment, else of the booted one."""
    if policy is not SignaturePolicy.UNCHANGED:
        return _SIGNATURES[policy]
    base = status.get("staged") if status.get("staged") is not None else status.get("booted")
    spec = ((base or {}).get("image") or {}).get("image")
    return _signature(spec) if spec else "insecure"


def _wish(status: dict[str, Any], choices: Choices) -> tuple[str, tuple[str, ...]]:
    """Mostly an image that the host has, with the digest it has or another one."""
    images = [status[slot]["image"] for slot in SLOTS if status.get(slot) and status[slot].get("image")]
    if not images:
        return "registry.example.com/os:1", ()
    image = choices.of(images)
    digest = choices.of((image["imageDigest"], image["imageDigest"], *DIGESTS))
    text = image["image"]["image"]
    wish = choices.of((text, text, f"docker://{text}", f"{_repository(text)}@{digest}", f"{_repository(text)}:other"))
    return wish, choices.of(((), (digest,), (digest, DIGESTS[0])))


def _change(status: dict[str, Any], choices: Choices) -> None:
    """One change to what decides about the next boot."""
    slot = choices.of(SLOTS)
    other = choices.of(SLOTS)
    way = choices.number(9)
    if way == 0:
        status[slot] = json.loads(json.dumps(status.get(other)))
    elif way == 1:
        status["rollbackQueued"] = not status.get("rollbackQueued")
    elif way == 2:
        status[slot] = None
    elif status.get(slot):
        _change_deployment(status[slot], way, choices)


def _change_deployment(deployment: dict[str, Any], way: int, choices: Choices) -> None:
    image = deployment.get("image")
    if way == 3:
        deployment["downloadOnly"] = not deployment.get("downloadOnly")
    elif way == 4:
        deployment["incompatible"] = not deployment.get("incompatible")
    elif not image or not image.get("image"):
        return
    elif way == 5:
        image["imageDigest"] = choices.of((*DIGESTS, None))
    elif way == 6:
        image["image"]["signature"] = choices.of((None, "insecure", "containerPolicy", {"ostreeRemote": "fedora"}))
    elif way == 7:
        image["image"]["transport"] = choices.of(("registry", "oci", "containers-storage", None))
    else:
        text = image["image"]["image"]
        spellings = (
            *(f"docker://{text}", f"{_repository(text)}", f"{_repository(text)}:latest", f"{_repository(text)}:other"),
            *(
                f"{_repository(text)}@{DIGESTS[0]}",
                f"{text.partition('@')[0]}@{DIGESTS[1]}",
                f"other.example.com/{text}",
            ),
            *(text.upper(), text + choices.text(), ""),
        )
        image["image"]["image"] = choices.of(spellings)
