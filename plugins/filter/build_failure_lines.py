# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A failed build in a few lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure_lines import failure_lines


def build_failure_lines(failure: object) -> list[str]:
    """The lines; raises AnsibleFilterError for something that is no failure."""
    if not isinstance(failure, Mapping):
        raise AnsibleFilterError(f"build_failure_lines wants the failure of a build, a dictionary, not {failure!r}.")
    return failure_lines(failure)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters of this file."""
        return {"build_failure_lines": build_failure_lines}
