# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables that this collection reads: every name that stands in one of its roles or playbooks."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

PREFIX = "imagemode_"

_NAME = re.compile(rf"\b{PREFIX}[a-z0-9_]+")
_COLLECTION = Path(__file__).resolve().parents[2]
_PLACES = ("roles/*/meta/argument_specs.yml", "roles/*/vars/*.yml", "roles/*/tasks/*.yml", "playbooks/*.yml")


@lru_cache(maxsize=1)
def known_variables() -> frozenset[str]:
    """Names such as `imagemode_image`. What stands in none of these files, nobody reads."""
    files = (path for place in _PLACES for path in _COLLECTION.glob(place))
    return frozenset(name for path in files for name in _NAME.findall(path.read_text(encoding="utf-8")))
