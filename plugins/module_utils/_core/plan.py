# SPDX-License-Identifier: GPL-3.0-or-later
"""What a planner answers: the commands, why, and the state they lead to. Plans are values; nothing here acts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Deployment, HostState


class Refusal(Exception):
    """The wanted change must not be made from this state. The message says what was seen, what was wanted, what to do."""


@dataclass(frozen=True)
class Command:
    """One call of a tool. `pulls`: it may download, and needs the long deadline.

    `only_if`: a command that changes nothing and must succeed first, for what would hit the wrong thing if somebody
    else had been there since the state was read.
    """

    argv: tuple[str, ...]
    purpose: str
    pulls: bool = False
    only_if: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Plan:
    """The way from `before` to `after`. `after` is a prediction; a digest in it is None where only the pull can tell it.

    `diff_shows_booted`: the plan changes what is booted, rather than what boots next. `arguments`: the kernel arguments
    before and after, where the plan changes them.
    """

    before: HostState
    after: HostState
    commands: tuple[Command, ...]
    summary: str
    warnings: tuple[str, ...] = ()
    diff_shows_booted: bool = False
    arguments: tuple[Sequence[str], Sequence[str]] = ((), ())

    @property
    def changed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.commands)

    @property
    def diff(self) -> dict[str, str]:
        """Ansible's diff of what boots next, or of what is booted. The same in a check run as in a real one."""
        header = "booted" if self.diff_shows_booted else "next boot"
        before, after = (state.booted if self.diff_shows_booted else state.next for state in (self.before, self.after))
        return {
            "before_header": header,
            "after_header": header,
            "before": _lines(before, self.arguments[0]),
            "after": _lines(after, self.arguments[1]),
        }

    def as_dict(self) -> dict[str, Any]:
        """The part of a module's result that a plan decides."""
        return {
            "changed": self.changed,
            "diff": self.diff,
            "commands": [list(command.argv) for command in self.commands],
            "warnings": list(self.warnings),
        }


def _lines(deployment: Deployment | None, arguments: Sequence[str]) -> str:
    if deployment is None:
        return "nothing\n"
    lines = []
    if deployment.image:
        lines.append(f"image: {deployment.image.reference}")
        lines.append(f"digest: {deployment.image.digest or 'whatever the registry has under this reference'}")
        lines.append(f"signature: {deployment.image.signature}")
    else:
        lines.append(f"ostree commit: {deployment.checksum}")
    if deployment.local_changes:
        lines.append(f"local changes: {deployment.local_changes.describe()}")
    lines += [f"kernel argument: {word}" for word in arguments]
    return "\n".join(lines) + "\n"
