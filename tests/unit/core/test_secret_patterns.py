# SPDX-License-Identifier: GPL-3.0-or-later
"""A secret is found in whatever way a program wrote it down, and what only looks like one is not."""

from __future__ import annotations

import base64
import json
import textwrap
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.leak_search import (
    LeakScanner,
    SecretPatterns,
    Unsearchable,
)
from hypothesis import assume, given
from hypothesis import strategies as st

PASSWORD = b'p&ss/w"rd<with> \\odd+bytes-1'
TOKEN = b"tok-3f9a1c77d2e84b05"
# the shape of a PKCS #8 key, of which every RSA key has the first bytes; the rest is nobody's
RSA_LINES = ["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC" + "k3Zr9"] + [
    base64.b64encode(bytes((index * 37 + at * 11) % 251 for at in range(48))).decode() for index in range(1, 25)
]
RSA_KEY = "\n".join(["-----BEGIN PRIVATE KEY-----", *RSA_LINES, "-----END PRIVATE KEY-----", ""]).encode()
CERTIFICATE = "\n".join(
    ["-----BEGIN CERTIFICATE-----", *(line[::-1] for line in RSA_LINES), "-----END CERTIFICATE-----", ""]
)
AUTH_FILE = json.dumps(
    {"auths": {"registry.example.com": {"auth": base64.b64encode(b"robot:hunter2-is-good").decode()}}}, indent=4
).encode()


def found(secret: bytes, text: bytes) -> set[str]:
    """The forms in which the secret is in the text."""
    return {hit.pattern.form for hit in SecretPatterns.of({"it": secret}).hits(text)}


def _wrapped(width: int) -> Callable[[bytes], bytes]:
    return lambda data: "\n".join(textwrap.wrap(base64.b64encode(data).decode(), width)).encode()


WRITERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "as it is": ("plain", lambda data: data),
    "base64": ("base64", base64.b64encode),
    "base64 of a longer document, one byte further": ("base64", lambda data: base64.b64encode(b"x" + data + b"yy")),
    "base64 of a longer document, two bytes further": ("base64", lambda data: base64.b64encode(b"xx" + data + b"y")),
    "base64 for URLs": ("base64", base64.urlsafe_b64encode),
    "hexadecimal": ("hexadecimal", lambda data: data.hex().encode()),
    "hexadecimal in capitals": ("hexadecimal", lambda data: data.hex().upper().encode()),
    "in a URL": ("URL-encoded", lambda data: quote(data, safe="").encode()),
    "in the path of a URL": ("URL-encoded", lambda data: quote(data).encode()),
    "in a form": ("URL-encoded", lambda data: quote_plus(data).encode()),
    "in JSON": ("JSON-escaped", lambda data: json.dumps(data.decode()).encode()),
    "in JSON by a Go program": (
        "JSON-escaped",
        lambda data: (
            json.dumps(data.decode()).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").encode()
        ),
    ),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_password_is_found_in_every_form(writer: str) -> None:
    form, write = WRITERS[writer]
    assert form in found(PASSWORD, b"before " + write(PASSWORD) + b" after")


@pytest.mark.parametrize("writer", WRITERS)
def test_another_password_is_not_found(writer: str) -> None:
    write = WRITERS[writer][1]
    assert found(PASSWORD, b"before " + write(PASSWORD[:8] + b" something else, longer") + b" after") == set()


def test_the_newline_at_the_end_of_a_secrets_file_does_not_count() -> None:
    assert found(TOKEN + b"\n", b"token=" + TOKEN + b";")
    assert found(TOKEN + b"\r\n", base64.b64encode(TOKEN))


@pytest.mark.parametrize("width", [60, 64, 76])
@pytest.mark.parametrize("before", range(0, 80, 7))
def test_base64_is_found_across_the_line_breaks_of_an_encoder(width: int, before: int) -> None:
    secret = bytes(range(33, 113))
    assert any("base64" in form for form in found(secret, _wrapped(width)(b"#" * before + secret + b"#" * 50)))


