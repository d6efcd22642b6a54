# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates and public keys that go onto nodes for everyone to read. No private key ever may."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from enum import Enum

from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)


class KeyKind(Enum):
    """What a public key verifies: sigstore (cosign) signatures, or GPG's."""

    SIGSTORE = "sigstore"
    GPG = "gpg"


def certificates(content: bytes, where: str) -> bytes:
    """A bundle of certificates as it goes into a file. Raises Refusal for anything else, a private key above all."""
    _refuse_private(content, where)
    blocks = _BLOCK.findall(content)
    if not blocks or any(name not in (b"CERTIFICATE", b"TRUSTED CERTIFICATE") for name, _body in blocks):
        raise Refusal(
            f"{where}: no PEM certificate in it. It must hold blocks that begin with -----BEGIN CERTIFICATE-----."
        )
    for _name, body in blocks:
        if not _is_base64(body):
            raise Refusal(f"{where}: a certificate in it is damaged, since it is not base64.")
    return content if content.endswith(b"\n") else content + b"\n"


def key_kind(content: bytes, where: str) -> KeyKind:
    """What sort of public key this is. Raises Refusal for a private key, and for what is no key."""
    _refuse_private(content, where)
    names = [name for name, _body in _BLOCK.findall(content)]
    if names == [b"PUBLIC KEY"]:
        return KeyKind.SIGSTORE
    # A binary OpenPGP key begins with the packet tag of a public key (RFC 9580, section 4.2).
    if names == [b"PGP PUBLIC KEY BLOCK"] or content[:1] in (b"\x98", b"\x99", b"\xc6"):
        return KeyKind.GPG
    if len(names) > 1:
        raise Refusal(
            f"{where}: {len(names)} keys in one text. Give them as a list, so that each gets a file of its own."
        )
    raise Refusal(f"{where}: neither a sigstore public key (-----BEGIN PUBLIC KEY-----) nor an OpenPGP public key.")


def short_name(content: bytes) -> str:
    """A name for a file, from what is in it: a file never changes under a policy that names it."""
    return hashlib.sha256(content).hexdigest()[:16]


def _refuse_private(content: bytes, where: str) -> None:
    if b"PRIVATE KEY" in content or content[:1] in (b"\x94", b"\x95", b"\xc5"):
        raise Refusal(f"{where}: this is a private key. It must never get onto a node; give the public one.")


def _is_base64(body: bytes) -> bool:
    try:
        return bool(base64.b64decode(b"".join(body.split()), validate=True))
    except (binascii.Error, ValueError):
        return False
