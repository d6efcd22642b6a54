# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel arguments that images bring, read as bootc reads them."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_d import (
    Delta,
    KargsFileNotUnderstood,
    image_arguments,
    image_delta,
    parse_kargs_file,
    rust_architecture,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kernel_arguments import KernelArguments
from hypothesis import given
from hypothesis import strategies as st


def toml(text: str) -> dict[str, Any]:
    """What the standard library reads."""
    document: dict[str, Any] = importlib.import_module("tomllib").loads(text)
    return document


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('kargs = ["a=1", "quiet"]\n', {"kargs": ["a=1", "quiet"]}),
        ('kargs=["a"]', {"kargs": ["a"]}),
        ("kargs = []", {"kargs": []}),
        ("# c\nkargs = [ # why\n  'a', # one\n\n  \"b\",\n] # end\n", {"kargs": ["a", "b"]}),
        ('"kargs" = ["a"]\r\n', {"kargs": ["a"]}),
        (
            "match-architectures = ['x86_64', 'aarch64']\nkargs = ['a']\n",
            {"match-architectures": ["x86_64", "aarch64"], "kargs": ["a"]},
        ),
        (r'kargs = ["dyndbg=\"file a +p\"", "\u0061\\"]', {"kargs": ['dyndbg="file a +p"', "a\\"]}),
        ("kargs = ['a\\b']", {"kargs": ["a\\b"]}),
    ],
)
def test_files_that_bootc_takes(text: str, expected: dict[str, list[str]]) -> None:
    assert parse_kargs_file(text) == expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "`kargs` is missing"),
        ("match-architectures = ['x86_64']", "`kargs` is missing"),
        ("kargs = ['a']\nfoo = ['b']", "line 2: the key 'foo'"),
        ("kargs = ['a']\nkargs = ['b']", "twice"),
        ("[section]\nkargs = ['a']", "a key is expected"),
        ("kargs = 'a'", r"`\[` is expected"),
        ("kargs = [1]", "string in quotes"),
        ("kargs = ['a' 'b']", "`,` is expected"),
        ("kargs = ['a',,]", "string in quotes"),
        ("kargs = ['a'", "`,` is expected"),
        ("kargs = ['a'] x", "something follows"),
        ("kargs = ['a'] match-architectures = []", "something follows"),
        ('kargs = ["""a"""]', "several lines"),
        ("kargs = ['''a''']", "several lines"),
        ('kargs = ["a\nb"]', "string in quotes"),
        (r'kargs = ["\x41"]', "not a TOML escape"),
        (r'kargs = ["\ud800"]', "not a character"),
        ("kargs.x = ['a']", "`=` is expected"),
        ("kargs = [['a']]", "string in quotes"),
    ],
)
def test_files_that_are_refused(text: str, named: str) -> None:
    with pytest.raises(KargsFileNotUnderstood, match=named):
        parse_kargs_file(text)


def test_files_in_order_of_name_for_one_architecture() -> None:
    files = {
        "20-b.toml": "kargs = ['b', 'c=\"1 2\"']",
        "10-a.toml": "kargs = ['a']",
        "30-arm.toml": "kargs = ['arm']\nmatch-architectures = ['aarch64']",
        "README": "not read",
        ".toml": "not read either: that is a hidden file without an extension",
    }
    assert image_arguments(files, "x86_64") == ("a", "b", 'c="1 2"')
    assert image_arguments(files, "aarch64") == ("a", "b", 'c="1 2"', "arm")
    assert image_arguments({}, "x86_64") == ()


def test_a_file_of_another_architecture_is_checked_as_well() -> None:
    with pytest.raises(KargsFileNotUnderstood, match=r"kargs\.d/1\.toml: .*never closed"):
        image_arguments({"1.toml": "kargs = ['a=\"b']\nmatch-architectures = ['s390x']"}, "x86_64")


