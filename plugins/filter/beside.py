# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a path of a variable starts: beside the inventory, whichever directory a module happens to run in."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_HOME_OR_ENVIRONMENT = ("~", "$")


def beside(value: Any, directory: str | None, keys: Sequence[str] | None = None) -> Any:
    """A relative path, below `directory`; an absolute one, an empty one, and one from `~` or a variable of the environment as it is.

    Those two are the host's that the path is for, which only its module knows. With `keys`, `value` is a dictionary,
    and the paths are in these keys of it; what is no dictionary is returned as it is.
    """
    if keys is not None:
        if not isinstance(value, Mapping):
            return value
        return {key: beside(one, directory) if key in keys else one for key, one in value.items()}
    if not isinstance(value, str) or not value or not directory or value.startswith(_HOME_OR_ENVIRONMENT):
        return value
    return posixpath.join(directory, value)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters of this file."""
        return {"beside": beside}
