# SPDX-License-Identifier: GPL-3.0-or-later
"""A resource of an Ignition config: a source, how it is compressed, and the hash that its content must have."""

from __future__ import annotations

import hashlib
import re
import zlib

from ansible_collections.imagemode.nodes.plugins.module_utils._core.data_url import InvalidDataUrl, decode_data_url
from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_config import Content
from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_fields import Fields
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config import Origin, Unsupported

RESOURCE = {"source": 0, "compression": 0, "verification": 0, "httpHeaders": 1}
REFERENCE = {**RESOURCE, "compression": 1}
"""The fields of ignition.config.merge and replace, which learned compression later than files did."""

LARGEST_CONTENT = 64 << 20
"""Bytes. No MachineConfig comes near: etcd takes 1.5 MiB. What unpacks to more is a mistake or an attack."""

_REMOTE = frozenset(("http", "https", "tftp", "s3", "gs", "arn"))
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_HASH_LENGTHS = {"sha512": 128, "sha256": 64}


def read_content(resource: Fields) -> Content | None:
    """The content; None when the resource names no source. Raises InvalidConfig.

    A hash is that of the unpacked content (Ignition docs/configuration-v3_5.md). An empty source is empty content.
    """
    source = resource.text("source")
    place = resource.origin.below("source")
    compression = resource.text("compression") or ""
    if compression not in ("", "gzip"):
        raise resource.origin.below("compression").error("the only compression is gzip; leave the field out for none")
    wanted = _read_hash(resource)
    headers = resource.entries("httpHeaders")
    if source is None:
        if wanted:
            raise resource.origin.below("verification.hash").error(
                "there is a hash, but no source that could be checked"
            )
        return None
    scheme = _SCHEME.match(source)
    if scheme and scheme.group(1) in _REMOTE:
        reason = (
            f"content from {scheme.group(1)} is not fetched, as it could be another one at each build; "
            "put the content here as a data: URL, or copy it in the Containerfile"
        )
        return Content(b"", Unsupported(place, reason, accepted=False))
    if headers:
        raise resource.origin.below("httpHeaders").error("only sources with http or https can have headers")
    data = _decode(source, place)
    if compression:
        data = _unpack(data, place)
    if wanted:
        _verify(data, wanted, resource.origin.below("verification.hash"))
    return Content(data)


def _decode(source: str, place: Origin) -> bytes:
    if not source:
        return b""
    if not source.startswith("data:"):
        raise place.error("this is not a URL that Ignition knows; content stands here as a data: URL, `data:;base64,…`")
    try:
        return decode_data_url(source)
    except InvalidDataUrl as failure:
        raise place.error(f"not a valid data: URL: {failure}") from None


def _unpack(data: bytes, place: Origin) -> bytes:
    """All members of a gzip file, one after the other."""
    unpacked = bytearray()
    while True:
        member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        try:
            unpacked += member.decompress(data, LARGEST_CONTENT + 1 - len(unpacked))
        except zlib.error:
            raise place.error("the field compression says gzip, but the data is not gzip, or damaged") from None
        if len(unpacked) > LARGEST_CONTENT:
            raise place.error(
                f"the content unpacks to more than {LARGEST_CONTENT >> 20} MiB; put it into the image instead"
            )
        if not member.eof:
            raise place.error("the gzip data is cut off: its end is missing")
        data = member.unused_data
        if not data:
            return bytes(unpacked)


def _read_hash(resource: Fields) -> str | None:
    place = resource.origin.below("verification.hash")
    text = resource.object("verification", ("hash",)).text("hash")
    if text is None:
        return None
    function, dash, digest = text.partition("-")
    if not dash or function not in _HASH_LENGTHS:
        raise place.error("a hash is `sha512-` or `sha256-` and the digest in hexadecimal")
    if function == "sha256" and resource.minor < 1:
        raise place.error(
            "sha256 exists from Ignition 3.1.0 on, and the document is 3.0.0; set ignition.version to 3.1.0, or use sha512"
        )
    if not re.match(rf"[0-9A-Fa-f]{{{_HASH_LENGTHS[function]}}}\Z", digest):
        raise place.error(f"the digest of {function} has {_HASH_LENGTHS[function]} hexadecimal digits")
    return f"{function}-{digest.lower()}"


def _verify(data: bytes, wanted: str, place: Origin) -> None:
    function, _dash, digest = wanted.partition("-")
    if hashlib.new(function, data).hexdigest() != digest:
        # The digest that was found stays unsaid: of a short secret it would tell the secret.
        raise place.error(
            f"the content ({len(data)} bytes) does not have this {function}; the hash is that of the content after "
            "decoding and unpacking"
        )
