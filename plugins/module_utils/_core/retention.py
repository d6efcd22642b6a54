# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of an image's second tags may go: the policy alone, over what a repository was seen to have.

A registry deletes manifests, not tags, and with a manifest every tag on it and every index that lists it. So what is
decided about is the manifest, and it stays as long as anything that stays needs it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from ansible_collections.imagemode.nodes.plugins.module_utils._core.input_key import SHORT_LENGTH

_CREATED = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)\Z")


@dataclass(frozen=True)
class RetentionPolicy:
    """`keep` counts images; `keep_days` None sets no age; `protected` are digests of manifests or indexes."""

    keep: int
    keep_days: int | None
    protected: frozenset[str]


@dataclass(frozen=True)
class StoredImage:
    """A manifest or index in the repository, and every tag on it; `children` are the manifests of an index.

    `input_key` and `created` are as the image says them, None where it does not. Only read for candidates.
    """

    digest: str
    tags: tuple[str, ...]
    children: tuple[str, ...] = ()
    input_key: str | None = None
    created: str | None = None

    @property
    def manifests(self) -> frozenset[str]:
        """Everything that has to be in the registry for the image to work."""
        return frozenset((self.digest, *self.children))


@dataclass(frozen=True)
class Retention:
    """What is decided. `removed` in order of age, the oldest first; `kept` maps each second tag to why it stays.

    `orphans` are the manifests of removed indexes that nothing else needs, and that have no tag of their own.
    """

    removed: tuple[StoredImage, ...]
    kept: Mapping[str, str]
    orphans: tuple[str, ...]


def second_tag_pattern(tag: str) -> re.Pattern[str]:
    """What the second tags of a tag look like; the group is the beginning of the input key."""
    return re.compile(re.escape(tag) + rf"-([0-9a-f]{{{SHORT_LENGTH}}})\Z")


def made_at(created: str | None) -> datetime | None:
    """A creation time as a time; None where there is none that can be read. Fractions of a second are left out."""
    found = _CREATED.match(created or "")
    if not found:
        return None
    zone = "+00:00" if found.group(2) == "Z" else found.group(2)
    return datetime.fromisoformat(found.group(1) + zone).astimezone(timezone.utc)


def decide(tag: str, images: Sequence[StoredImage], policy: RetentionPolicy, now: datetime) -> Retention:
    """Decide about every image that has nothing but second tags of `tag`; all others are only looked at."""
    reasons = {image.digest: _reason_to_keep(tag, image, policy) for image in images}
    candidates = [image for image in images if reasons[image.digest] is None]
    for digest, reason in _by_age(candidates, policy, now).items():
        reasons[digest] = reason
    _keep_what_is_needed(images, reasons)
    removed = [image for image in images if reasons[image.digest] is None]
    removed.sort(key=lambda image: (made_at(image.created) or now, image.digest))
    pattern = second_tag_pattern(tag)
    kept = {
        name: reasons[image.digest] or ""
        for image in images
        if reasons[image.digest] is not None
        for name in image.tags
        if pattern.match(name)
    }
    staying = {digest for image in images if reasons[image.digest] is not None for digest in image.manifests}
    own = {image.digest for image in images}
    orphans = {child for image in removed for child in image.children} - staying - own - policy.protected
    return Retention(tuple(removed), kept, tuple(sorted(orphans)))


def _reason_to_keep(tag: str, image: StoredImage, policy: RetentionPolicy) -> str | None:
    pattern = second_tag_pattern(tag)
    others = [name for name in image.tags if not pattern.match(name)]
    if tag in others:
        return f"{tag} points to it"
    if others:
        return f"it is also tagged {', '.join(sorted(others))}"
    for name in image.tags:
        found = pattern.match(name)
        if found and not (image.input_key or "").startswith(found.group(1)):
            return f"its label says that it was not built for the tag {name}"
    protected = sorted(image.manifests & policy.protected)
    if protected:
        return f"{protected[0]} is protected"
    if made_at(image.created) is None:
        return "it does not say when it was made"
    return None


def _by_age(candidates: Collection[StoredImage], policy: RetentionPolicy, now: datetime) -> dict[str, str]:
    """Reasons of age. Images with one creation time stay or go together: nothing tells which of them is newer."""
    times = sorted((made_at(image.created) or now for image in candidates), reverse=True)
    reasons = {}
    oldest_kept = times[min(policy.keep, len(times)) - 1] if times and policy.keep else None
    for image in candidates:
        made = made_at(image.created) or now
        if oldest_kept is not None and made >= oldest_kept:
            reasons[image.digest] = f"it is among the newest {policy.keep}, or as new as one of them"
        elif policy.keep_days is not None and now - made < timedelta(days=policy.keep_days):
            reasons[image.digest] = f"it was made within {policy.keep_days} days"
    return reasons


def _keep_what_is_needed(images: Sequence[StoredImage], reasons: dict[str, str | None]) -> None:
    """Keep the manifests that indexes need which stay, until nothing more is found."""
    while True:
        needed = {
            child: image.digest for image in images if reasons[image.digest] is not None for child in image.children
        }
        found = [image for image in images if reasons[image.digest] is None and image.digest in needed]
        if not found:
            return
        for image in found:
            reasons[image.digest] = f"the index {needed[image.digest]} needs it"
