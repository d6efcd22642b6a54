# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a host: one round trip to look, and one to write if something has to change."""

from __future__ import annotations

import posixpath
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_file import (
    FileState,
    Kind,
    WantedFile,
    check_path,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_files_plan import (
    LONGEST_SHOWN,
    FilesPlan,
    check_wanted,
    plan_files,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._host import file_scripts
from ansible_collections.imagemode.nodes.plugins.module_utils._host.failure import HostFailure
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Outcome, Runner, Step

_MODE = re.compile(r"0[0-7]{3}\Z")
_LITERAL = re.compile(r"\.(?:conf|crt|pem|pub|yaml|json|service)\Z|[*?]|\[[^]]*\]")


@dataclass(frozen=True)
class Written:
    """What came of writing: the plan as the node is now, and the outcomes of what was to run after it."""

    now: FilesPlan
    then: tuple[Outcome, ...]
    last: tuple[Outcome, ...]
    warnings: tuple[str, ...]


class HostFiles:
    """Wanted files of one host. `patterns` (of the shell) name files that are removed when they are not wanted."""

    def __init__(
        self,
        runner: Runner,
        wanted: Sequence[WantedFile],
        *,
        patterns: Sequence[str] = (),
        directory_mode: str = "0755",
        timeout: int = 60,
        show: bool = False,
    ) -> None:
        self._runner = runner
        self._wanted = check_wanted(wanted)
        self._patterns = patterns
        self._directory_mode = directory_mode
        self._timeout = timeout
        self._limit = LONGEST_SHOWN if show else 0

    def run(self, *, check_mode: bool) -> dict[str, Any]:
        """Look, and write outside of check mode. The result of the module host_files. Raises Refusal, HostFailure."""
        plan, _also = self.look()
        result: dict[str, Any] = {**plan.as_dict(), "msg": plan.summary}
        if not check_mode and plan.changed:
            written = self.write(plan)
            result["warnings"] += list(written.warnings)
        return result

    def look(self, also: Sequence[Step] = ()) -> tuple[FilesPlan, list[Outcome]]:
        """The plan, and the outcomes of other questions that travelled along. Raises Refusal, HostFailure."""
        question = file_scripts.look(self._wanted, self._patterns, limit=self._limit, timeout=self._timeout)
        answer, *rest = self._runner.run([question, *also])
        return self._plan(answer), rest

    def write(
        self, plan: FilesPlan, *, before: Sequence[Step] = (), then: Sequence[Step] = (), last: Sequence[Step] = ()
    ) -> Written:
        """Write all files or none, and prove them: first every new content goes beside its file, then all take their places.

        `before` runs when all contents are there, `then` when all files are in place, `last` in any case.
        Raises HostFailure, which names the file and says what became of the others.
        """
        token = uuid.uuid4().hex[:12]
        moves, steps = [], []
        for number, change in enumerate(plan.changes):
            path = change.wanted.path
            temporary = f"{posixpath.dirname(path).rstrip('/')}/.imagemode-{token}-{number}"
            if change.wanted.state is FileState.PRESENT:
                steps.append(file_scripts.prepare(change.wanted, temporary, self._directory_mode, self._timeout))
                moves.append((temporary, path))
            else:
                moves.append(("-", path))
        prepared = [file for file in plan.changes if file.wanted.state is FileState.PRESENT]
        temporaries = [move[0] for move in moves if move[0] != "-"]
        batch = [
            *steps,
            *before,
            file_scripts.commit(moves, self._timeout),
            *then,
            Step(("rm", "-f", "--", *temporaries), timeout=self._timeout, always=True),
            file_scripts.look(self._wanted, self._patterns, limit=0, timeout=self._timeout),
            *last,
        ]
        outcomes = iter(self._runner.run(batch))
        preparing = [next(outcomes) for _step in steps]
        readying = [next(outcomes) for _step in before]
        committing = next(outcomes)
        after = tuple(next(outcomes) for _step in then)
        next(outcomes)
        looking = next(outcomes)
        for change, outcome in zip(prepared, preparing):
            if not outcome.ok:
                raise HostFailure(
                    f"{change.wanted.path} could not be written: {_words(outcome)}. No file was changed.",
                    self._failed(plan, ()),
                )
        for outcome in readying:
            if not outcome.ok:
                raise HostFailure(f"{_words(outcome)}. No file was changed.", self._failed(plan, ()))
        self._require_committed(plan, committing)
        now = self._plan(looking)
        if now.changed:
            names = ", ".join(change.wanted.path for change in now.changes)
            raise HostFailure(
                f"{names}: written, and yet not as wanted when read again. Does something else on the node write there?",
                self._failed(plan, [change.wanted.path for change in plan.changes]),
            )
        lines = committing.stdout.splitlines()
        unlabelled = [line.partition(" ")[2] for line in lines if line.startswith("unlabelled ")]
        warnings = tuple(f"The SELinux label of {path} could not be restored." for path in unlabelled)
        return Written(now, after, tuple(outcomes), warnings)

    def _require_committed(self, plan: FilesPlan, outcome: Outcome) -> None:
        if outcome.ok:
            return
        done = [line[len("done ") :] for line in outcome.stdout.splitlines() if line.startswith("done ")]
        left = [change.wanted.path for change in plan.changes if change.wanted.path not in done]
        others = f"Before it, {', '.join(done)} took their places." if done else "No file was changed."
        later = f" {', '.join(left[1:])} are as they were." if left[1:] else ""
        raise HostFailure(
            f"{left[0] if left else 'The files'} could not take its place: {_words(outcome)}. {others}{later}",
            self._failed(plan, done),
        )

    def _failed(self, plan: FilesPlan, done: Sequence[str]) -> dict[str, Any]:
        files = [{**file, "changed": file["path"] in done} for file in (change.result() for change in plan.files)]
        return {"changed": bool(done), "files": files}

    def _plan(self, answer: Outcome) -> FilesPlan:
        if not answer.ok:
            raise HostFailure(f"The files could not be looked at: {_words(answer)}.", {"changed": False})
        try:
            found, strays = file_scripts.parse(answer.stdout)
            return plan_files(self._wanted, found, [file for file in strays if file.kind is not Kind.DIRECTORY])
        except (file_scripts.AnswerNotUnderstood, KeyError) as error:
            raise HostFailure(f"The files could not be looked at: {error}.", {"changed": False}) from error


def wanted_files(params: Mapping[str, Any]) -> HostFilesOptions:
    """The options of the module host_files. Raises Refusal."""
    for pattern in params["exclusive"]:
        _check_pattern(pattern)
    if not _MODE.match(params["directory_mode"]):
        raise Refusal(
            f"directory_mode is {params['directory_mode']!r}. Write four octal digits in quotes, such as '0755'."
        )
    files = tuple(WantedFile.from_option(option) for option in params["files"])
    return HostFilesOptions(files, tuple(params["exclusive"]), params["directory_mode"], params["file_timeout"])


def _check_pattern(pattern: str) -> None:
    """A mistyped pattern would remove what is not ours: it must name most of what it matches."""
    check_path(pattern)
    directory, name = posixpath.split(pattern)
    if set("*?[") & set(directory.split("/")[1]) or len(_LITERAL.sub("", name)) < 3:
        raise Refusal(
            f"exclusive: {pattern} could match anybody's files. Let the name begin or end with something of your own, "
            "such as /etc/example.d/fleet-*.conf."
        )


@dataclass(frozen=True)
class HostFilesOptions:
    """The options of the module host_files, parsed."""

    files: tuple[WantedFile, ...]
    patterns: tuple[str, ...]
    directory_mode: str
    timeout: int

    def on(self, runner: Runner, *, show: bool) -> HostFiles:
        """The files of the node that the runner reaches. `show`: read contents for a diff."""
        return HostFiles(
            runner,
            self.files,
            patterns=self.patterns,
            directory_mode=self.directory_mode,
            timeout=self.timeout,
            show=show,
        )


def _words(outcome: Outcome) -> str:
    """What went wrong with a step. Its stdout is never shown, nor are its arguments: they are long, or somebody's."""
    if outcome.timed_out:
        return "the node did not finish in time (file_timeout)"
    said = outcome.stderr.strip().splitlines()
    words = said[-1].rpartition("sh: ")[2] if said else f"exit code {outcome.rc}"
    denied = "Permission denied" in words or "not permitted" in words
    return words + (" (connect as root, or set become: true)" if denied else "")
