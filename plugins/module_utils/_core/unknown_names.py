# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that nobody reads, each with the one that was probably meant: a mistyped variable is silence otherwise."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# How alike two names have to be. Long ones are variables, which share a prefix and so are alike anyway.
_SHORT_NAME = 16  # characters
_SHORT = 0.7
_LONG = 0.88


def unknown_names(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """What of `names` is not in `known`, sorted, such as `imagemode_build_bsae (did you mean imagemode_build_base?)`."""
    wanted = sorted(set(known))
    found = []
    for name in sorted(set(names) - set(wanted)):
        near = difflib.get_close_matches(name, wanted, n=1, cutoff=_LONG if len(name) > _SHORT_NAME else _SHORT)
        found.append(f"{name} (did you mean {near[0]}?)" if near else name)
    return found
