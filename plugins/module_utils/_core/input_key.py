# SPDX-License-Identifier: GPL-3.0-or-later
"""The input key: one hash over everything that an image is built from, and what of it is kept on the image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

KEY_LABEL = "io.imagemode.input-key"
INPUTS_LABEL = "io.imagemode.inputs"
LABEL_PREFIX = "io.imagemode."

# Raised whenever this collection changes what it makes of the same inputs, so that images are built anew.
RECIPE_VERSION = "2"

SHORT_LENGTH = 12
LONGEST_TAG = 128 - 1 - SHORT_LENGTH


def text_hash(text: str) -> str:
    """`sha256:` and the hexadecimal hash of the text in UTF-8."""
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True)
class BuildInput:
    """One part of what an image is built from. `hash` begins with `sha256:`."""

    name: str
    hash: str

    @property
    def short(self) -> str:
        """The first 12 hexadecimal digits, as the label keeps them."""
        return self.hash.partition(":")[2][:SHORT_LENGTH]


@dataclass(frozen=True)
class InputKey:
    """The inputs of a build in order of name, no name twice."""

    inputs: tuple[BuildInput, ...]

    @classmethod
    def over(cls, hashes: Mapping[str, str]) -> InputKey:
        """The key over named hashes; the recipe version is added."""
        complete = {**hashes, "recipe": text_hash(RECIPE_VERSION)}
        return cls(tuple(BuildInput(name, complete[name]) for name in sorted(complete)))

    @property
    def value(self) -> str:
        """64 hexadecimal digits."""
        canonical = json.dumps([[found.name, found.hash] for found in self.inputs], separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def short(self) -> str:
        """The part of the key that is in the second tag."""
        return self.value[:SHORT_LENGTH]

    def labels(self) -> dict[str, str]:
        """The labels that carry the key and its inputs on the image."""
        compact = json.dumps({found.name: found.short for found in self.inputs}, separators=(",", ":"))
        return {KEY_LABEL: self.value, INPUTS_LABEL: compact}

    def short_inputs(self) -> dict[str, str]:
        """The inputs as `recorded_inputs` reads them back from an image."""
        return {found.name: found.short for found in self.inputs}


def recorded_inputs(labels: Mapping[str, str]) -> dict[str, str]:
    """The inputs that an image says it was built from: name to 12 digits. Empty for an image that does not say."""
    try:
        found = json.loads(labels.get(INPUTS_LABEL, "{}"))
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(name): str(value) for name, value in found.items()}


def inputs_text(inputs: Mapping[str, str]) -> str:
    """One `name: hash` per line, sorted, for a diff."""
    return "".join(f"{name}: {inputs[name]}\n" for name in sorted(inputs))
