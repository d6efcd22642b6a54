# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures of sigstore keys, verified: held against what another implementation signs."""

from __future__ import annotations

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.ecdsa_p256 import InvalidPublicKey, PublicKey
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
DOCUMENT = b'{"critical":{}}'


def pem(public: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> str:
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return public.public_bytes(serialization.Encoding.PEM, kind).decode()


def test_what_a_key_signed_is_its_own_and_nobody_elses() -> None:
    pairs = [ec.generate_private_key(ec.SECP256R1()) for _number in range(4)]
    for number, private in enumerate(pairs):
        content = DOCUMENT + bytes([number])
        signature = private.sign(content, ec.ECDSA(hashes.SHA256()))
        verdicts = [PublicKey.parse(pem(pair.public_key())).verifies(content, signature) for pair in pairs]
        assert verdicts == [other is private for other in pairs]
        assert not PublicKey.parse(pem(private.public_key())).verifies(content + b" ", signature)


def test_what_is_no_signature_is_nobodys() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    public = PublicKey.parse(pem(private.public_key()))
    signature = private.sign(DOCUMENT, ec.ECDSA(hashes.SHA256()))
    r, s = utils.decode_dss_signature(signature)
    encoded = utils.encode_dss_signature
    assert public.verifies(DOCUMENT, encoded(r, s))
    wrong = [
        *(b"", b"0", b"not a signature", signature[:-1], signature + b"\0", b"1" + signature[1:]),
        *(encoded(0, s), encoded(r, 0), encoded(r, ORDER), encoded(ORDER, s), encoded(s, r), encoded(r + ORDER, s)),
        bytes.fromhex("300602010102010102"),
    ]
    assert [public.verifies(DOCUMENT, text) for text in wrong] == [False] * len(wrong)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "does not begin with"),
        (
            "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----",
            "begin with",
        ),
        ("-----BEGIN PUBLIC KEY-----\n!!\n-----END PUBLIC KEY-----", "not base64"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "over P-256"),
        (pem(ec.generate_private_key(ec.SECP384R1()).public_key()), "over P-256"),
        (pem(ed25519.Ed25519PrivateKey.generate().public_key()), "over P-256"),
    ],
)
def test_what_is_no_key_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidPublicKey, match=reason):
        PublicKey.parse(text)


def test_a_point_beside_the_curve_is_refused() -> None:
    text = pem(ec.generate_private_key(ec.SECP256R1()).public_key())
    lines = text.split("\n")
    lines[2] = ("B" if lines[2][0] != "B" else "C") + lines[2][1:]
    with pytest.raises(InvalidPublicKey, match="not on the curve"):
        PublicKey.parse("\n".join(lines))
