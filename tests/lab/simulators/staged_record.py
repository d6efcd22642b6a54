# SPDX-License-Identifier: GPL-3.0-or-later
"""/run/ostree/staged-deployment as ostree writes it: a GVariant of type ``a{sv}`` (ostree 2026.4)."""

from __future__ import annotations

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def as_bytes(locked: bool, kargs: Sequence[str], keys: Mapping[str, str]) -> bytes:
    """The keys that ostree writes, without the two that describe deployments."""
    entries = []
    if locked:
        entries.append(_pair(_string("locked"), b"\1\0b", 8))
    entries.append(_pair(_string("kargs"), _array([_string(word) for word in kargs], 1) + b"\0as", 8))
    if keys:
        pairs = [_pair(_string(key), _string(value), 1) for key, value in keys.items()]
        entries.append(_pair(_string("bootconfig-extra"), _array(pairs, 1) + b"\0a{ss}", 8))
    return _array(entries, 8)


def strings(values: Mapping[str, str]) -> bytes:
    """An ``a{sv}`` of strings."""
    return _array([_pair(_string(key), _string(value) + b"\0s", 8) for key, value in values.items()], 8)


def _string(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape") + b"\0"


def _pair(key: bytes, value: bytes, alignment: int) -> bytes:
    return _with_offsets(_padded(key, alignment) + value, [len(key)])


def _array(elements: Sequence[bytes], alignment: int) -> bytes:
    body = b""
    ends = []
    for element in elements:
        body = _padded(body, alignment) + element
        ends.append(len(body))
    return _with_offsets(body, ends) if ends else b""


def _padded(data: bytes, alignment: int) -> bytes:
    return data + b"\0" * (-len(data) % alignment)


def _with_offsets(body: bytes, offsets: Sequence[int]) -> bytes:
    """The offsets behind the body, in numbers just wide enough for the whole."""
    width = next(width for width in (1, 2, 4, 8) if len(body) + width * len(offsets) < 1 << (8 * width))
    return body + b"".join(offset.to_bytes(width, "little") for offset in offsets)
