# SPDX-License-Identifier: GPL-3.0-or-later
"""The one tokenizer of kernel command lines, and comparing them."""

from __future__ import annotations

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kernel_arguments import (
    ArgumentsNotUnderstood,
    Difference,
    KernelArguments,
    key_of,
    require_word,
    split_words,
    words_as_found,
)
from hypothesis import given
from hypothesis import strategies as st

OSTREE = "ostree=/ostree/boot.1/default/0123/0"

bare = st.text(st.characters(codec="utf-8", exclude_characters=' "\t\x7f', exclude_categories=["Cc"]), max_size=6)
quoted = st.text(st.characters(codec="utf-8", exclude_characters='"\x7f', exclude_categories=["Cc"]), max_size=6).map(
    lambda text: f'"{text}"'
)
words = st.lists(st.one_of(bare, quoted), min_size=1, max_size=4).map("".join).filter(bool)
lines = st.lists(words, max_size=12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("quiet\n", ["quiet"]),
        ("  quiet   splash ", ["quiet", "splash"]),
        ("a\tb", ["a", "b"]),
        ("quiet quiet a=1 a=2 a", ["quiet", "quiet", "a=1", "a=2", "a"]),
        ('dyndbg="file a.c +p" x', ['dyndbg="file a.c +p"', "x"]),
        ('"dyndbg=file a.c +p" x', ['"dyndbg=file a.c +p"', "x"]),
        ('a=b" "c d', ['a=b" "c', "d"]),
        ('a="" b', ['a=""', "b"]),
        ("a= a", ["a=", "a"]),
        ("a=b=c", ["a=b=c"]),
        ("x -- y", ["x", "--", "y"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert split_words(text) == expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a\0b", "control character"),
        ("a\nb", "control character"),
        ("a\n\n", "control character"),
        ("a\x1b[0m", "control character"),
        ("a\x7f", "control character"),
        ('a="b c', "never closed"),
        ('a" b" c"', "never closed"),
    ],
)
def test_what_is_no_command_line_is_named(text: str, named: str) -> None:
    with pytest.raises(ArgumentsNotUnderstood, match=named):
        split_words(text)


def test_a_broken_command_line_can_still_be_shown() -> None:
    assert words_as_found('a="b c" d\n') == ('a="b c"', "d")
    assert words_as_found('a="b c d\n') == ('a="b', "c", "d")


@pytest.mark.parametrize("text", ["", " ", "a b", " a", "a ", 'a="b', "a\u202e", "\udc80", "=b", "--", '""'])
def test_what_is_not_one_argument(text: str) -> None:
    with pytest.raises(ArgumentsNotUnderstood):
        require_word(text)


@pytest.mark.parametrize(
    "text", ["a", "a=b", 'a="b c"', '"a=b c"', "a=$(reboot)", "a=`x`;y", "-x", "--delete=quiet", "ä=ö"]
)
def test_what_is_one_argument(text: str) -> None:
    assert require_word(text) == text


@given(lines)
def test_a_command_line_survives_the_round_trip(line: list[str]) -> None:
    arguments = KernelArguments(tuple(line))
    assert KernelArguments.parse(arguments.text()) == arguments
    assert KernelArguments.parse(arguments.text() + "\n") == arguments


@given(st.text(max_size=60))
def test_any_text_is_understood_or_refused_by_name(text: str) -> None:
    try:
        found = split_words(text)
    except ArgumentsNotUnderstood:
        return
    assert "".join(found) == "".join(word for word in found if word)
    assert split_words(" ".join(found)) == found


@pytest.mark.parametrize(
    ("word", "key"), [("a", "a"), ("a=b", "a"), ("a=b=c", "a"), ('"a=b c"', "a"), ("console=ttyS0,115200", "console")]
)
def test_the_key(word: str, key: str) -> None:
    assert key_of(word) == key


def test_a_longer_name_is_another_key() -> None:
    arguments = KernelArguments.parse("consoleblank=0 console=tty0 myconsole=1")
    assert arguments.of_key("console") == ("console=tty0",)
    assert arguments.without_key("console").words == ("consoleblank=0", "myconsole=1")


def test_a_key_is_a_name_and_no_pattern() -> None:
    arguments = KernelArguments.parse("lab.a=1 labxa=1 lab[a]=1 l*=1")
    assert arguments.of_key("lab.a") == ("lab.a=1",)
    assert arguments.without_key("l*").words == ("lab.a=1", "labxa=1", "lab[a]=1")


def test_the_machines_own_words_do_not_count() -> None:
    one = KernelArguments.parse(f"BOOT_IMAGE=/vmlinuz root=LABEL=root rw {OSTREE} quiet")
    other = KernelArguments.parse("root=LABEL=root rw ostree=/ostree/boot.0/default/9999/1 quiet initrd=/x")
    assert one.same_as(other)
    assert one != other
    assert one.machine_words == ("BOOT_IMAGE=/vmlinuz", OSTREE)


def test_order_and_number_count() -> None:
    assert not KernelArguments(("a", "b")).same_as(KernelArguments(("b", "a")))
    assert KernelArguments(("a", "b")).same_words_as(KernelArguments(("b", "a")))
    assert not KernelArguments(("a",)).same_words_as(KernelArguments(("a", "a")))
    assert KernelArguments(("a", "a")).missing_from(KernelArguments(("a",))) == ("a",)


def test_what_others_staged_is_made_again() -> None:
    difference = Difference(KernelArguments(("a", "b", OSTREE)), KernelArguments(("a", "c=1", "c=2", "ostree=/other")))
    assert (difference.removed, difference.added) == (("b",), ("c=1", "c=2"))
    assert difference.onto(KernelArguments(("a", "x", "b"))).words == ("a", "x", "c=1", "c=2")


@given(lines, lines, lines)
def test_making_a_difference_twice_changes_nothing(base: list[str], wanted: list[str], onto: list[str]) -> None:
    difference = Difference(KernelArguments(tuple(base)), KernelArguments(tuple(wanted)))
    once = difference.onto(KernelArguments(tuple(onto)))
    assert difference.onto(once) == once
    assert difference.onto(difference.base).same_words_as(difference.wanted)