def test_each_line_of_a_key_is_found() -> None:
    assert [line for line in RSA_LINES if not found(RSA_KEY, line.encode())] == []


def test_of_very_many_lines_some_from_everywhere_are_searched_for() -> None:
    lines = [f"{index:05d}-secret-{index:05d}" for index in range(1000)]
    secret = "\n".join(lines).encode()
    assert len(SecretPatterns.of({"it": secret}).patterns) < 100
    assert all(found(secret, "\n".join(lines[at : at + 20]).encode()) for at in range(0, 980, 20))


def test_a_key_is_found_without_its_line_breaks_and_encoded() -> None:
    assert found(RSA_KEY, "".join(RSA_LINES).encode())
    assert found(RSA_KEY, json.dumps({"key": RSA_KEY.decode()}).encode())
    assert found(RSA_KEY, base64.b64encode(RSA_KEY))
    assert found(RSA_KEY, RSA_KEY.replace(b"\n", b"\r\n"))
    assert found(RSA_KEY, RSA_KEY.hex().encode())


@pytest.mark.parametrize(
    "harmless",
    [
        pytest.param(
            b"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDelse\n", id="another key"
        ),
        pytest.param(CERTIFICATE.encode(), id="the certificate that comes with the key"),
    ],
)
def test_what_keys_have_in_common_is_no_leak(harmless: bytes) -> None:
    secret = RSA_KEY + CERTIFICATE.encode()
    assert found(secret, harmless) == set()
    assert found(secret, base64.b64encode(harmless)) == set()


def test_the_first_line_of_every_openssh_key_is_no_leak() -> None:
    first = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW"
    key = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{first}\n{RSA_LINES[3]}\n-----END OPENSSH PRIVATE KEY-----\n".encode()
    assert found(key, first.encode()) == set()
    assert found(key, RSA_LINES[3].encode())


@pytest.mark.parametrize(
    ("secret", "leaks", "harmless"),
    [
        pytest.param(
            b"[corp]\nname = Corp packages\nbaseurl = https://packages.example.com/el9\nenabled = 1\ngpgcheck=1\n"
            b"username = builder\npassword = correcthorse\n",
            [b"password=correcthorse"],
            [b"[corp]", b"enabled = 1\ngpgcheck=1", b"https://packages.example.com/el9", b"name = Corp packages"],
            id="a repository with a password",
        ),
        pytest.param(
            b"machine registry.example.com\nlogin robot\npassword correcthorse\n",
            [b"correcthorse"],
            [b"machine registry.example.com", b"registry.example.com"],
            id="netrc",
        ),
        pytest.param(
            b"# credentials of the proxy\nHTTPS_PROXY=http://bob:hunter2good@proxy.example.com:3128\nNO_PROXY=.example.com\n",
            [b"proxy = http://bob:hunter2good@proxy.example.com:3128"],
            [b"NO_PROXY=.example.com", b"# credentials of the proxy"],
            id="a proxy with a password",
        ),
        pytest.param(
            AUTH_FILE,
            [
                b"hunter2-is-good",
                base64.b64encode(b"robot:hunter2-is-good"),
                json.dumps(json.loads(AUTH_FILE)).encode(),
            ],
            [b'"auths": {', b"registry.example.com", b'        "registry.example.com": {'],
            id="an auth file",
        ),
        pytest.param(
            json.dumps(json.loads(AUTH_FILE)).encode(),
            [b"hunter2-is-good", AUTH_FILE],
            [b"registry.example.com"],
            id="an auth file on one line",
        ),
        pytest.param(b"API_TOKEN=s3cr3tvalue\n", [b"s3cr3tvalue"], [b"API_TOKEN="], id="a variable"),
        pytest.param(b"bob\ncorrecthorsebattery\n", [b"correcthorsebattery"], [b"bob\n"], id="a name and a password"),
        pytest.param(
            b"first: 1\nsecond: two\n",
            [b"first: 1\nsecond: two"],
            [b"first: 1\n", b"second: two"],
            id="nothing telling",
        ),
        pytest.param(
            b"\x00\x01\n\x02" + bytes(range(90)),
            [b"\x00\x01\n\x02" + bytes(range(90))],
            [bytes(range(90))],
            id="a binary file",
        ),
    ],
)
def test_of_several_lines_those_count_that_tell_something(
    secret: bytes, leaks: list[bytes], harmless: list[bytes]
) -> None:
    assert [text for text in leaks if not found(secret, b"x " + text + b" y")] == []
    assert [text for text in harmless if found(secret, b"x " + text + b" y")] == []


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        (b"", "shorter than 6 bytes"),
        (b"12345\n", "shorter than 6 bytes"),
        (b"aaaaaaaaaaaaaaaaabbbbbc", "repeats so few characters"),
    ],
)
def test_what_occurs_by_chance_is_not_searched_for_and_that_is_said(secret: bytes, reason: str) -> None:
    patterns = SecretPatterns.of({"pin": secret})
    assert patterns.patterns == ()
    assert [(one.secret, reason in one.reason) for one in patterns.unsearchable] == [("pin", True)]
    assert isinstance(patterns.unsearchable[0], Unsearchable)


