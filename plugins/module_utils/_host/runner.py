# SPDX-License-Identifier: GPL-3.0-or-later
"""Running steps on a node: one POSIX shell script per batch, whatever carries it there.

The script goes to `/bin/sh -s` on standard input. That keeps stdout and stderr apart, shows nothing in the process list,
has no size limit, and needs nothing on the node but a POSIX shell.
"""

from __future__ import annotations

import base64
import re
import shlex
import textwrap
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

# Longer than any tool needs to clean up after SIGTERM; then SIGKILL. What it started goes with it: a surviving child
# would keep our standard output open, and the connection with it. The guard dozes in short naps, because a `sleep` that is
# killed between its fork and its exec can survive the signal: so nothing of ours outlives a batch by more than two seconds.
_GRACE_SECONDS = {"INT": 60}  # a transaction that is cancelled tidies up first
_GRACE_SECONDS_OTHERS = 10

# What a connection may take to come about and to go, beyond the deadlines of the steps.
_CONNECTION_SECONDS = 30

_PRELUDE = r"""
LC_ALL=C; export LC_ALL
PATH="${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"; export PATH
rc=0; timed_out=0
family_of() {
  for status in $(grep -sl "^PPid:[[:space:]]*$1\$" /proc/[0-9]*/status); do
    status=${status#/proc/}; (family_of "${status%/status}")
  done
  echo "$1"
}
doze() {
  left=$1
  while [ "$left" -gt 0 ]; do
    nap=2; [ "$left" -ge 2 ] || nap=1
    sleep "$nap" & wait $!
    left=$((left - nap))
  done
}
run_bounded() {
  limit=$1 signal=$2 grace=$3; shift 3
  "$@" <&3 3<&- & child=$!
  (
    fired=0; family=
    trap 'kill $! $family 2>/dev/null; exit "$fired"' TERM
    doze "$limit"
    fired=77; family=$(family_of "$child")
    kill -s "$signal" "$child" 2>/dev/null
    doze "$grace"
    kill -KILL $family 2>/dev/null
    exit 77
  ) >/dev/null 2>&1 & guard=$!
  wait "$child"; rc=$?
  kill -TERM "$guard" 2>/dev/null
  wait "$guard"
  [ $? -eq 77 ] && timed_out=1
}
begin() { printf '%s begin %s\n' "$mark" "$1"; printf '%s begin %s\n' "$mark" "$1" >&2; rc=0; timed_out=0; }
end() { printf '\n%s end %s %s %s\n' "$mark" "$1" "$rc" "$timed_out"; printf '\n%s end %s\n' "$mark" "$1" >&2; }
"""


_TRAILER = re.compile(r"(\d{1,9}) ([01])\s*\Z")


class NodeUnreachable(Exception):
    """The connection failed or ended before the script did. What the script had done by then is not known."""


class ShellFailed(Exception):
    """The node's shell did not run the script: no privileges, no shell, or something else answered."""


@dataclass(frozen=True)
class Step:
    """One command of a batch.

    `timeout` in seconds: `signal` then, SIGKILL after its grace. `fallback`: run only if the step before failed.
    `gate`: if this step fails, the rest of the batch is not run, except for steps that are `always` run.
    `input` is what the command reads; it never shows in a process list. An rpm-ostree client has to be stopped with INT:
    any other signal orphans its transaction (recorded, rpm-ostree 2026.2).
    """

    argv: tuple[str, ...]
    timeout: int | None = None
    input: bytes = b""
    signal: str = "TERM"
    fallback: bool = False
    gate: bool = False
    always: bool = False

    @property
    def grace(self) -> int:
        """Seconds between its signal and SIGKILL."""
        return _GRACE_SECONDS.get(self.signal, _GRACE_SECONDS_OTHERS)


@dataclass(frozen=True)
class Outcome:
    """How a step went. `rc` is None for a step that was not run; 127 means that the command does not exist."""

    argv: tuple[str, ...]
    rc: int | None
    stdout: str = ""
    stderr: str = ""
    timed_out: bool = False

    @property
    def ran(self) -> bool:
        """Whether the step was run at all."""
        return self.rc is not None

    @property
    def ok(self) -> bool:
        """Whether the step ran and returned 0 in time."""
        return self.rc == 0 and not self.timed_out

    @property
    def missing(self) -> bool:
        """Whether the node has no such command."""
        return self.rc == 127


