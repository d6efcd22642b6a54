# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names that nobody reads, each with the one that was probably meant: a mistyped variable is silence otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.unknown_names import unknown_names


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters of this file."""
        return {"unknown_names": unknown_names}