@given(cuts=st.lists(st.integers(0, 400), max_size=6), at=st.integers(0, 300))
def test_how_a_stream_is_cut_makes_no_difference(cuts: list[int], at: int) -> None:
    patterns = SecretPatterns.of({"token": TOKEN, "password": PASSWORD})
    stream = b"." * at + TOKEN + b"," * 20 + PASSWORD + TOKEN + base64.b64encode(b"z" + PASSWORD)
    whole = sorted((hit.offset, hit.pattern.data) for hit in patterns.hits(stream))
    scanner = LeakScanner(patterns)
    borders = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    chunks = [stream[start:end] for start, end in zip(borders, borders[1:])]
    assert sorted((hit.offset, hit.pattern.data) for chunk in chunks for hit in scanner.feed(chunk)) == whole
    assert {offset for offset, data in whole if data == TOKEN} == {at, at + len(TOKEN) + 20 + len(PASSWORD)}


@given(st.binary(min_size=6, max_size=120).map(lambda data: data.strip(b"\r\n")), st.integers(0, 2))
def test_any_secret_is_found_as_it_is_and_encoded(secret: bytes, before: int) -> None:
    assume(len(secret) >= 6 and len(set(secret)) > 3)
    assert found(secret, b'"' + secret + b'"')
    assume(b"\n" not in secret or b"\0" in secret)
    assert found(secret, base64.b64encode(b"#" * before + secret))
    assert found(secret, secret.hex().encode())


@given(at=st.integers(0, 120), which=st.integers(0, 24), cut=st.integers(0, 400))
def test_one_of_many_lines_is_found_wherever_it_lies(at: int, which: int, cut: int) -> None:
    patterns = SecretPatterns.of({"key": RSA_KEY, "token": TOKEN})
    stream = b"." * at + RSA_LINES[which].encode() + b"," * 90 + base64.b64encode(RSA_KEY)
    scanner = LeakScanner(patterns)
    hits = [*scanner.feed(stream[:cut]), *scanner.feed(stream[cut:])]
    assert at in {hit.offset for hit in hits}
    assert any("base64" in hit.pattern.form for hit in hits)


def test_no_text_about_a_leak_has_the_secret_in_it() -> None:
    patterns = SecretPatterns.of({"token": TOKEN, "password": PASSWORD})
    text = f"RUN curl -H {TOKEN.decode()} -u {quote(PASSWORD)} {base64.b64encode(PASSWORD).decode()} /a\udcff"
    hidden = patterns.hide(text)
    assert list(patterns.hits(hidden.encode())) == []
    assert hidden.startswith("RUN curl -H *** -u *** ")
    assert hidden.endswith("/a\\xff")
