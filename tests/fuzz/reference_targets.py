# SPDX-License-Identifier: GPL-3.0-or-later
"""Image references in both spellings: what is accepted is one plain word that no tool takes for an option."""

from __future__ import annotations

from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    ImageReference,
    InvalidReference,
    Transport,
    parse_ostree_reference,
)

from fuzz.choices import Choices

_PIECES = (
    *(
        "registry.example.com",
        "localhost",
        "[::1]",
        ":5000",
        "/",
        "fleet",
        "node",
        ":",
        "2026.11",
        "@",
        "sha256:" + "a" * 64,
    ),
    *(
        "sha256:",
        "docker://",
        "ostree-unverified-registry:",
        "ostree-image-signed:",
        "ostree-unverified-image:",
        "oci:",
    ),
    *(
        "ostree-remote-registry:",
        "ostree-remote-image:",
        "fedora:",
        "containers-storage:",
        "latest",
        "UPPER",
        "a",
        ".",
        "-",
        "_",
    ),
)


def image_reference(data: bytes) -> None:
    """ImageReference.parse: a reference that its canonical text names again, or InvalidReference."""
    choices = Choices(data)
    transport = choices.of((Transport.REGISTRY, Transport.REGISTRY, *Transport))
    text = _text(choices)
    try:
        reference = ImageReference.parse(text, transport)
    except InvalidReference as refusal:
        repr(str(refusal)).encode()
        return
    _sound(reference)
    if transport is Transport.REGISTRY:
        again = ImageReference.parse(reference.canonical)
        assert (again, again.pull_text) == (reference, reference.pull_text)
        assert not any(character.isspace() for character in reference.pull_text)


def ostree_reference(data: bytes) -> None:
    """parse_ostree_reference: a sound reference, or InvalidReference."""
    try:
        _sound(parse_ostree_reference(_text(Choices(data))).reference)
    except InvalidReference as refusal:
        repr(str(refusal)).encode()


def _text(choices: Choices) -> str:
    if choices.chance(6):
        return choices.rest().decode("utf-8", "surrogateescape")
    return "".join(choices.of(_PIECES) if choices.number(5) else choices.text() for _turn in range(choices.number(9)))


def _sound(reference: ImageReference) -> None:
    word = reference.pull_text
    assert word, "an empty word"
    assert not word.startswith("-"), "an option"
    assert word.isprintable(), "something that a log cannot show"
    word.encode("utf-8")
    if reference.digest:
        assert reference.with_digest(reference.digest).digest == reference.digest