def test_an_entry_with_several_arguments_is_several() -> None:
    assert image_arguments({"1.toml": "kargs = ['console=tty0 console=ttyS0']"}, "x86_64") == (
        "console=tty0",
        "console=ttyS0",
    )


@pytest.mark.parametrize(
    ("machine", "name"), [("x86_64", "x86_64"), ("aarch64", "aarch64"), ("ppc64le", "powerpc64"), ("s390x", "s390x")]
)
def test_architecture_names(machine: str, name: str) -> None:
    assert rust_architecture(machine) == name


@pytest.mark.parametrize(
    ("old", "new", "delta"),
    [
        (None, None, Delta()),
        (None, ["a"], Delta((), ("a",))),
        (["a", "b"], ["b", "c"], Delta(("a",), ("c",))),
        (["a"], [], Delta(("a",), ())),
        (["a"], ["a"], Delta()),
        # No directory at all in the new image: nothing is taken away, and the old words are added again.
        (["a", "b", "a"], None, Delta((), ("a", "b"))),
        ([], None, Delta()),
    ],
)
def test_what_changes_from_image_to_image(old: list[str] | None, new: list[str] | None, delta: Delta) -> None:
    assert image_delta(old, new) == delta
    assert bool(delta) is bool(delta.removed or delta.added)


def test_the_recorded_switch_from_one_image_to_the_next() -> None:
    """bootc 1.16.9, from lab.one=1 lab.two=2 labflag (lab.two=2 was taken away locally) to lab.one=1 lab.two=22 lab.three=3."""
    booted = KernelArguments.parse("root=LABEL=root rw quiet lab.one=1 labflag local.karg=1")
    delta = image_delta(["lab.one=1", "lab.two=2", "labflag"], ["lab.one=1", "lab.two=22", "lab.three=3"])
    assert delta.onto(booted).text() == "root=LABEL=root rw quiet lab.one=1 local.karg=1 lab.two=22 lab.three=3"


def test_the_recorded_switch_to_an_image_without_the_directory_repeats_nothing() -> None:
    booted = KernelArguments.parse("root=LABEL=root lab.one=1 local.karg=1 lab.two=22 lab.three=3")
    assert image_delta(["lab.one=1", "lab.two=22", "lab.three=3"], None).onto(booted) == booted


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the standard library reads TOML since Python 3.11")
@given(st.data())
def test_agrees_with_the_standard_library_on_any_file(data: st.DataObject) -> None:
    pieces = [
        "kargs",
        "match-architectures",
        " ",
        "=",
        "[",
        "]",
        ",",
        "'a'",
        '"b=1"',
        '"\\u00e9"',
        "\n",
        "# c",
        "\\",
        '"',
        "'",
    ]
    text = "".join(data.draw(st.lists(st.sampled_from(pieces), max_size=14)))
    if data.draw(st.booleans()):
        text = f"kargs = [{text}]\n" + text
    try:
        ours = parse_kargs_file(text)
    except KargsFileNotUnderstood:
        return
    assert toml(text) == ours


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the standard library reads TOML since Python 3.11")
@given(
    st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=4),
    st.sampled_from(["kargs = [{}]\n", "# c\nkargs=[\n{},\n]", "match-architectures = ['x']\nkargs = [ {} ] # c"]),
)
def test_reads_every_string_that_the_standard_library_reads(values: list[str], form: str) -> None:
    def write(value: str) -> str:
        return '"' + "".join(f"\\U{ord(c):08X}" if c < " " or c in '"\\\x7f' else c for c in value) + '"'

    text = form.format(", ".join(map(write, values)) if values else "'x'")
    assert parse_kargs_file(text) == toml(text)


@given(st.text(max_size=80))
def test_any_text_is_understood_or_refused_by_name(text: str) -> None:
    for document in (text, f"kargs = {text}", f"kargs = ['a', {text}]"):
        try:
            parse_kargs_file(document)
        except KargsFileNotUnderstood:
            continue
