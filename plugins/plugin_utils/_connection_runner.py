# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The runner over an Ansible connection. Private to this collection."""

from __future__ import annotations

import contextlib
import re
import typing as t

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import (
    NodeUnreachable,
    Runner,
    ShellFailed,
    quote,
)
from ansible_collections.imagemode.nodes.plugins.plugin_utils._wall_clock import bounded

_RESET_SECONDS = 20
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class ConnectionRunner(Runner):
    """Sends scripts on standard input of `/bin/sh -s`, over whatever connection and become the task has."""

    def __init__(self, action: ActionBase) -> None:
        super().__init__()
        self._action = action
        self._wants_terminal = False

    def _execute(self, script: str, limit: int | None) -> tuple[int, str, str]:
        connection = self._action._connection
        script = self._exports() + script
        takes_stdin = connection.has_pipelining and (connection.become is None or connection.become.pipelining)
        try:
            with bounded(limit):
                if takes_stdin and not self._wants_terminal:
                    answer = self._over_stdin(script)
                    self._wants_terminal = _refused_without_terminal(*answer)
                    if not self._wants_terminal:
                        return answer
                return self._over_file(script)
        except AnsibleConnectionFailure as failure:
            raise NodeUnreachable(f"The connection to the node failed: {failure.message}") from failure
        except NodeUnreachable:
            # A kept connection that hung once would hang the next task as well.
            self.reset()
            raise

    def reset(self) -> None:
        """Forget the connection: after a reboot a kept one leads nowhere. A node that is down is no error here."""
        harmless = (AnsibleConnectionFailure, AttributeError, NotImplementedError, NodeUnreachable)
        with contextlib.suppress(*harmless), bounded(_RESET_SECONDS):
            self._action._connection.reset()

    def _exports(self) -> str:
        """The task's `environment`, as shell text: Ansible itself adds it to modules only. It may hold a proxy's password."""
        variables: dict[str, t.Any] = {}
        self._action._compute_environment_string(variables)
        for name in variables:
            if not _NAME.match(name):
                raise ShellFailed(f"environment: {name!r} is not the name of an environment variable.")
        return "".join(f"export {name}={quote([str(value)])}\n" for name, value in variables.items())

    def _over_stdin(self, script: str) -> tuple[int, str, str]:
        return _streams(self._action._low_level_execute_command("/bin/sh -s", in_data=script.encode()))

    def _over_file(self, script: str) -> tuple[int, str, str]:
        """For connections that take no standard input, and become methods that read their password from a terminal (su).

        The terminal would merge the two streams, so both go to files first.
        """
        directory = self._action._make_tmp_path()
        try:
            path = self._action._transfer_data(f"{directory}script", script)
            self._action._fixup_perms2([directory, path])
            wrapper = (
                'sh "$1/script" >"$1/out" 2>"$1/err" </dev/null; rc=$?; cat "$1/out"; echo "$2"; cat "$1/err"; exit $rc'
            )
            mark = "imagemode-standard-error-follows"
            command = quote(("/bin/sh", "-c", wrapper, "sh", directory.rstrip("/"), mark))
            rc, merged, _empty = _streams(self._action._low_level_execute_command(command))
        finally:
            self._action._remove_tmp_path(directory)
        stdout, _mark, stderr = merged.replace("\r\n", "\n").partition(f"{mark}\n")
        return rc, stdout, stderr


def _refused_without_terminal(rc: int, stdout: str, stderr: str) -> bool:
    """Whether sudo ran nothing because sudoers has `requiretty`. What it ran would have printed something first."""
    return rc != 0 and not stdout.strip() and "must have a tty to run sudo" in stderr


def _streams(result: t.Mapping[str, t.Any]) -> tuple[int, str, str]:
    return int(result["rc"]), str(result["stdout"]), str(result["stderr"])
