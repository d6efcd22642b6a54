# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted of a command line, and what that makes of it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_wish import InvalidWish, KargsWish
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kernel_arguments import KernelArguments, key_of
from hypothesis import assume, given
from hypothesis import strategies as st

LINE = "root=LABEL=root rw ostree=/o/0 quiet console=ttyS0 console=tty0 foo foo=bar foo=baz"


def line(text: str) -> KernelArguments:
    return KernelArguments.parse(text)


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({"present": ["quiet"]}, LINE),
        ({"present": ["a", "b=1", "a"]}, f"{LINE} a b=1"),
        ({"present": ["foo=qux"]}, f"{LINE} foo=qux"),
        ({"present": ['a="b c"']}, f'{LINE} a="b c"'),
        ({"absent": ["quiet"]}, LINE.replace(" quiet", "")),
        # The key alone means the argument whatever its value; with a value just that one.
        ({"absent": ["foo"]}, LINE.replace(" foo foo=bar foo=baz", "")),
        ({"absent": ["foo=bar"]}, LINE.replace(" foo=bar", "")),
        ({"absent": ["fo", "oo=bar", "console=tty"]}, LINE),
        ({"exact": {"console": ["ttyS0", "tty0"]}}, LINE),
        ({"exact": {"console": ["tty0", "ttyS0"]}}, LINE.replace(" console=ttyS0", "") + " console=ttyS0"),
        ({"exact": {"console": ["tty0"]}}, LINE.replace(" console=ttyS0", "")),
        ({"exact": {"console": []}}, LINE.replace(" console=ttyS0 console=tty0", "")),
        ({"exact": {"foo": [None]}}, LINE.replace(" foo=bar foo=baz", "")),
        ({"exact": {"foo": [""]}}, LINE.replace(" foo=bar foo=baz", "")),
        ({"exact": {"mitigations": "auto"}}, f"{LINE} mitigations=auto"),
        ({"exact": {"nmi_watchdog": [0]}}, f"{LINE} nmi_watchdog=0"),
        ({"exact": {"dyndbg": ["file a +p"]}}, f'{LINE} dyndbg="file a +p"'),
        ({"exact": {"a": ["1", "1"]}}, f"{LINE} a=1 a=1"),
        ({"exact": {"quiet": None}}, LINE),
    ],
)
def test_wishes(wish: dict[str, Any], expected: str) -> None:
    assert KargsWish.of(**wish).apply(line(LINE)).text() == expected


@pytest.mark.parametrize(
    ("wish", "named"),
    [
        ({}, "Nothing is asked for"),
        ({"owner": "me"}, "Nothing is asked for"),
        ({"present": ["a"], "absent": ["a"]}, "wanted present, and absent"),
        ({"present": ["a=1"], "absent": ["a"]}, "exact"),
        ({"present": ["a=1"], "exact": {"a": ["2"]}}, "in one place"),
        ({"absent": ["a=1"], "exact": {"a": ["2"]}}, "in one place"),
        ({"present": ["a"], "exclusive": True}, "needs an owner"),
        ({"present": ["a"], "owner": "../etc"}, "letters, digits"),
        ({"present": ["a"], "owner": ""}, "letters, digits"),
        ({"present": ["a"], "owner": "x" * 65}, "letters, digits"),
        ({"present": ["a"], "owner": "me\n"}, "letters, digits"),
        ({"present": ["a b"]}, "is 2 arguments"),
        ({"present": ["a\nb"]}, "cannot be printed"),
        ({"present": ["a\0"]}, "cannot be printed"),
        ({"absent": ['a="b']}, "never closed"),
        ({"present": [""]}, "is empty"),
        ({"present": ["ostree=/x"]}, "cannot be managed"),
        ({"absent": ["BOOT_IMAGE"]}, "cannot be managed"),
        ({"exact": {"initrd": ["/x"]}}, "cannot be managed"),
        ({"exact": {"ostree": []}}, "cannot be managed"),
        ({"exact": {"a=b": ["c"]}}, "not the name"),
        ({"exact": {"a b": ["c"]}}, "is 2 arguments"),
        ({"exact": {"a": [True]}}, "YAML"),
        ({"exact": {"a": [{"b": 1}]}}, "YAML"),
        ({"exact": {"a": ['b" c']}}, "never closed"),
    ],
)
def test_what_makes_no_sense_is_refused(wish: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidWish, match=named):
        KargsWish.of(**wish)


