# SPDX-License-Identifier: GPL-3.0-or-later
"""References: what equals what, and what is refused."""

from __future__ import annotations

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    POLICY,
    UNVERIFIED,
    ImageReference,
    InvalidReference,
    Signature,
    SignatureKind,
    Transport,
    parse_ostree_reference,
)
from hypothesis import given
from hypothesis import strategies as st

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "name", "tag", "digest"),
    [
        ("reg.example.com/a/b", "reg.example.com/a/b", "latest", None),
        ("reg.example.com/a/b:latest", "reg.example.com/a/b", "latest", None),
        ("docker://reg.example.com/a/b:1", "reg.example.com/a/b", "1", None),
        ("10.77.0.1:5000/os:v1", "10.77.0.1:5000/os", "v1", None),
        ("localhost:5000/os", "localhost:5000/os", "latest", None),
        ("[::1]:5000/os:v1", "[::1]:5000/os", "v1", None),
        (f"reg.example.com/a/b@{DIGEST}", "reg.example.com/a/b", None, DIGEST),
        (f"reg.example.com/a/b:v1@{DIGEST}", "reg.example.com/a/b", "v1", DIGEST),
        ("fedora/fedora-bootc:42", "fedora/fedora-bootc", "42", None),
    ],
)
def test_parse(text: str, name: str, tag: str | None, digest: str | None) -> None:
    reference = ImageReference.parse(text)
    assert (reference.name, reference.tag, reference.digest) == (name, tag, digest)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "repository name is empty"),
        ("Not A Ref", "'Not A Ref'"),
        ("reg.example.com/OS:v1", "lower-case"),
        ("reg.example.com/a:", "'' is not a tag"),
        ("reg.example.com/a:-x", "'-x' is not a tag"),
        ("reg.example.com//a", "repository name is empty"),
        ("reg.example.com/a@sha256:12", "'sha256:12' is not a digest"),
        (f"reg.example.com/a@{DIGEST.upper()}", "is not a digest"),
        ("reg.example.com:port/a", "'reg.example.com:port' is not a registry host"),
        ("https://reg.example.com/a", "not an image reference"),
    ],
)
def test_refused_with_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(InvalidReference, match="not an image reference") as refusal:
        ImageReference.parse(text)
    assert said in str(refusal.value)


def test_the_same_thing_typed_differently_is_equal() -> None:
    assert ImageReference.parse("reg.example.com/a/b") == ImageReference.parse("docker://reg.example.com/a/b:latest")
    assert ImageReference.parse("reg.example.com/a/b:1") != ImageReference.parse("reg.example.com/a/b:2")
    assert ImageReference.parse("reg.example.com/a/b") != ImageReference.parse(
        "reg.example.com/a/b", Transport.CONTAINERS_STORAGE
    )


def test_a_node_never_gets_tag_and_digest_together() -> None:
    assert ImageReference.parse(f"reg.example.com/a/b:v1@{DIGEST}").pull_text == f"reg.example.com/a/b@{DIGEST}"


@pytest.mark.parametrize("text", ["--apply", "-", "/var/a\nb", "/var/a\x00b", "/var/\x1b[2J", "", " /var/a"])
def test_a_path_that_a_tool_would_take_for_something_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference, match="is no oci image"):
        ImageReference.parse(text, Transport.OCI)


def test_a_short_name_is_refused_where_a_registry_is_needed() -> None:
    with pytest.raises(InvalidReference, match=r"registry\.example\.com/fedora-bootc"):
        ImageReference.parse("fedora-bootc:42").require_registry()


@pytest.mark.parametrize(
    ("text", "image", "transport", "signature"),
    [
        ("ostree-unverified-registry:reg.example.com/a:1", "reg.example.com/a:1", Transport.REGISTRY, UNVERIFIED),
        ("ostree-unverified-image:registry:reg.example.com/a:1", "reg.example.com/a:1", Transport.REGISTRY, UNVERIFIED),
        ("ostree-unverified-image:docker://reg.example.com/a:1", "reg.example.com/a:1", Transport.REGISTRY, UNVERIFIED),
        (
            "ostree-unverified-image:containers-storage:localhost/a",
            "localhost/a",
            Transport.CONTAINERS_STORAGE,
            UNVERIFIED,
        ),
        ("ostree-unverified-image:oci:/var/image", "/var/image", Transport.OCI, UNVERIFIED),
        ("ostree-image-signed:docker://reg.example.com/a:1", "reg.example.com/a:1", Transport.REGISTRY, POLICY),
        ("ostree-remote-registry:fedora:reg.example.com/a:1", "reg.example.com/a:1", Transport.REGISTRY, "fedora"),
        (
            "ostree-remote-image:fedora:docker://reg.example.com/a:1",
            "reg.example.com/a:1",
            Transport.REGISTRY,
            "fedora",
        ),
    ],
)
def test_ostree_spelling(text: str, image: str, transport: Transport, signature: Signature | str) -> None:
    parsed = parse_ostree_reference(text)
    assert parsed.reference == ImageReference.parse(image, transport)
    wanted = Signature(SignatureKind.OSTREE_REMOTE, signature) if isinstance(signature, str) else signature
    assert parsed.signature == wanted


@pytest.mark.parametrize(
    "text", ["fedora:stable", "ostree-unverified-image:ftp:x", "ostree-unverified-registry:OS UPPER"]
)
def test_other_ostree_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference):
        parse_ostree_reference(text)


names = st.from_regex(r"[a-z0-9]{1,8}\.example\.com(:[0-9]{2,4})?/[a-z0-9]{1,8}(/[a-z0-9]{1,8})?", fullmatch=True)
tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)


@given(names, st.none() | tags, st.none() | st.just(DIGEST))
def test_canonical_text_parses_to_itself(name: str, tag: str | None, digest: str | None) -> None:
    text = name + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    reference = ImageReference.parse(text)
    assert ImageReference.parse(reference.canonical) == reference
