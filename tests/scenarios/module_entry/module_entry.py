# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Action of the tests: runs the module entry of a module whose action plugin would otherwise answer. Works in check mode,
which Ansible refuses together with `async`.
"""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible ships no types
    """Options: `module`, its full name, and `options`, what it gets."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self._task.args
        result.update(
            self._execute_module(
                module_name=arguments["module"], module_args=arguments["options"], task_vars=task_vars or {}
            )
        )
        return result
