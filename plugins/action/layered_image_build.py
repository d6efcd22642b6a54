# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of layered_image_build: the module on the build host, and its progress on the operator's terminal."""

from __future__ import annotations

import contextlib
import shlex
import time
import typing as t
import uuid

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.imagemode.nodes.plugins.module_utils._build.options import BUILD_SPEC
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildFailure,
    FailureCategory,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_progress import ProgressNote
from ansible_collections.imagemode.nodes.plugins.plugin_utils._build_watch import Look, watching
from ansible_collections.imagemode.nodes.plugins.plugin_utils._terminal import say

Result = dict[str, t.Any]

_INTERVAL_VARIABLE = "imagemode_progress_interval"
_INTERVAL_SECONDS = 10.0
# Connections that start a process for each command: a copy of one in another process disturbs nothing.
_WITHOUT_STATE = frozenset({"local", "ssh", "podman", "docker", "buildah", "chroot", "lab"})
_HOME = 'case $p in "~/"*) p=$HOME/${p#"~/"};; esac; '


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible ships no types
    """Runs the module as if there were no action, and shows how far it is meanwhile."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: Result | None = None) -> Result:
        """Ansible's entry point."""
        result: Result = super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = dict(self._task.args)
        interval = self._interval(variables)
        if not interval or not self._can_be_watched():
            result.update(self._module(arguments, variables))
            return result
        arguments.setdefault("progress_file", self._place(arguments))
        path = str(arguments["progress_file"])
        host = str(self._task.delegate_to or variables.get("inventory_hostname", "build host"))
        with watching(interval, lambda: self._look(path), lambda line: say(f"{host}: {line}")):
            result.update(self._module(arguments, variables))
        return result

    def _module(self, arguments: Result, variables: Result) -> Result:
        """The module's own result. A lost connection is a failure of the build: UNREACHABLE would skip `rescue`."""
        try:
            return t.cast(
                Result,
                self._execute_module(
                    module_name=self._task.action,
                    module_args=arguments,
                    task_vars=variables,
                    wrap_async=bool(self._task.async_val),
                ),
            )
        except AnsibleConnectionFailure as error:
            message = (
                f"The connection to the build host failed: {error.message} What was being built there has been ended; no tag is half "
                "pushed. Run again; it resumes from the layers it has."
            )
            failure = BuildFailure(FailureCategory.ENGINE, message, retryable=True)
            return {"failed": True, "unreachable_host": True, "msg": message, "failure": failure.as_result()}

    def _interval(self, variables: t.Mapping[str, t.Any]) -> float:
        """Seconds between two looks; 0 for none. A value that is no number is as good as none given."""
        with contextlib.suppress(Exception):  # an undefined variable, a text
            return max(0.0, float(self._templar.template(variables[_INTERVAL_VARIABLE])))
        return _INTERVAL_SECONDS

    def _can_be_watched(self) -> bool:
        """Not with async, whose task does not wait; in check mode nothing lasts; no_log may hide what steps say."""
        if self._task.async_val or self._task.check_mode or self._task.no_log:
            return False
        return str(self._connection.transport).rpartition(".")[2] in _WITHOUT_STATE

    def _place(self, arguments: t.Mapping[str, t.Any]) -> str:
        """A file of this task alone, where the module keeps its other files."""
        directory = str(arguments.get("work_dir") or BUILD_SPEC["work_dir"]["default"])
        return f"{directory.rstrip('/')}/progress-{uuid.uuid4().hex}.json"

    def _look(self, path: str) -> Look:
        """The note of the build and the clock beside it, with the connection and become of the task."""
        script = f'p={shlex.quote(path)}; {_HOME}date +%s; cat "$p" 2>/dev/null'
        found = self._low_level_execute_command(f"/bin/sh -c {shlex.quote(script)}")
        now, _line, text = str(found["stdout"]).strip().partition("\n")
        return Look(float(now) if now.strip().isdigit() else time.time(), ProgressNote.parse(text))
