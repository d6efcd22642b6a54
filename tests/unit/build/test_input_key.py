# SPDX-License-Identifier: GPL-3.0-or-later
"""The input key: what changes it, what does not, and what of it can be read back from an image."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.context_tree import context_hash, entries
from ansible_collections.imagemode.nodes.plugins.module_utils._build.ignore_file import IgnoreRules, find_ignore_file
from ansible_collections.imagemode.nodes.plugins.module_utils._core.input_key import (
    INPUTS_LABEL,
    KEY_LABEL,
    InputKey,
    recorded_inputs,
    text_hash,
)


def test_the_key_is_over_names_and_hashes_in_any_order() -> None:
    one = InputKey.over({"base": text_hash("1"), "context": text_hash("2")})
    assert one == InputKey.over({"context": text_hash("2"), "base": text_hash("1")})
    assert len({one.value, InputKey.over({"base": text_hash("1")}).value}) == 2
    assert one.value != InputKey.over({"base": text_hash("2"), "context": text_hash("1")}).value


def test_the_key_stays_the_same_between_versions_of_the_collection() -> None:
    """Otherwise every image of every fleet is built again after an update."""
    key = InputKey.over({"base": "sha256:" + "a" * 64, "containerfile": text_hash("RUN true\n")})
    assert key.value == "d36e6cfd424b166dbe1f67968e73f8eca328a93e6567ba2bdfe956277959aff6"


def test_labels_carry_the_key_and_the_inputs() -> None:
    key = InputKey.over({"base": "sha256:" + "a" * 64})
    labels = key.labels()
    assert labels[KEY_LABEL] == key.value
    assert json.loads(labels[INPUTS_LABEL])["base"] == "a" * 12
    assert recorded_inputs(labels) == key.short_inputs()


@pytest.mark.parametrize("label", ["", "{", "[]", "null"])
def test_labels_of_a_foreign_image_tell_nothing(label: str) -> None:
    assert recorded_inputs({INPUTS_LABEL: label}) == {}
    assert recorded_inputs({}) == {}


def _tree(root: Path) -> Path:
    context = root / "context"
    (context / "etc").mkdir(parents=True)
    (context / "etc" / "one.conf").write_text("1")
    (context / "run.sh").write_text("#!/bin/sh\n")
    (context / "link").symlink_to("run.sh")
    return context


def _touch(context: Path) -> None:
    os.utime(context / "run.sh", (1, 1))


def _rewrite_the_same(context: Path) -> None:
    (context / "run.sh").unlink()
    (context / "run.sh").write_text("#!/bin/sh\n")


def _relink(context: Path) -> None:
    (context / "link").unlink()
    (context / "link").symlink_to("etc/one.conf")


def _file_for_link(context: Path) -> None:
    (context / "link").unlink()
    (context / "link").write_text("run.sh")


def _same_bytes_other_border(context: Path) -> None:
    (context / "etc" / "one.conf").write_text("")
    (context / "etc" / "one.conf1").write_text("")


@pytest.mark.parametrize(
    ("change", "matters"),
    [
        (_touch, False),
        (_rewrite_the_same, False),
        (lambda context: (context / "ignored.log").write_text("x"), False),
        (lambda context: (context / "run.sh").write_text("#!/bin/sh\ntrue\n"), True),
        (lambda context: (context / "run.sh").chmod(0o755), True),
        (lambda context: (context / "run.sh").rename(context / "walk.sh"), True),
        (lambda context: (context / "empty").mkdir(), True),
        (_relink, True),
        (_file_for_link, True),
        (_same_bytes_other_border, True),
        (lambda context: (context / os.fsdecode(b"\xff\xfe")).write_text("x"), True),
    ],
)
def test_what_changes_the_hash_of_a_context(tmp_path: Path, change: Callable[[Path], object], matters: bool) -> None:
    context = _tree(tmp_path)
    (context / "run.sh").chmod(0o644)
    rules = IgnoreRules.parse("*.log\n")
    before = context_hash(context, rules)
    change(context)
    if (context / "run.sh").exists() and not matters:
        (context / "run.sh").chmod(0o644)
    assert (context_hash(context, rules) != before) is matters


@pytest.mark.parametrize(
    ("rules", "path", "ignored"),
    [
        ("*.log", "a.log", True),
        ("*.log", "d/a.log", False),
        ("**/*.log", "a.log", True),
        ("**/*.log", "d/e/a.log", True),
        ("d", "d/e/a.log", True),
        ("/d/", "d/a", True),
        ("d/*", "d/e/a", True),
        ("**.pyc", "b.pyc", False),
        ("**.pyc", "d/a.pyc", False),
        ("**.pyc", "d/.pyc", True),
        ("a**b", "ab", True),
        ("a**b", "axb", False),
        ("a**b", "ax/b", True),
        ("**", "d/e", True),
        ("d/**", "d", False),
        ("d/**", "d/e/a", True),
        ("# d\n\n", "d", False),
        ("*\n!keep", "keep", False),
        ("*\n!keep", "other", True),
        ("d\n!d/keep", "d/keep", False),
        ("!keep\n*", "keep", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[ab]x", "bx", True),
        ("[ab]x", "cx", False),
        ("./d", "d", True),
        ("a.b", "axb", False),
        ("a\x0cb\r\nc\r\n", "a\x0cb", True),
        ("a\u2028b\n", "a\u2028b", True),
        ("a\u2028b\n", "b", False),
    ],
)
def test_ignore_rules(rules: str, path: str, ignored: bool) -> None:
    assert IgnoreRules.parse(rules).ignores(path) is ignored


def test_what_is_kept_below_an_ignored_directory_counts(tmp_path: Path) -> None:
    context = _tree(tmp_path)
    found = [entry.path for entry in entries(context, IgnoreRules.parse("*\n!etc/one.conf"))]
    assert found == [b"etc/one.conf"]


def test_the_ignore_file_of_the_containerfile_wins(tmp_path: Path) -> None:
    context = _tree(tmp_path)
    containerfile = tmp_path / "Containerfile"
    assert find_ignore_file(context, containerfile) is None
    for path in (context / ".dockerignore", context / ".containerignore", tmp_path / "Containerfile.containerignore"):
        path.write_text("")
        assert find_ignore_file(context, containerfile) == path
    assert find_ignore_file(context, None) == context / ".containerignore"