def test_an_owner_takes_back_what_it_no_longer_lists() -> None:
    wish = KargsWish.of(present=["a", "b"], owner="me", exclusive=True)
    assert wish.apply(line("x old a"), ["old", "a"]).text() == "x a b"
    assert wish.apply(line("x old a"), ["old", "a"], keep=["old"]).text() == "x old a b"
    assert KargsWish.of(present=["a"], owner="me").apply(line("old a"), ["old"]).text() == "old a"
    assert KargsWish.of(owner="me", exclusive=True).apply(line("x old"), ["old"]).text() == "x"


@pytest.mark.parametrize(
    ("owned", "booted", "after"),
    [
        ((), "x", ("a", "b=1")),
        (("a",), "x a", ("a", "b=1")),
        # Taken away now, but booted still: a rollback or a lost staging brings it back, and it stays ours.
        (("old",), "x old", ("a", "b=1", "old")),
        # Nowhere any more: whoever adds it again owns it.
        (("old",), "x", ("a", "b=1")),
    ],
)
def test_what_is_remembered(owned: tuple[str, ...], booted: str, after: tuple[str, ...]) -> None:
    wish = KargsWish.of(present=["a"], exact={"b": ["1"]}, owner="me", exclusive=True)
    assert wish.owned_after(owned, line(booted)) == after
    assert wish.owned_after(after, line(booted)) == after


tokens = st.sampled_from(["a", "a=", "a=1", "a=2", "b", "b=1", 'b="1 2"', "c=1", "ostree=/x", "root=x", "aa=1"])
lines = st.lists(tokens, max_size=10).map(lambda found: KernelArguments(tuple(found)))


@st.composite
def wishes(draw: st.DrawFn) -> KargsWish:
    managed = st.sampled_from(["a", "a=", "a=1", "a=2", "b", "b=1", 'b="1 2"', "c=1", "d"])
    try:
        return KargsWish.of(
            present=draw(st.lists(managed, max_size=3)),
            absent=draw(st.lists(managed, max_size=3)),
            exact=draw(
                st.dictionaries(st.sampled_from("abcd"), st.lists(st.sampled_from([None, "1", "2"]), max_size=3))
            ),
            owner="me",
            exclusive=draw(st.booleans()),
        )
    except InvalidWish:
        assume(False)
        raise


@given(lines, wishes(), st.lists(tokens, max_size=4))
def test_a_wish_is_fulfilled_and_stays_so(current: KernelArguments, wish: KargsWish, owned: list[str]) -> None:
    result = wish.apply(current, owned)
    assert set(wish.present) <= set(result.words)
    for word in wish.absent:
        assert word not in result.words
        assert "=" in word or not result.of_key(word)
    for key, words in wish.exact:
        assert result.of_key(key) == words
    assert wish.met_by(result, owned)
    assert not set(wish.leaving(owned)) & set(result.words)


@given(lines, wishes())
def test_a_wish_leaves_what_it_does_not_name(current: KernelArguments, wish: KargsWish) -> None:
    named = {key_of(word) for word in (*wish.listed, *wish.absent)} | {key for key, _words in wish.exact}
    untouched = [word for word in current.words if key_of(word) not in named]
    assert [word for word in wish.apply(current).words if key_of(word) not in named] == untouched


@pytest.mark.parametrize("wish", [{"absent": ["root"]}, {"absent": ["root=LABEL=root"]}, {"exact": {"root": []}}])
def test_root_is_not_taken_away(wish: dict[str, Any]) -> None:
    with pytest.raises(InvalidWish, match="would not boot"):
        KargsWish.of(**wish)


def test_root_can_be_replaced() -> None:
    wish = KargsWish.of(exact={"root": ["LABEL=new"]})
    assert wish.apply(KernelArguments(("root=LABEL=root", "rw"))).of_key("root") == ("root=LABEL=new",)
