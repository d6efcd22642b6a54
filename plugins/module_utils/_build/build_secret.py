# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that RUN steps may read while an image is built, and that must not be in it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
)

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


@dataclass(frozen=True)
class BuildSecret:
    """A secret by the name that `RUN --mount=type=secret,id=` uses. It comes from `src` or is `value`.

    `version` stands for the content in the input key, since a hash of a secret would tell too much about it.
    """

    id: str
    src: Path | None
    value: bytes | None
    version: str

    def __repr__(self) -> str:
        return f"BuildSecret({self.id!r}, version={self.version!r})"

    def content(self) -> bytes:
        """The secret itself. Raises OSError."""
        return self.value if self.value is not None else (self.src or Path()).read_bytes()

    def path(self, private_directory: Path) -> Path:
        """A file with the secret: the user's own, or one in a directory that only its owner can enter."""
        if self.src is not None:
            return self.src
        path = private_directory / f"secret-{self.id}"
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(self.content())
        return path


def build_secrets(options: Sequence[Mapping[str, Any]]) -> tuple[BuildSecret, ...]:
    """The secrets that the option gives. Raises BuildError of category input, without anything of a secret."""
    return tuple(_secret(option) for option in options)


def _secret(option: Mapping[str, Any]) -> BuildSecret:
    name = str(option["id"])
    if not _ID.match(name):
        raise _refused(f"{name!r} is no name for a secret: letters, digits, dots, dashes and underscores.")
    src, value = option.get("src"), option.get("value")
    if (src is None) == (value is None):
        raise _refused(f"The secret {name} needs exactly one of src and value.")
    path = Path(src).absolute() if src is not None else None
    if path is not None and not (path.is_file() and os.access(path, os.R_OK)):
        raise _refused(f"The file {path} of the secret {name} does not exist or cannot be read on the build host.")
    if path is not None and "," in str(path):
        raise _refused(f"The path of the secret {name} has a comma, which the engines take for the end of it: {path}.")
    secret = BuildSecret(
        name, path, str(value).encode() if value is not None else None, str(option.get("version") or "")
    )
    if not secret.content().strip():
        raise _refused(f"The secret {name} is empty.")
    return secret


def _refused(message: str) -> BuildError:
    return BuildError(BuildFailure(FailureCategory.INPUT, message))
