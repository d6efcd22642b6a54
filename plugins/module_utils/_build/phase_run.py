# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the phases of a build one after the other, under one deadline, into one log."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_files import BuildFiles
from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_phases import BuildPhase
from ansible_collections.imagemode.nodes.plugins.module_utils._build.engine import BuildCall, Engine
from ansible_collections.imagemode.nodes.plugins.module_utils._build.given_secrets import OutputFilter
from ansible_collections.imagemode.nodes.plugins.module_utils._build.layer_ledger import StorageTrace
from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import DeadlinePassed, stream
from ansible_collections.imagemode.nodes.plugins.module_utils._build.progress_file import ProgressFile
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
    build_failure,
    excerpt,
    last_step,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.step_script import script_failure

TAIL_LINES = 500


@dataclass(frozen=True)
class PhaseCalls:
    """What the engine calls of one build have in common. `call_of` makes the call for a phase, its tags, and with cache or not."""

    engine: Engine
    call_of: Callable[[BuildPhase, tuple[str, ...], bool], BuildCall]

    def argv(self, phase: BuildPhase, tags: tuple[str, ...], use_cache: bool = True) -> list[str]:
        """The command for one phase."""
        return self.engine.build_argv(self.call_of(phase, tags, use_cache))


@dataclass
class PhaseRun:
    """The engine runs of one build. `deadline` is of `time.monotonic`; `timeout` the seconds it came from."""

    calls: PhaseCalls
    files: BuildFiles
    log: Path
    timeout: float
    base: str
    authfile: str | None
    progress: ProgressFile
    commands: list[list[str]]
    output: OutputFilter = field(default_factory=OutputFilter)
    trace: StorageTrace = field(default_factory=StorageTrace)
    began: float = field(default_factory=time.monotonic)

    def build(self, phases: Sequence[BuildPhase], tags: tuple[str, ...], use_cache: bool = True) -> None:
        """Build every phase; the last gets `tags`. Raises BuildError, DeadlinePassed, Interrupted."""
        image_id = ""
        for number, phase in enumerate(phases, start=1):
            is_last = number == len(phases)
            user_file = phase.source.containerfile if phase.source.called else None
            self.progress.phase(phase.name, number, len(phases), user_file, phase.source.titles)
            self.files.write_phase(phase.name, phase.text_on(image_id), None if phase.context else phase.files)
            image_id = self._run(phase, tags if is_last else (), use_cache)
            if not is_last:
                self.trace.created.append(image_id)

    def _run(self, phase: BuildPhase, tags: tuple[str, ...], use_cache: bool) -> str:
        """Run the engine for a phase, and return the id of its image."""
        tail: deque[str] = deque(maxlen=TAIL_LINES)

        def note(line: str) -> str:
            shown = self.output.hide(line)
            tail.append(shown)
            self.trace.read(shown)
            self.progress.read(shown)
            return shown

        argv = self.calls.argv(phase, tags, use_cache)
        self.commands.append(argv)
        left = max(0.0, self.began + self.timeout - time.monotonic())
        try:
            exit_code = stream(argv, self.log, left, note)
        except DeadlinePassed as error:
            raise BuildError(self._ended(phase, list(tail))) from error
        if exit_code != 0:
            failure = build_failure(phase.source, list(tail), exit_code, self.base, self.authfile)
            raise BuildError(_foreseen(phase, tail, failure).with_log(str(self.log)))
        return self.files.id_file.read_text().strip().rpartition(":")[2]

    def _ended(self, phase: BuildPhase, tail: list[str]) -> BuildFailure:
        reached = last_step(tail)
        at = f" It was at: {reached.text}" if reached else ""
        failure = build_failure(phase.source, tail, -1, "", None)
        return BuildFailure(
            FailureCategory.STEP if reached else FailureCategory.ENGINE,
            f"The build was ended: it did not end within {self.timeout:.0f} s (build_timeout).{at}",
            step=failure.step,
            line=failure.line,
            excerpt=excerpt(tail),
            log=str(self.log),
        )


def _foreseen(phase: BuildPhase, tail: Iterable[str], failure: BuildFailure) -> BuildFailure:
    """The failure in the words of the collection's own script, where it was that which gave up."""
    said = script_failure("\n".join(tail)) if phase.source.called is None else None
    if said is None:
        return failure
    category, message = said
    return replace(failure, category=category, message=f"Could not {failure.step}: {message}")


@contextlib.contextmanager
def private_directory(files: BuildFiles) -> Iterator[Path]:
    """A directory for secrets while the engine runs, which only its owner can enter; gone afterwards, whatever happens."""
    path = files.directory / "private"
    shutil.rmtree(path, ignore_errors=True)  # of a build that was killed
    path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
