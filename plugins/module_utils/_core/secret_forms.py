# SPDX-License-Identifier: GPL-3.0-or-later
"""What a secret looks like once a program has written it down: encoded, and a part at a time."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

SHORTEST_PART = 8  # bytes, of a line; a named value may have six as any secret
MOST_LINES = 64  # of one secret, evenly spread; a key of 4096 bits has fewer
MOST_ENCODED = 2  # parts of one secret that are also looked for encoded
LONGEST = 4096  # bytes of one pattern
SAMPLE = 256  # bytes that stand for what is longer
PIECE = 30  # characters; encoders break lines at 60 and more, so that of two pieces in a row one is whole

_BOUNDARY = re.compile(rb"\s*-----(BEGIN|END) ([A-Z0-9 ]+)-----\s*\Z")
_PUBLIC_BLOCKS = re.compile(rb"CERTIFICATE|PUBLIC KEY")
# every unencrypted OpenSSH key begins with these bytes, and the line with them says nothing but the type of the key
_OPENSSH_START = b"b3BlbnNzaC1rZXktdjEAAAAA"
_SECRET_NAME = re.compile(rb"auth|pass|secret|token|credential|private|api.?key|identity|\bpwd\b", re.IGNORECASE)
_NAMED_VALUE = re.compile(rb"""\s*["']?([\w.@/-]{2,})["']?\s*[:=]\s*["']?(.*?)["']?\s*[,;]?\s*\Z""", re.DOTALL)
_NETRC_PASSWORD = re.compile(rb"\b(?:password|passwd)\s+(\S{6,})")
_URL_PASSWORD = re.compile(rb"://[^/\s:@]*:([^@/\s]{6,})@")
_RUN_OF_KEY_CHARACTERS = re.compile(rb"[A-Za-z0-9+/=_~.-]{16,}")
_WORD = re.compile(rb"[^\s<>{}()\[\]]+\Z")
# a path, a URL without credentials in it, or a host
_PLACE = re.compile(
    rb"(?:/[a-z0-9_.-]+)+/?\Z|[a-z]+://[^@]*\Z|[a-z0-9-]+(?:\.[a-z0-9-]+)+(?::[0-9]+)?\Z", re.IGNORECASE
)
_BASIC_AUTHENTICATION = re.compile(rb"[^\x00-\x20:]+:([^\x00-\x1f]{6,})\Z")


@dataclass(frozen=True)
class Part:
    """A piece of a secret that tells it from all else. `what` is "" for all of it; `encoded`: look for encodings too."""

    data: bytes
    what: str = ""
    encoded: bool = True


