# SPDX-License-Identifier: GPL-3.0-or-later
"""What a secret looks like when it has leaked: the byte strings that are searched for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class LeakPlace(str, Enum):
    """Where in a layer or in the image's configuration a secret is."""

    CONTENT = "content"
    COMPRESSED = "compressed content"
    ENTRY = "name, link target or attributes"
    CONFIGURATION = "configuration"


@dataclass(frozen=True)
class Leak:
    """A secret that was found; never holds the secret itself, also where it stands in a path or an instruction.

    `secret` is its id; `layer` counts the image's layers from 0, None for the configuration; `path` is that in the layer,
    or the field of the configuration; `instruction` is what the history says of the layer, None where it says nothing.
    `form` is how it was written, such as `plain` or `base64`.
    """

    secret: str
    layer: int | None
    path: str
    place: LeakPlace
    form: str
    instruction: str | None = None


@dataclass(frozen=True)
class Unsearchable:
    """A secret that was not searched for, and why."""

    secret: str
    reason: str


@dataclass(frozen=True)
class LeakReport:
    """All that a search found. `searched` is in bytes."""

    leaks: tuple[Leak, ...] = ()
    unsearchable: tuple[Unsearchable, ...] = ()
    searched: int = 0
