# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A pool's name for `hosts:` of a play. A name that is no group is an error there, not a play over nothing."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from ansible import context
from ansible.errors import AnsibleFilterError

_EXAMPLE = "Name one group of the inventory: -e {}=workers"
_NOT_POOLS = ("all", "ungrouped")
# Not an empty list, which Ansible refuses, nor a group without hosts, of which it warns.
_NOBODY = "all:!all"


def pool(name: object, groups: Mapping[str, Any], queue: bool = False, variable: str = "imagemode_pool") -> str:
    """The name itself, if it is a group that has hosts; raises AnsibleFilterError with what is wrong otherwise.

    With `queue`, the name of the group in which the plan queued nodes of the pool, or a pattern without any host.
    `variable` is where the name comes from, for the message.
    """
    problem = _problem(name, groups, variable)
    if problem:
        if context.CLIARGS.get("syntax"):
            return _NOBODY  # a syntax check has no inventory and no variables
        raise AnsibleFilterError(problem)
    if not queue:
        return str(name)
    queued = f"imagemode_queue_{name}"
    return queued if groups.get(queued) else _NOBODY


def _problem(name: object, groups: Mapping[str, Any], variable: str) -> str:
    if not isinstance(name, str) or not name.strip():
        return f"{variable} is not set. {_EXAMPLE.format(variable)}. {_available(groups)}"
    if name in _NOT_POOLS:
        return (
            f"{variable} is {name!r}, which is no pool: hosts that share no image and no policy would share one window. "
            f"{_EXAMPLE.format(variable)}. {_available(groups)}"
        )
    if name not in groups:
        near = difflib.get_close_matches(name, _pools(groups), n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        return f"{variable} is {name!r}, but the inventory has no such group.{hint} {_available(groups)}"
    if not groups[name]:
        return f"{variable} is {name!r}, but that group has no hosts."
    return ""


def _pools(groups: Mapping[str, Any]) -> list[str]:
    return sorted(str(name) for name in groups if name not in _NOT_POOLS)


def _available(groups: Mapping[str, Any]) -> str:
    found = _pools(groups)
    return f"Groups: {', '.join(found)}." if found else "The inventory has no groups."


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters of this file."""
        # ansible-core 2.19 and newer hand an undefined variable only to a filter that says it can take one.
        pool.accept_args_markers = True  # type: ignore[attr-defined]
        return {"pool": pool}
