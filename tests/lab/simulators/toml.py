# SPDX-License-Identifier: GPL-3.0-or-later
"""TOML files of a node: kargs.d and registries.conf."""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from typing import Any


class TomlError(Exception):
    """The text is no TOML. ``str()`` says where."""


def parse(content: bytes) -> dict[str, Any]:
    """The document. Raises TomlError; needs Python 3.11, which has a parser, on the machine of the lab."""
    tomllib = importlib.import_module("tomllib")
    try:
        document: dict[str, Any] = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TomlError(str(error)) from error
    return document