class Runner(ABC):
    """Runs batches of steps on one node, and counts the trips."""

    def __init__(self) -> None:
        self.trips = 0

    @abstractmethod
    def _execute(self, script: str, limit: int | None) -> tuple[int, str, str]:
        """Run the script with `/bin/sh -s`: exit code, stdout, stderr. Raises NodeUnreachable, also after `limit` seconds."""

    def run(self, steps: Sequence[Step]) -> list[Outcome]:
        """Run the steps in order in one round trip. One outcome per step, in the same order.

        Raises NodeUnreachable when the connection failed or ended early, ShellFailed when no shell ran the script.
        """
        mark = f"imagemode-{uuid.uuid4().hex}"
        self.trips += 1
        rc, stdout, stderr = self._execute(build_script(steps, mark), _limit(steps))
        if f"{mark} ready" not in stdout:
            detail = stderr.strip() or stdout.strip() or f"exit code {rc}"
            raise ShellFailed(f"The node's shell did not run our script: {detail[-500:]}")
        return parse_output(steps, mark, stdout, stderr)

    def run_one(self, step: Step) -> Outcome:
        """Run a single step."""
        return self.run([step])[0]


def _limit(steps: Sequence[Step]) -> int | None:
    """Seconds after which a batch must have answered, whatever became of the node; None if a step has no deadline."""
    if not all(step.timeout for step in steps):
        return None
    return _CONNECTION_SECONDS + sum((step.timeout or 0) + step.grace for step in steps)


def quote(argv: Sequence[str]) -> str:
    """One command as shell text. Nothing else in this collection builds shell text from data.

    Raises ValueError for a word with a NUL character, which no argument of a command can hold: shells drop it silently.
    """
    if any("\0" in word for word in argv):
        raise ValueError(f"a word of {' '.join(argv)!r} holds a NUL character")
    return " ".join(shlex.quote(word) for word in argv)


def build_script(steps: Sequence[Step], mark: str) -> str:
    """The script of a batch. Each stream of each step is framed by lines that begin with `mark`."""
    lines = [_PRELUDE.strip(), f"mark={shlex.quote(mark)}", 'printf "%s ready\\n" "$mark"', "go=1"]
    for index, step in enumerate(steps):
        condition = ("true" if step.always else '[ "$go" = 1 ]') + (' && [ "$rc" != 0 ]' if step.fallback else "")
        lines.append(f"if {condition}; then begin {index}; {_call(step, mark)}")
        lines.append(f"end {index}; fi")
        if step.gate:
            lines.append('[ "$rc$timed_out" = 00 ] || go=0')
    lines.append('printf "%s done\\n" "$mark"')
    return "\n".join(lines) + "\n"


def _call(step: Step, mark: str) -> str:
    """The shell text that runs a step with its input on descriptor 3, and sets rc and timed_out.

    The input travels as base64 in a here-document, because it may be any bytes.
    """
    argv = ("sh", "-c", 'base64 -d | "$@"', "sh", *step.argv) if step.input else step.argv
    run = (
        f"run_bounded {int(step.timeout)} {step.signal} {step.grace} {quote(argv)}"
        if step.timeout
        else f"{quote(argv)} <&3 3<&-; rc=$?"
    )
    if not step.input:
        return f"{{ {run}; }} 3</dev/null"
    document = textwrap.fill(base64.b64encode(step.input).decode("ascii"), 76)
    return f"{{ {run}; }} 3<<'{mark}'\n{document}\n{mark}"


def parse_output(steps: Sequence[Step], mark: str, stdout: str, stderr: str) -> list[Outcome]:
    """The outcomes of a batch from its two streams. Raises NodeUnreachable when the script was cut off."""
    if f"{mark} done" not in stdout:
        raise NodeUnreachable("The connection ended while the node was still working.")
    outcomes = []
    for index, step in enumerate(steps):
        out, trailer = _frame(stdout, mark, index)
        err, _trailer = _frame(stderr, mark, index)
        if trailer is None:
            outcomes.append(Outcome(step.argv, None))
            continue
        ended = _TRAILER.match(trailer)
        if ended is None:
            raise ShellFailed(f"Something else wrote between our lines on this node: {trailer[:200]!r}")
        outcomes.append(Outcome(step.argv, int(ended.group(1)), out, err, ended.group(2) == "1"))
    return outcomes


def _frame(stream: str, mark: str, index: int) -> tuple[str, str | None]:
    """What stands between the marks of one step, and the rest of its end line; ("", None) for a step that did not run."""
    opening, closing = f"{mark} begin {index}\n", f"\n{mark} end {index}"
    start = stream.find(opening)
    if start < 0:
        return "", None
    stop = stream.find(closing, start)
    if stop < 0:
        return stream[start + len(opening) :], None
    rest = stream[stop + len(closing) :]
    return stream[start + len(opening) : stop], rest.partition("\n")[0].strip()
