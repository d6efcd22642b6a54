# SPDX-License-Identifier: GPL-3.0-or-later
"""From a command line as it is to one as it should be: the one call of a tool that makes it so, or why there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_d import Delta
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_wish import KargsWish
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kernel_arguments import (
    END_OF_KERNEL_WORDS,
    Difference,
    KernelArguments,
    key_of,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal

IMAGE_WAY = (
    "The way that remains is the image: put the arguments into /usr/lib/bootc/kargs.d/*.toml "
    "(layered_image_build) and stage that image."
)


NO_DELTA = Delta()


class Backend(str, Enum):
    """What changes the arguments of a host."""

    AUTO = "auto"
    RPM_OSTREE = "rpm-ostree"
    LOADER_ENTRIES = "loader-entries"
    OSTREE = "ostree"


def rpm_ostree_kargs(current: KernelArguments, wanted: KernelArguments) -> tuple[str, ...] | None:
    """The one `rpm-ostree kargs` call that turns `current` into `wanted`; None if they are the same. Raises Refusal.

    Deletes and appends only: deletes run first, each on the first word that is spelled so, and appends add to the end
    (rpm-ostree 2026.2 src/daemon/rpmostreed-transaction-types.cxx, recorded). So the longest beginning of `wanted` that
    deletes can leave standing is kept, and the rest is appended in order, again if need be.
    """
    if current.same_as(wanted):
        return None
    have, goal = current.without_machine_words.words, wanted.without_machine_words.words
    ways = ((kept, _deletes(have, goal[:kept])) for kept in range(len(goal), -1, -1))
    kept, deletes = next((kept, deletes) for kept, deletes in ways if deletes is not None)
    _require_before_init_words(have, goal[kept:])
    return (
        "rpm-ostree",
        "kargs",
        *(f"--delete={word}" for word in deletes),
        *(f"--append={word}" for word in goal[kept:]),
        "--unchanged-exit-77",
    )


def _deletes(have: Sequence[str], goal: Sequence[str]) -> list[str] | None:
    """The words to delete so that `goal` is left; None if no deletes can do that."""
    surplus = Counter(have)
    surplus.subtract(goal)
    if any(count < 0 for count in surplus.values()):
        return None
    deletes = []
    left = list(have)
    for word in have:
        if surplus[word] > 0:
            surplus[word] -= 1
            deletes.append(word)
            left.remove(word)
    return deletes if left == list(goal) else None


def _require_before_init_words(have: Sequence[str], appended: Sequence[str]) -> None:
    """Appending behind `--` would hand the word to init instead of the kernel: no tool can insert before it."""
    if END_OF_KERNEL_WORDS in have and appended:
        raise Refusal(
            f"The command line of this node has words for init behind `--`, and every tool appends at the end, where {', '.join(appended)} "
            "would go to init instead of the kernel. Take `--` and what follows it away by hand first "
            "(`rpm-ostree kargs --editor` on the node)."
        )


def ostree_in_place(current: KernelArguments, wanted: KernelArguments) -> tuple[str, ...] | None:
    """The `ostree admin kargs edit-in-place` call that appends what is missing; None if nothing is. Raises Refusal.

    It can only append, and only arguments of whose name the command line has none: `console=ttyS0` is left out without a word where
    `console=tty0` is (ostree 2026.4 src/ostree/ot-admin-kargs-builtin-edit-in-place.c). It edits the boot entries of all
    deployments at once, without a new deployment.
    """
    if current.same_as(wanted):
        return None
    have, goal = current.without_machine_words.words, wanted.without_machine_words.words
    appended = goal[len(have) :]
    _require_before_init_words(have, appended)
    if goal[: len(have)] != have:
        stuck = "take away " + (
            ", ".join(current.missing_from(wanted)) or "and set again what is there, for another order"
        )
    else:
        keys = Counter(map(key_of, goal))
        stuck = ", ".join(word for word in appended if keys[key_of(word)] > 1)
        if not stuck:
            return ("ostree", "admin", "kargs", "edit-in-place", *(f"--append-if-missing={word}" for word in appended))
        stuck = f"add {stuck} beside another value"
    raise Refusal(
        "This node's arguments can only be changed with `ostree admin kargs edit-in-place`, which adds arguments that are not there with "
        f"any value, and nothing else. Wanted was to {stuck}. {IMAGE_WAY}"
    )


@dataclass(frozen=True)
class SourcePlan:
    """The calls of `bootc loader-entries`, and what they make of the command line and of the sources."""

    commands: tuple[tuple[str, ...], ...]
    after: KernelArguments
    sources: Mapping[str, tuple[str, ...]]


def loader_entries(
    current: KernelArguments,
    sources: Mapping[str, tuple[str, ...]],
    wish: KargsWish,
    keep: Collection[str] = (),
) -> SourcePlan:
    """The calls that meet a wish by way of its owner's source. Raises Refusal where sources cannot do it.

    A source can take away its own words only. Taking them away drops the same word of another source or of the plain
    command line too (recorded, bootc 1.16.9): so a word that is there already is left to whom it belongs, what `keep` or
    another source needs stays, and a source that loses a word is set again.
    """
    name = wish.owner or "imagemode"
    own = sources.get(name, ())
    wanted = wish.apply(current, own, keep)
    if wanted == current:
        return SourcePlan((), current, sources)
    words = [
        word
        for word in dict.fromkeys(wanted.words)
        if word in own or (word in wish.listed and word not in current.words)
    ]
    _require_before_init_words(current.words, [word for word in words if word not in current.words])
    commands = [_set_source(name, words)]
    after = with_source(current, own, words)
    after_sources = {**sources, name: tuple(words)}
    for other, theirs in sources.items():
        if other != name and any(word not in after.words and word in wanted.words for word in theirs):
            commands.append(_set_source(other, theirs))
            after = with_source(after, theirs, theirs)
    if not wish.met_by(after, own, keep) or not set(wanted.words) <= set(after.words):
        stuck = ", ".join(after.missing_from(wanted)) or ", ".join(wanted.missing_from(after)) or "the order"
        owners = [other for other, theirs in sources.items() if other != name and set(theirs) & set(stuck.split(", "))]
        way = (
            f"Owner {owners[0]!r} set it: name that owner, with exclusive: true and what is to stay."
            if owners
            else IMAGE_WAY
        )
        raise Refusal(
            f"This node has no rpm-ostree, and `bootc loader-entries` can only take away what it set for the source {name!r} itself. "
            f"Not possible that way: {stuck}. {way}"
        )
    return SourcePlan(tuple(commands), after, after_sources)


def with_source(current: KernelArguments, own: Sequence[str], words: Sequence[str]) -> KernelArguments:
    """What setting a source does: its old words go, wherever they came from; its new ones are added if they are missing."""
    return current.without_words(own).with_each_once(words)


def _set_source(name: str, words: Sequence[str]) -> tuple[str, ...]:
    argv = ("bootc", "loader-entries", "set-options-for-source", "--source", name)
    return (*argv, "--options", " ".join(words)) if words else argv


def next_arguments(
    staged_now: KernelArguments,
    delta: Delta = NO_DELTA,
    carried: Difference | None = None,
    wish: KargsWish | None = None,
    owned_before: Collection[str] = (),
    keep: Collection[str] = (),
) -> KernelArguments:
    """What the next boot's arguments must be after an image was staged, from what the tool gave it (`staged_now`).

    `delta` is what the tool left out: nothing for bootc, image_delta(booted tree, staged tree) for rpm-ostree, which ignores
    kargs.d. `carried` is what others had staged before: bootc starts from the booted arguments and loses it, rpm-ostree
    keeps it (recorded, bootc 1.16.9 and rpm-ostree 2026.2). Doing all of it again changes nothing, whoever did part of it.
    """
    result = delta.onto(staged_now)
    if carried:
        result = carried.onto(result)
    return wish.apply(result, owned_before, keep) if wish else result
