# SPDX-License-Identifier: GPL-3.0-or-later
"""Which old images go: a table of repositories and policies."""

from __future__ import annotations

import dataclasses
import itertools
from datetime import datetime, timezone

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.retention import (
    Retention,
    RetentionPolicy,
    StoredImage,
    decide,
    made_at,
)

NOW = datetime(2026, 11, 21, tzinfo=timezone.utc)


def digest(name: str) -> str:
    return "sha256:" + (name.encode().hex() * 64)[:64]


def built(name: str, day: int, *others: str, children: tuple[str, ...] = ()) -> StoredImage:
    """An image of the tag `1`, made on a day of November, with further tags."""
    key = digest(name)[7:]
    tags = tuple(sorted((f"1-{key[:12]}", *others)))
    return StoredImage(digest(name), tags, children, key, f"2026-11-{day:02}T08:00:00Z")


def removed(retention: Retention) -> list[str]:
    return [image.digest for image in retention.removed]


def policy(keep: int = 0, days: int | None = None, *protected: str) -> RetentionPolicy:
    return RetentionPolicy(keep, days, frozenset(protected))


A, B, C, D = built("a", 1), built("b", 2), built("c", 3), built("d", 4, "1")


@pytest.mark.parametrize(
    ("rule", "gone"),
    [
        (policy(0), [A, B, C]),
        (policy(1), [A, B]),
        (policy(2), [A]),
        (policy(3), []),
        (policy(99), []),
        (policy(0, 18), [A, B]),
        (policy(1, 19), [A]),
        (policy(0, 0), [A, B, C]),
        (policy(0, 10_000), []),
        (policy(0, None, A.digest), [B, C]),
        (policy(1, None, A.digest), [B]),
        (policy(0, None, digest("of no image here")), [A, B, C]),
    ],
)
def test_the_policy_over_four_builds_the_newest_of_which_has_the_tag(
    rule: RetentionPolicy, gone: list[StoredImage]
) -> None:
    for order in itertools.permutations((A, B, C, D)):
        decision = decide("1", order, rule, NOW)
        assert removed(decision) == [image.digest for image in gone]
        staying = {tag for image in (A, B, C, D) if image not in gone for tag in image.tags if tag != "1"}
        assert set(decision.kept) == staying
        assert all(decision.kept.values())


def test_builds_on_one_base_stay_together_because_nothing_tells_which_is_newer() -> None:
    twins = [built("x", 5), built("y", 5), built("z", 5)]
    assert removed(decide("1", [A, *twins], policy(1), NOW)) == [A.digest]
    assert removed(decide("1", [A, *twins], policy(4), NOW)) == []


def test_a_protected_image_does_not_use_up_the_number_to_keep() -> None:
    assert removed(decide("1", [A, B, C], policy(1, None, C.digest), NOW)) == [A.digest]


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (built("a", 1, "prod"), "also tagged prod"),
        (built("a", 1, "2-" + digest("a")[7:19]), "also tagged 2-"),
        (dataclasses.replace(A, input_key=None), "not built for the tag"),
        (dataclasses.replace(A, input_key=digest("b")[7:]), "not built for the tag"),
        (dataclasses.replace(A, created=None), "when it was made"),
        (dataclasses.replace(A, created="yesterday"), "when it was made"),
        (StoredImage(digest("a"), ("1-" + "A" * 12,), (), "A" * 64, A.created), "also tagged"),
        (StoredImage(digest("a"), ("1-" + "a" * 13,), (), "a" * 64, A.created), "also tagged"),
        (StoredImage(digest("a"), ("x1-" + "a" * 12,), (), "a" * 64, A.created), "also tagged"),
    ],
)
def test_what_is_never_removed(image: StoredImage, reason: str) -> None:
    decision = decide("1", [image, B], policy(0), NOW)
    assert removed(decision) == [B.digest]
    assert all(reason in text for text in decision.kept.values())


def test_a_dot_in_a_tag_is_a_dot() -> None:
    other = StoredImage(digest("a"), ("2026x11-" + digest("a")[7:19],), (), digest("a")[7:], A.created)
    assert removed(decide("2026.11", [other], policy(0), NOW)) == []


CHILD, LONELY = digest("child"), digest("lonely")
INDEX = built("i", 1, children=(CHILD, LONELY))


@pytest.mark.parametrize(
    ("protected", "gone"), [((), [INDEX.digest]), ((INDEX.digest,), []), ((CHILD,), []), ((LONELY,), [])]
)
def test_an_index_stays_if_it_or_a_part_of_it_is_protected(protected: tuple[str, ...], gone: list[str]) -> None:
    decision = decide("1", [INDEX], policy(0, None, *protected), NOW)
    assert removed(decision) == gone
    assert decision.orphans == (tuple(sorted((CHILD, LONELY))) if gone else ())


def test_manifests_of_a_removed_index_stay_where_something_else_needs_them() -> None:
    tagged = StoredImage(CHILD, ("amd64",))
    assert decide("1", [INDEX, tagged], policy(0), NOW).orphans == (LONELY,)
    other = StoredImage(digest("other"), ("other",), (LONELY,))
    assert decide("1", [INDEX, tagged, other], policy(0), NOW).orphans == ()


def test_a_build_stays_as_long_as_an_index_needs_it() -> None:
    build = built("b", 2)
    index = StoredImage(digest("index"), ("1",), (build.digest,))
    decision = decide("1", [build, index], policy(0), NOW)
    assert removed(decision) == []
    assert decision.kept == {build.tags[0]: f"the index {index.digest} needs it"}
    old = built("o", 1, children=(build.digest,))
    assert set(removed(decide("1", [build, old], policy(0), NOW))) == {build.digest, old.digest}


def test_creation_times_in_all_their_spellings() -> None:
    assert made_at("2026-11-20T23:30:00.123456789-01:00") == datetime(2026, 11, 21, 0, 30, tzinfo=timezone.utc)
    assert made_at("2026-11-21T00:30:00Z") == datetime(2026, 11, 21, 0, 30, tzinfo=timezone.utc)
    assert made_at("2026-11-21 00:30") is None