def tell_tale_parts(secret: bytes) -> tuple[Part, ...]:
    """The pieces of a secret to look for; all of it where it is on one line.

    Of several lines those count that no other file is likely to have: neither the frame of a PEM file nor its
    certificates, neither `enabled = 1` nor `[section]`, but what is under a name such as `password`.
    """
    values = list(dict.fromkeys(_values_in_json(secret)))
    one_line = b"\n" not in secret.strip()
    if one_line and not values:
        values = [value for value in dict.fromkeys(_value_of_line(secret)) if value != secret]
    named = [Part(_sample(value), "a value in it") for value in values]
    if one_line or b"\0" in secret:
        return (Part(_sample(secret)), *(part for part in named if part.data != secret))
    lines = list(dict.fromkeys(_distinctive_lines(secret)))
    step = max(1.0, len(lines) / MOST_LINES)
    chosen = [lines[int(index * step)] for index in range(min(len(lines), MOST_LINES))]
    encoded = {chosen[len(chosen) // 2], chosen[-1]} if chosen else set()
    parts = [*named, *(Part(_sample(line), "a line of it", line in encoded) for line in chosen if line not in values)]
    return tuple(parts) or (Part(_sample(secret)),)


def forms(part: Part) -> Iterator[tuple[str, bytes]]:
    """The byte strings that a part is written as, with the name of each form; the same bytes may come twice."""
    suffix = f", {part.what}" if part.what else ""
    yield f"plain{suffix}", part.data
    text = part.data.decode("utf-8", "surrogateescape")
    for escaped in _json_strings(text):
        yield f"JSON-escaped{suffix}", escaped
    for quoted in (quote(part.data, safe=""), quote(part.data), quote_plus(part.data)):
        yield f"URL-encoded{suffix}", quoted.encode()
    if not part.encoded:
        return
    for data in _base64_texts(part.data):
        for piece in _pieces(data):
            yield f"base64{suffix}", piece
            yield f"base64{suffix}", piece.translate(bytes.maketrans(b"+/", b"-_"))
    digits = binascii.hexlify(part.data)
    for piece in _pieces(digits, PIECE - PIECE % 2):
        yield f"hexadecimal{suffix}", piece
        yield f"hexadecimal{suffix}", piece.upper()


def _distinctive_lines(secret: bytes) -> Iterator[bytes]:
    public = False
    in_block = False
    for raw in secret.splitlines():
        line = raw.strip()
        boundary = _BOUNDARY.match(line)
        if boundary:
            in_block = boundary.group(1) == b"BEGIN"
            public = in_block and bool(_PUBLIC_BLOCKS.search(boundary.group(2)))
        elif in_block:
            if not public and len(line) >= SHORTEST_PART * 2 and not line.startswith(_OPENSSH_START):
                yield line
        elif line[:1] not in (b"#", b";"):
            yield from _value_of_line(line)


def _value_of_line(line: bytes) -> Iterator[bytes]:
    """What of a line of text is secret."""
    for pattern in (_NETRC_PASSWORD, _URL_PASSWORD):
        yield from pattern.findall(line)
    named = _NAMED_VALUE.match(line)
    value = named.group(2).strip() if named else line
    telling = named is not None and bool(_SECRET_NAME.search(named.group(1)))
    alone = named is None and len(value) >= 12 and bool(_WORD.match(value))
    enough = len(value) >= (6 if telling else SHORTEST_PART)
    if enough and not _PLACE.match(value) and (telling or alone or _looks_random(value)):
        yield value


def _looks_random(value: bytes) -> bool:
    """Whether it has what words rarely have: a long run with letters and digits mixed."""
    runs = _RUN_OF_KEY_CHARACTERS.findall(value)
    return any(re.search(rb"[0-9]", run) and re.search(rb"[A-Za-z]", run) for run in runs)


def _values_in_json(secret: bytes) -> Iterator[bytes]:
    """The strings under a telling name in a JSON document, such as an auth file, and the passwords in them."""
    try:
        document = json.loads(secret)
    except (ValueError, RecursionError):
        return
    left: list[tuple[bool, object]] = [(False, document)]
    while left:
        secretive, found = left.pop()
        if isinstance(found, dict):
            # `auths` holds names of registries, which are no secret
            left += [(_is_secret_name(name), value) for name, value in found.items()]
        elif isinstance(found, list):
            left += [(secretive, value) for value in found]
        elif isinstance(found, str) and secretive and len(found) >= 6:
            value = found.encode("utf-8", "surrogatepass")
            if b"\n" in value.strip():
                yield from _distinctive_lines(value)
                continue
            yield value
            yield from _password_in(value)


def _is_secret_name(name: str) -> bool:
    return bool(_SECRET_NAME.search(name.encode("utf-8", "surrogatepass")))


def _password_in(value: bytes) -> Iterator[bytes]:
    """The password in what an auth file has under `auth`."""
    try:
        decoded = base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        return
    found = _BASIC_AUTHENTICATION.match(decoded)
    if found:
        yield found.group(1)


def _sample(data: bytes) -> bytes:
    """The data, or bytes from the middle of what is too long to look for: the beginning often says the format only."""
    if len(data) <= LONGEST:
        return data
    start = (len(data) - SAMPLE) // 2
    return data[start : start + SAMPLE]


def _json_strings(text: str) -> Iterator[bytes]:
    for ascii_only in (True, False):
        escaped = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield escaped.encode("utf-8", "surrogateescape")
        # Go escapes what would matter in a web page
        for character in "<>&":
            escaped = escaped.replace(character, f"\\u{ord(character):04x}")
        yield escaped.encode("utf-8", "surrogateescape")


def _base64_texts(data: bytes) -> Iterator[bytes]:
    """What all base64 texts of all documents with this data in them have in common, for the three ways it can lie."""
    for before in range(3):
        text = base64.b64encode(bytes(before) + data)
        yield text[(before * 8 + 5) // 6 : (before + len(data)) * 8 // 6]


def _pieces(text: bytes, size: int = PIECE) -> tuple[bytes, ...]:
    """All of a short text; of a longer one two pieces in a row, as an encoder may break a line in one of them.

    They are from the end: the beginning more often says what kind of secret it is.
    """
    if len(text) >= 2 * size:
        return text[-2 * size : -size], text[-size:]
    if len(text) >= 32:
        half = len(text) // 4 * 2
        return text[:half], text[half:]
    return (text,)
