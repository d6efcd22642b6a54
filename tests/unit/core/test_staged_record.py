# SPDX-License-Identifier: GPL-3.0-or-later
"""The parser of ostree's own note on the staged deployment, held to what GLib itself writes."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.staged_record import (
    StagedRecord,
    StagedRecordNotUnderstood,
    parse_staged_record,
)
from hypothesis import given
from hypothesis import strategies as st
from lab.simulators.staged_record import as_bytes

TARGET = "('name', 'debian', 'checksum', '" + "a" * 64 + "', 'bootserial', 3)"


def glib_bytes(text: str) -> bytes:
    """What GLib makes of a GVariant in its text form."""
    name = ctypes.util.find_library("glib-2.0")
    if name is None:
        pytest.skip("libglib-2.0 is not on this machine")
    glib = ctypes.CDLL(name)
    glib.g_variant_parse.restype = ctypes.c_void_p
    glib.g_variant_get_data.restype = ctypes.c_void_p
    glib.g_variant_get_data.argtypes = [ctypes.c_void_p]
    glib.g_variant_get_size.restype = ctypes.c_size_t
    glib.g_variant_get_size.argtypes = [ctypes.c_void_p]
    variant = glib.g_variant_parse(None, text.encode(), None, None, None)
    assert variant, f"GLib does not understand {text}"
    return ctypes.string_at(glib.g_variant_get_data(variant), glib.g_variant_get_size(variant))


def quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


WORD = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_categories=["Cs", "Cc", "Cf"]), min_size=1)


@given(
    st.sampled_from([None, True, False]),
    st.none() | st.lists(WORD, min_size=1, max_size=80),
    st.dictionaries(WORD, WORD, max_size=4),
)
def test_reads_what_glib_writes(locked: bool | None, kargs: list[str] | None, keys: dict[str, str]) -> None:
    fields = [f"'target': <{TARGET}>"]
    if locked is not None:
        fields.append(f"'locked': <{str(locked).lower()}>")
    if kargs is not None:
        fields.append("'kargs': <[" + ", ".join(map(quoted, kargs)) + "]>")
    if keys:
        fields.append("'bootconfig-extra': <{" + ", ".join(f"{quoted(k)}: {quoted(v)}" for k, v in keys.items()) + "}>")
    expected = StagedRecord(bool(locked), None if kargs is None else tuple(kargs), tuple(keys.items()))
    assert parse_staged_record(glib_bytes("{" + ", ".join(fields) + "}")) == expected


@given(st.booleans(), st.lists(WORD, max_size=40), st.dictionaries(WORD, WORD, max_size=3))
def test_the_lab_writes_the_same_format(locked: bool, kargs: list[str], keys: dict[str, str]) -> None:
    expected = StagedRecord(locked, tuple(kargs), tuple(keys.items()))
    assert parse_staged_record(as_bytes(locked, kargs, keys)) == expected


def test_the_lab_writes_byte_for_byte_what_glib_writes() -> None:
    text = "{'locked': <true>, 'kargs': <['root=LABEL=root', 'rw', 'quiet']>, 'bootconfig-extra': <{'x-options-source-a': 'b=1'}>}"
    ours = as_bytes(True, ["root=LABEL=root", "rw", "quiet"], {"x-options-source-a": "b=1"})
    assert ours == glib_bytes(text)


@given(st.binary(max_size=300))
def test_what_is_something_else_is_refused_by_name(data: bytes) -> None:
    # Anything but the one documented exception fails this test.
    with contextlib.suppress(StagedRecordNotUnderstood):
        parse_staged_record(data)


@pytest.mark.parametrize("cut", [1, 2, 7, 40])
def test_a_truncated_file_is_refused(cut: int) -> None:
    data = as_bytes(True, ["a" * 100, "b" * 300], {})
    with pytest.raises(StagedRecordNotUnderstood):
        parse_staged_record(data[:-cut])


def test_another_type_is_refused() -> None:
    with pytest.raises(StagedRecordNotUnderstood, match="locked has the type 's'"):
        parse_staged_record(glib_bytes("{'locked': <'yes'>}"))
