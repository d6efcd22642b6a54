# SPDX-License-Identifier: GPL-3.0-or-later
"""data: URLs as Ignition reads them."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.data_url import InvalidDataUrl, decode_data_url
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("url", "data"),
    [
        ("data:,", b""),
        ("data:,hello", b"hello"),
        ("data:,a%20b%0Ac%25", b"a b\nc%"),
        ("data:,a+b", b"a+b"),  # a plus sign is one, not a space
        ("data:,a,b;c=d&e?f/g:h@i$j'k(l)*m~n!o", b"a,b;c=d&e?f/g:h@i$j'k(l)*m~n!o"),
        ("data:,%ff%00", b"\xff\x00"),
        ("data:text/plain,x", b"x"),
        ("data:text/plain;charset=utf-8,x", b"x"),
        ('data:text/plain;charset="utf-8;,\\"",x', b"x"),
        ("data:;charset=utf-8;base64,aGk=", b"hi"),
        ("data:text/plain;charset=utf-8;base64,aGk=", b"hi"),
        ("data:application/octet-stream;base64,/+8=", b"\xff\xef"),
        ("data:;base64,", b""),
        ("data:;base64,aG\nk=\n", b"hi"),
        ("data:;name=base64,aGk=", b"aGk="),  # a parameter, not the encoding
    ],
)
def test_decodes(url: str, data: bytes) -> None:
    assert decode_data_url(url) == data


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "before the data is malformed"),
        ("data:", "before the data is malformed"),
        ("data:hello", "before the data is malformed"),
        ("DATA:,x", "before the data is malformed"),
        ("data:text,x", "before the data is malformed"),
        ("data:;,x", "before the data is malformed"),
        ("data:;charset,x", "before the data is malformed"),
        ("data:;BASE64,aGk=", "before the data is malformed"),
        ("data:;base64;charset=utf-8,aGk=", "before the data is malformed"),
        ('data:;a="b,x', "before the data is malformed"),
        ("data:,sec ret", "position 3 of the data has to be percent-encoded"),
        ("data:,secret\n", "position 6 of the data has to be percent-encoded"),
        ("data:,a#b", "position 1 "),
        ("data:,sécret", "position 1 "),
        ("data:,100%", "% at position 3 "),
        ("data:,%2", "% at position 0 "),
        ("data:,%zz", "% at position 0 "),
        ("data:;base64,aGk", "(3 characters) is not base64"),
        ("data:;base64,a", "not base64"),
        ("data:;base64,aG=k", "not base64"),
        ("data:;base64,aGk=aGk=", "not base64"),
        ("data:;base64,aGk!", "not base64"),
        ("data:;base64,aG k=", "not base64"),
        ("data:;base64,é===", "not base64"),
        ("data:;base64,aGk%3D", "no percent escapes"),
        ("data:;base64,_-8=", "alphabet for file names"),
    ],
)
def test_refuses_and_shows_nothing_of_the_data(url: str, reason: str) -> None:
    with pytest.raises(InvalidDataUrl) as refusal:
        decode_data_url(url)
    assert reason in str(refusal.value)
    assert "cret" not in str(refusal.value)


@given(st.binary(max_size=60))
def test_every_content_comes_back(data: bytes) -> None:
    assert decode_data_url("data:," + quote(data, safe="")) == data
    assert decode_data_url("data:text/plain;charset=utf-8;base64," + base64.b64encode(data).decode()) == data
