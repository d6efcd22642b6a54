# SPDX-License-Identifier: GPL-3.0-or-later
"""`data:` URLs, in which Ignition carries the content of files."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

_WORD = r"[!#$%&'*+.^_`{|}~0-9A-Za-z-]+"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_HEADER = re.compile(rf"data:(?:{_WORD}/{_WORD})?(?:;{_WORD}=(?:{_WORD}|{_QUOTED}))*(?P<base64>;base64)?,", re.DOTALL)
_NOT_A_URL_CHARACTER = re.compile(r"""[^!$-;=?-Z_a-z~]""")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class InvalidDataUrl(ValueError):
    """A text is no `data:` URL. The message says where and why, and shows nothing of the data."""


def decode_data_url(url: str) -> bytes:
    """The bytes in a `data:` URL (RFC 2397): percent-encoded, or base64 with padding, line feeds allowed.

    As strict as Ignition ("dataurl", which Ignition 2.2x and the machine-config-operator use): white space, quotes, angle
    brackets, `#` and what is not ASCII must be percent-encoded, `;base64` is written in lower case and comes last, and
    base64 is the standard alphabet without escapes. Raises InvalidDataUrl.
    """
    header = _HEADER.match(url)
    if not header:
        raise InvalidDataUrl(
            "the part before the data is malformed; it is `data:[type/subtype][;name=value][;base64],` such as "
            "`data:,` for percent-encoded text or `data:;base64,`"
        )
    data = url[header.end() :]
    return _base64(data) if header.group("base64") else _percent_encoded(data)


def _base64(data: str) -> bytes:
    if "%" in data:
        raise InvalidDataUrl(
            "the data is base64, in which there are no percent escapes: write the characters as they are"
        )
    if "-" in data or "_" in data:
        raise InvalidDataUrl("the data is in the base64 alphabet for file names (- and _); encode it with + and /")
    try:
        return base64.b64decode(data.replace("\r", "").replace("\n", ""), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidDataUrl(
            f"the data ({len(data)} characters) is not base64: a character is wrong, or the = at its end are missing "
            "or it was cut off"
        ) from None


def _percent_encoded(data: str) -> bytes:
    wrong = _NOT_A_URL_CHARACTER.search(data)
    if wrong:
        raise InvalidDataUrl(f"the character at position {wrong.start()} of the data has to be percent-encoded")
    broken = _BROKEN_ESCAPE.search(data)
    if broken:
        raise InvalidDataUrl(
            f"the % at position {broken.start()} of the data is not followed by two hexadecimal digits; "
            "a percent sign itself is written %25"
        )
    return unquote_to_bytes(data)
