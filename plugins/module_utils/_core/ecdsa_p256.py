# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a signature was made with the key pair of a public key: ECDSA over P-256 with SHA-256.

That is the kind of key which cosign and `skopeo generate-sigstore-key` make. Python's standard library cannot verify it
and a build host need not have anything else. Only public values are worked with here, so nothing has to take constant
time; the parameters are those of FIPS 186-4, D.1.2.3.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

_P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
_G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
# SubjectPublicKeyInfo of an uncompressed point on P-256, up to the point (RFC 5480)
_PREFIX = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")


class InvalidPublicKey(ValueError):
    """The text is not a public key that `PublicKey` can read. The message says what it is instead."""


@dataclass(frozen=True)
class PublicKey:
    """A point on P-256."""

    x: int
    y: int

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Parse PEM (`BEGIN PUBLIC KEY`). Raises InvalidPublicKey."""
        lines = [line.strip() for line in text.strip().splitlines()]
        if len(lines) < 3 or lines[0] != "-----BEGIN PUBLIC KEY-----" or lines[-1] != "-----END PUBLIC KEY-----":
            raise InvalidPublicKey("it does not begin with -----BEGIN PUBLIC KEY-----")
        try:
            der = base64.b64decode("".join(lines[1:-1]), validate=True)
        except binascii.Error as error:
            raise InvalidPublicKey(f"it is not base64: {error}") from error
        if not der.startswith(_PREFIX) or len(der) != len(_PREFIX) + 64:
            raise InvalidPublicKey("it is not an elliptic curve key over P-256")
        x, y = int.from_bytes(der[-64:-32], "big"), int.from_bytes(der[-32:], "big")
        if (y * y - (x * x * x - 3 * x + _B)) % _P:
            raise InvalidPublicKey("its point is not on the curve")
        return cls(x, y)

    def verifies(self, content: bytes, signature: bytes) -> bool:
        """Whether `signature` (ASN.1 DER) over `content` is by this key. False also for what is no signature."""
        try:
            r, s = _integers(signature)
        except ValueError:
            return False
        if not (0 < r < _N and 0 < s < _N):
            return False
        inverse = pow(s, -1, _N)
        hashed = int.from_bytes(hashlib.sha256(content).digest(), "big")
        point = _add(_times(hashed * inverse % _N, _G), _times(r * inverse % _N, (self.x, self.y)))
        return point is not None and point[0] % _N == r


def _integers(der: bytes) -> tuple[int, int]:
    """The two numbers of a DER sequence. Raises ValueError."""
    if len(der) < 8 or der[0] != 0x30 or der[1] != len(der) - 2:
        raise ValueError("not a sequence")
    found = list(_each_integer(der[2:]))
    if len(found) != 2:
        raise ValueError("not two integers")
    return found[0], found[1]


def _each_integer(der: bytes) -> Iterator[int]:
    while der:
        if len(der) < 3 or der[0] != 0x02 or not 0 < der[1] <= len(der) - 2:
            raise ValueError("not an integer")
        yield int.from_bytes(der[2 : 2 + der[1]], "big", signed=True)
        der = der[2 + der[1] :]


def _add(first: tuple[int, int] | None, second: tuple[int, int] | None) -> tuple[int, int] | None:
    """The sum of two points; None is the point at infinity."""
    if first is None or second is None:
        return first or second
    if first[0] == second[0] and (first[1] + second[1]) % _P == 0:
        return None
    if first == second:
        slope = (3 * first[0] * first[0] - 3) * pow(2 * first[1], -1, _P) % _P
    else:
        slope = (second[1] - first[1]) * pow(second[0] - first[0], -1, _P) % _P
    x = (slope * slope - first[0] - second[0]) % _P
    return x, (slope * (first[0] - x) - first[1]) % _P


def _times(factor: int, point: tuple[int, int]) -> tuple[int, int] | None:
    result: tuple[int, int] | None = None
    doubled: tuple[int, int] | None = point
    while factor:
        if factor & 1:
            result = _add(result, doubled)
        doubled = _add(doubled, doubled)
        factor >>= 1
    return result
