# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What becomes of a node whose update failed, from the results of its tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_recovery import Results, recovery_of


def rollout_recovery(
    results: Mapping[str, Any],
    roll_back: bool = True,
    otherwise: str = "its update failed",
) -> dict[str, Any]:
    """`next`, `phase`, `reason` and `deny` for a node, see `_core/rollout_recovery.py`."""
    known = {name: results.get(name) or None for name in ("drain", "reboot", "health", "undrain", "held", "booted")}
    return recovery_of(Results(**known), bool(roll_back), str(otherwise)).as_dict()


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters of this file."""
        return {"rollout_recovery": rollout_recovery}
