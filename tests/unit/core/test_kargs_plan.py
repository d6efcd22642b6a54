# SPDX-License-Identifier: GPL-3.0-or-later
"""One call of a tool that makes a command line what it should be, held to models of the tools."""

from __future__ import annotations

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_d import Delta, image_delta
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_plan import (
    loader_entries,
    next_arguments,
    ostree_in_place,
    rpm_ostree_kargs,
    with_source,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_wish import KargsWish
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kernel_arguments import Difference, KernelArguments
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal
from hypothesis import given
from hypothesis import strategies as st
from lab.simulators.kernel_arguments import Edits, with_keys


def line(text: str) -> KernelArguments:
    return KernelArguments.parse(text)


def after_rpm_ostree(current: KernelArguments, argv: tuple[str, ...]) -> KernelArguments:
    """What rpm-ostree makes of a call: the lab's model, which is held to recordings of the real one."""
    assert argv[:2] == ("rpm-ostree", "kargs")
    assert argv[-1] == "--unchanged-exit-77"
    edits = Edits()
    for option in argv[2:-1]:
        name, _equals, word = option.partition("=")
        {"--delete": edits.delete, "--append": edits.append}[name].append(word)
    result, changed = edits.apply(list(current.words))
    assert changed
    return KernelArguments(tuple(result))


@pytest.mark.parametrize(
    ("current", "wanted", "options"),
    [
        ("a ostree=/o b", "a ostree=/stale b", None),
        ("a", "a b=1", ["--append=b=1"]),
        ("a b", "a", ["--delete=b"]),
        # The bare word beside the same key with values: the exact word is meant, not the key.
        ("foo foo=bar", "foo=bar", ["--delete=foo"]),
        ("foo foo=bar", "foo", ["--delete=foo=bar"]),
        ("foo=1 foo=2 foo=3", "foo=2", ["--delete=foo=1", "--delete=foo=3"]),
        ("c=S0 c=0", "c=0 c=S0", ["--delete=c=S0", "--append=c=S0"]),
        # Deleting takes the first of two equal words, so the words behind it are set again to keep the order.
        ("a=1 a=2 a=1", "a=1 a=2", ["--delete=a=1", "--delete=a=2", "--append=a=2"]),
        ("a a", "a", ["--delete=a"]),
        ("a", "a a", ["--append=a"]),
        ('d="x y" e', "e", ['--delete=d="x y"']),
    ],
)
def test_the_rpm_ostree_call(current: str, wanted: str, options: list[str] | None) -> None:
    argv = rpm_ostree_kargs(line(current), line(wanted))
    if options is None:
        assert argv is None
        return
    assert argv == ("rpm-ostree", "kargs", *options, "--unchanged-exit-77")
    assert after_rpm_ostree(line(current), argv).same_as(line(wanted))


words = st.sampled_from(["a", "a=", "a=1", "a=2", "b", "b=1", 'b="1 2"', "c", "ostree=/x", "BOOT_IMAGE=y"])
lines = st.lists(words, max_size=9).map(lambda found: KernelArguments(tuple(found)))


@given(lines, lines)
def test_the_call_reaches_any_command_line_from_any_other(current: KernelArguments, wanted: KernelArguments) -> None:
    argv = rpm_ostree_kargs(current, wanted)
    if argv is None:
        assert current.same_as(wanted)
        return
    after = after_rpm_ostree(current, argv)
    assert after.same_as(wanted)
    assert after.machine_words == current.machine_words
    assert rpm_ostree_kargs(after, wanted) is None


def test_nothing_is_appended_behind_the_words_for_init() -> None:
    with pytest.raises(Refusal, match="would go to init"):
        rpm_ostree_kargs(line("a -- single"), line("a -- single b"))
    assert rpm_ostree_kargs(line("a b -- single"), line("a -- single")) == (
        "rpm-ostree",
        "kargs",
        "--delete=b",
        "--unchanged-exit-77",
    )


def test_in_place_can_append() -> None:
    assert ostree_in_place(line("a ostree=/o"), line("a ostree=/o b=1 c")) == (
        "ostree",
        "admin",
        "kargs",
        "edit-in-place",
        "--append-if-missing=b=1",
        "--append-if-missing=c",
    )
    assert ostree_in_place(line("a"), line("a")) is None


@pytest.mark.parametrize(
    ("current", "wanted"),
    [
        ("a b", "a"),
        ("a b", "b a"),
        ("a", "a a"),
        ("a", "b"),
        ("a", "a b b"),
        ("a", "a b=1 b=2"),
        ("console=tty0", "console=tty0 console=ttyS0"),
        ("x -- y", "x -- y a"),
    ],
)
def test_in_place_can_do_nothing_else(current: str, wanted: str) -> None:
    with pytest.raises(Refusal):
        ostree_in_place(line(current), line(wanted))


@given(lines, lines)
def test_what_in_place_is_asked_to_do_it_does(current: KernelArguments, wanted: KernelArguments) -> None:
    try:
        argv = ostree_in_place(current, wanted)
    except Refusal:
        return
    added = [option.partition("=")[2] for option in (argv or ())[4:]]
    assert KernelArguments(tuple(with_keys(list(current.words), added))).same_as(wanted)


def source(name: str, options: str | None) -> tuple[str, ...]:
    argv = ("bootc", "loader-entries", "set-options-for-source", "--source", name)
    return argv if options is None else (*argv, "--options", options)


def test_a_source_is_set() -> None:
    wish = KargsWish.of(present=["le.a=1", "le.b=2"], owner="tuned", exclusive=True)
    plan = loader_entries(line("root=x quiet"), {}, wish)
    assert plan.commands == (source("tuned", "le.a=1 le.b=2"),)
    assert plan.after.text() == "root=x quiet le.a=1 le.b=2"
    assert plan.sources == {"tuned": ("le.a=1", "le.b=2")}
    assert loader_entries(plan.after, plan.sources, wish).commands == ()


def test_what_is_there_already_is_left_to_whom_it_belongs() -> None:
    """Recorded, bootc 1.16.9: `quiet` was claimed by a source beside the plain argument, and went when the source did."""
    wish = KargsWish.of(present=["quiet", "x.c=1"], owner="c", exclusive=True)
    plan = loader_entries(line("root=x quiet"), {}, wish)
    assert plan.commands == (source("c", "x.c=1"),)
    gone = loader_entries(plan.after, plan.sources, KargsWish.of(owner="c", exclusive=True))
    assert gone.commands == (source("c", None),)
    assert gone.after.text() == "root=x quiet"


def test_a_shared_word_is_given_back_to_the_other_source() -> None:
    """Recorded, bootc 1.16.9: removing source b dropped x.shared=1, which source a has as well."""
    sources = {"a": ("x.shared=1", "x.a=1"), "b": ("x.shared=1", "x.b=1")}
    current = line("quiet x.shared=1 x.a=1 x.b=1")
    assert with_source(current, sources["b"], ()).text() == "quiet x.a=1"
    wish = KargsWish.of(present=["x.n=1"], owner="b", exclusive=True)
    plan = loader_entries(current, sources, wish, keep=["x.shared=1", "x.a=1"])
    assert plan.commands == (source("b", "x.shared=1 x.n=1"),)
    assert set(plan.after.words) == {"quiet", "x.shared=1", "x.a=1", "x.n=1"}


def test_without_exclusive_a_source_only_grows() -> None:
    plan = loader_entries(line("q a"), {"me": ("a",)}, KargsWish.of(present=["b"], owner="me"))
    assert plan.commands == (source("me", "a b"),)
    assert plan.after.text() == "q a b"


@pytest.mark.parametrize(
    "wish",
    [
        KargsWish.of(absent=["quiet"], owner="me"),
        KargsWish.of(exact={"console": ["tty0"]}, owner="me"),
        KargsWish.of(exact={"a": ["1", "1"]}, owner="me"),
    ],
)
def test_what_a_source_cannot_do_is_refused_with_the_way_that_remains(wish: KargsWish) -> None:
    with pytest.raises(Refusal, match=r"kargs\.d"):
        loader_entries(line("quiet console=ttyS0 console=tty0"), {}, wish)


def test_whoever_set_it_is_named() -> None:
    with pytest.raises(Refusal, match="Owner 'tuning' set it"):
        loader_entries(line("root=x nosmt"), {"tuning": ("nosmt",)}, KargsWish.of(absent=["nosmt"]))


plain = st.sampled_from(["a", "a=1", "a=2", "b", "c=1"])


@given(
    st.lists(plain, max_size=5, unique=True),
    st.dictionaries(st.sampled_from(["me", "other"]), st.lists(plain, max_size=3, unique=True).map(tuple)),
    st.lists(plain, max_size=3),
    st.booleans(),
)
def test_sources_lose_nothing_of_others(
    base: list[str], sources: dict[str, tuple[str, ...]], present: list[str], exclusive: bool
) -> None:
    current = KernelArguments(tuple(base))
    for theirs in sources.values():
        current = current.with_each_once(theirs)
    others = sources.get("other", ())
    wish = KargsWish.of(present=present or ["z"], owner="me", exclusive=exclusive)
    try:
        plan = loader_entries(current, sources, wish, keep=others)
    except Refusal:
        return
    simulated, state = current, dict(sources)
    for command in plan.commands:
        name, words = command[4], tuple(command[6].split()) if len(command) > 5 else ()
        simulated = with_source(simulated, state.get(name, ()), words)
        state[name] = words
    assert simulated == plan.after
    assert set(others) <= set(simulated.words)
    assert set(wish.present) <= set(simulated.words)
    assert set(current.words) - set(simulated.words) <= set(sources.get("me", ()))
    assert loader_entries(plan.after, plan.sources, wish, keep=others).commands == ()


def test_bootc_starts_from_the_booted_arguments_and_what_others_staged_is_made_again() -> None:
    booted = line("root=x img=1 local=1 ostree=/a")
    pending = line("root=x img=1 staged.karg=1 ostree=/a")
    staged_by_bootc = line("root=x local=1 img=2 ostree=/a")
    wish = KargsWish.of(present=["mine"])
    result = next_arguments(staged_by_bootc, carried=Difference(booted, pending), wish=wish)
    assert result.text() == "root=x img=2 ostree=/a staged.karg=1 mine"


def test_one_image_gives_one_command_line_on_both_tools() -> None:
    """rpm-ostree keeps what is pending and ignores kargs.d; bootc does the reverse."""
    booted, pending = line("root=x img=1 both"), line("root=x img=1 both staged.karg=1")
    delta = image_delta(["img=1", "both"], ["both", "img=2"])
    carried = Difference(booted, pending)
    by_bootc = next_arguments(delta.onto(booted), carried=carried)
    by_rpm_ostree = next_arguments(pending, delta, carried)
    assert by_bootc.same_words_as(by_rpm_ostree)
    assert set(by_bootc.words) == {"root=x", "both", "img=2", "staged.karg=1"}


@given(lines, lines, lines, st.lists(words, max_size=3), st.lists(words, max_size=3))
def test_the_next_arguments_settle_at_once(
    staged: KernelArguments, booted: KernelArguments, pending: KernelArguments, removed: list[str], added: list[str]
) -> None:
    wish = KargsWish.of(present=["w"])
    delta = Delta(tuple(word for word in removed if word not in added), tuple(added))
    carried = Difference(booted, pending)
    once = next_arguments(staged, delta, wish=wish)
    assert next_arguments(once, delta, wish=wish) == once
    once = next_arguments(staged, carried=carried, wish=wish)
    assert next_arguments(once, carried=carried, wish=wish) == once
