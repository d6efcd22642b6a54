# SPDX-License-Identifier: GPL-3.0-or-later
"""Work of minutes on a node that a lost connection or a killed controller must not end: a transient systemd unit.

    outcome = LongWork(runner, notify).run(
        Work(("bootc", "switch", image), timeout=1800), before=[gate], after=[status_step]
    )

One round trip where the work ends within the first slice. Where it does not, one more trip per slice, and a sentence to
`notify` at each. The unit's name is the lock: who finds the same command running waits for it (adopts), who finds another one
stops that first (supersedes). A node without a running systemd gets the command directly.
"""

from __future__ import annotations

import hashlib
import shlex
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.imagemode.nodes.plugins.module_utils._core.progress import progress_sentence, tells_progress
from ansible_collections.imagemode.nodes.plugins.module_utils._host import unit_script
from ansible_collections.imagemode.nodes.plugins.module_utils._host.execution import stop_signal
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import (
    NodeUnreachable,
    Outcome,
    Runner,
    Step,
    quote,
)

STAGE_UNIT = "imagemode-stage.service"

_SLICE_SECONDS = 15
_RECONNECT_SECONDS = 120  # a node that is away longer than this has a trouble of its own
_RECONNECT_PAUSE = 5.0
_START_SECONDS = unit_script.STOPPING_SECONDS + 30
_STOP_SECONDS = {"rpm-ostree": 60}  # a transaction that is cancelled tidies up first
_STOP_SECONDS_OTHERS = 30
_ABANDONED_SECONDS = 120  # what nobody watches any more ends by itself this long after its deadline
_ATTEMPTS = 3
_EXITED = 1


EARLIER_WORK = Step(("sh", "-c", unit_script.EARLIER, "sh", "/run", STAGE_UNIT), timeout=30, gate=True)
"""A gate for those who are going to ask a tool, which may not answer while such work goes on. See `earlier_work`."""


@dataclass(frozen=True)
class EarlierWork:
    """Work of an earlier run that is still going on: its token and its command."""

    token: str
    argv: tuple[str, ...]


def earlier_work(outcome: Outcome) -> EarlierWork | None:
    """What closed the gate EARLIER_WORK; None where there is no such work."""
    token, _newline, command = outcome.stdout.partition("\n")
    words = shlex.split(command)
    return EarlierWork(token.strip(), tuple(words)) if token.strip() and words else None


class LongWorkFailed(Exception):
    """The work could not be started or stopped; the message says why and what to do."""


class LongWorkNotStarted(LongWorkFailed):
    """The command never ran. What stood before it in the batch did."""


@dataclass(frozen=True)
class Work:
    """A command of bootc or rpm-ostree. `timeout` in seconds; `unit` is the lock, so all work on one thing has one name.

    `description` shows in `systemctl status` and in what others are told: no secrets in it.
    """

    argv: tuple[str, ...]
    timeout: int
    unit: str = STAGE_UNIT
    description: str = ""

    @property
    def tool(self) -> str:
        """The program, such as `bootc`."""
        return self.argv[0]

    @property
    def signal(self) -> str:
        """What ends it well."""
        return stop_signal(self.argv)

    @property
    def stop_seconds(self) -> int:
        """How long it may take to end after its signal, before it is killed."""
        return _STOP_SECONDS.get(self.tool, _STOP_SECONDS_OTHERS)

    @property
    def fingerprint(self) -> str:
        """Equal for equal commands; says nothing else about them."""
        return hashlib.sha256("\0".join(self.argv).encode()).hexdigest()

    @property
    def label(self) -> str:
        """The description in one line, or the command."""
        return " ".join((self.description or " ".join(self.argv)).split())


@dataclass(frozen=True)
class LongOutcome:
    """What became of the work. The state of the node, read by the steps `after`, decides; this explains it.

    `command`: rc is 128 and the signal for a command that a signal ended, and None where it never ran (`gated`) or where nobody
    knows (`vanished`: the node was rebooted, or somebody stopped the unit by hand). `before` is empty if the connection was lost
    in the first trip; `after` is empty only if the work never ran. `stopped`: another controller stopped it for its own work.
    """

    command: Outcome
    before: tuple[Outcome, ...] = ()
    after: tuple[Outcome, ...] = ()
    seconds: float = 0.0
    gated: bool = False
    adopted: bool = False
    superseded: bool = False
    stopped: bool = False
    vanished: bool = False
    direct: bool = False


@dataclass
class _Run:
    """One run while it goes on."""

    work: Work
    after: tuple[Step, ...]
    token: str
    began: float
    before: tuple[Outcome, ...] = ()
    adopted: bool = False
    superseded: bool = False


@dataclass
class LongWork:
    """Runs such work over a runner. `runtime` is where the node keeps what a reboot may forget."""

    runner: Runner
    notify: Callable[[str], None] = lambda _sentence: None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    slice_seconds: int = _SLICE_SECONDS
    reconnect_seconds: int = _RECONNECT_SECONDS
    runtime: str = "/run"
    _last: str = field(default="", init=False)

    def run(self, work: Work, before: Sequence[Step] = (), after: Sequence[Step] = ()) -> LongOutcome:
        """Do the work, or wait for the same work that is already going on, up to its timeout; then stop it.

        `before` runs ahead of it in the same trip; a gate that closes there prevents it. A first trip that was lost is made again if
        nothing was started, gates included: one on the boot id keeps what was planned for one boot out of the next. `after` runs
        once the work has ended, however that was. Raises NodeUnreachable when the node stays away (the unit goes on, and the next
        run finds it), LongWorkFailed, ShellFailed.
        """
        self._last = ""
        run = _Run(work, tuple(replace(step, always=False) for step in after), "", self.clock())
        first: tuple[Step, ...] = tuple(before)
        stop: tuple[Step, ...] = ()
        for _attempt in range(_ATTEMPTS):
            run.token = uuid.uuid4().hex
            steps = (*first, *stop, self._start(run), self._watch(run), *run.after)
            try:
                outcomes = self.runner.run(steps)
            except NodeUnreachable as failure:
                found = self._look_again(run, failure)
                if found is not None:
                    return self._follow(run, found)
                continue
            if first:
                run.before, outcomes = tuple(outcomes[: len(first)]), outcomes[len(first) :]
                first = ()
            if not outcomes[0].ran:
                return self._outcome(run, Outcome(work.argv, None), gated=True)
            if stop and not outcomes[0].ok:
                raise LongWorkNotStarted(
                    f"{work.unit} runs something else on this node and could not be stopped ({outcomes[0].stderr.strip()}). "
                    f"See `systemctl status {work.unit}` there."
                )
            begun, watched = outcomes[len(stop)], outcomes[len(stop) + 1 :]
            if begun.ok:
                self._note_start(run, begun)
                return self._follow(run, watched)
            if begun.rc == unit_script.NO_SYSTEMD:
                return self._directly(run)
            if begun.rc != unit_script.OTHER_WORK:
                raise LongWorkNotStarted(
                    f"`{' '.join(work.argv)}` could not be started as {work.unit}: "
                    f"{begun.stderr.strip() or f'code {begun.rc}'}. See `systemctl status {work.unit}` on the node."
                )
            other = begun.stdout.strip().partition(" ")[2].partition(" ")[2]
            self.notify(f"stops what {work.unit} was doing for an earlier run: {other or 'something else'}")
            run.superseded, stop = True, (self._stop(work, ""),)
        raise LongWorkNotStarted(
            f"Other work was started as {work.unit} on this node each time its predecessor had been stopped: another controller "
            "wants something else of this node at the same time. Let one of them end first."
        )

    def wait_for(self, earlier: EarlierWork, timeout: int) -> None:
        """Wait for work of an earlier run, up to the timeout; then stop it. What came of it, the node's state tells."""
        run = _Run(Work(earlier.argv, timeout), (), earlier.token, self.clock(), adopted=True)
        self.notify(f"an earlier run's `{' '.join(earlier.argv)}` goes on as {run.work.unit}: waits for that")
        self._follow(run, self._trip(run, (self._watch(run),)))

    def stop(self, earlier: EarlierWork) -> None:
        """Stop work of an earlier run, whose outcome nobody wants any more. Raises LongWorkFailed."""
        work = Work(earlier.argv, 1)
        run = _Run(work, (), earlier.token, self.clock())
        self.notify(f"stops what {work.unit} was doing for an earlier run: `{' '.join(earlier.argv)}`")
        (stopped,) = self._trip(run, (self._stop(work, earlier.token),))
        if not stopped.ok:
            raise LongWorkFailed(
                f"`{' '.join(earlier.argv)}` of an earlier run could not be stopped ({stopped.stderr.strip()}). "
                f"See `systemctl status {work.unit}` on the node."
            )

    # following a run

    def _follow(self, run: _Run, outcomes: Sequence[Outcome]) -> LongOutcome:
        """From the outcomes of a watch and the steps behind it on, until the work has ended."""
        while True:
            watch, *after = outcomes
            if watch.rc == unit_script.NEVER_RAN:
                return self._vanished(run)
            if watch.ok:
                return self._harvest(run, watch, tuple(after))
            if watch.rc not in (unit_script.STILL_RUNNING, None) and not watch.timed_out:
                raise LongWorkFailed(f"{run.work.unit} could not be watched on this node: {watch.stderr.strip()}")
            if self._left(run) <= 0:
                return self._stop_late(run)
            self._tell(run, watch.stdout)
            outcomes = self._trip(run, (self._watch(run), *run.after))

    def _trip(self, run: _Run, steps: Sequence[Step]) -> list[Outcome]:
        """One round trip, tried again for a while: the unit goes on by itself. Raises NodeUnreachable."""
        lost_at: float | None = None
        while True:
            try:
                return self.runner.run(steps)
            except NodeUnreachable as failure:
                now = self.clock()
                if lost_at is None:
                    lost_at = now
                    self.notify(f"lost the node ({failure}); the work goes on there as {run.work.unit}, tries again")
                if now - lost_at >= self.reconnect_seconds:
                    raise NodeUnreachable(
                        f"{failure} It was tried again for {self.reconnect_seconds} s. `{' '.join(run.work.argv)}` may be going on "
                        f"as {run.work.unit}; the next run waits for it."
                    ) from failure
                self.sleep(_RECONNECT_PAUSE)

    def _look_again(self, run: _Run, failure: NodeUnreachable) -> list[Outcome] | None:
        """After a first trip that was lost: how the work goes, or None if it was never started."""
        if self.reconnect_seconds <= 0:
            raise failure
        outcomes = self._trip(run, (self._watch(run), *run.after))
        return None if outcomes[0].rc == unit_script.NEVER_RAN else outcomes

    def _tell(self, run: _Run, text: str) -> None:
        elapsed = f"{self.clock() - run.began:.0f} s"
        sentence = progress_sentence(text) or self._last
        self._last = sentence
        self.notify(f"{sentence}, {elapsed}" if sentence else f"still staging after {elapsed}")

    def _left(self, run: _Run) -> float:
        return run.work.timeout - (self.clock() - run.began)

    # ends

    def _harvest(self, run: _Run, watch: Outcome, after: tuple[Outcome, ...], late: bool = False) -> LongOutcome:
        header, _empty, stdout = watch.stdout.partition("\n\n")
        word, *numbers = header.split()
        if word == "gone" or (word == "ended" and numbers[0] == "0"):  # 0: its main process never ended, nor began
            command = Outcome(run.work.argv, None, stdout, watch.stderr)
            return self._outcome(run, command, after=after, vanished=True)
        code, status, result = int(numbers[0]), int(numbers[1]), numbers[2]
        stopped = word == "stopped"
        rc = 128 + (2 if run.work.signal == "INT" else 15) if stopped else status if code == _EXITED else 128 + status
        timed_out = (stopped and late) or result == "timeout"
        command = Outcome(run.work.argv, rc, stdout, watch.stderr, timed_out)
        return self._outcome(run, command, after=after, stopped=stopped and not late)

    def _stop_late(self, run: _Run) -> LongOutcome:
        """The deadline is over. The state is read behind it, since a command that failed can have staged something."""
        self.notify(f"stops {run.work.unit}: {run.work.timeout} s are over")
        stopped, *after = self._trip(run, (self._stop(run.work, run.token), *run.after))
        if not stopped.ok:
            raise LongWorkFailed(
                f"`{' '.join(run.work.argv)}` did not end in {run.work.timeout} s, nor when it was stopped "
                f"({stopped.stderr.strip() or 'no answer'}). See `systemctl status {run.work.unit}` on the node."
            )
        return self._harvest(run, stopped, tuple(after), late=True)

    def _vanished(self, run: _Run) -> LongOutcome:
        after = self._trip(run, run.after) if run.after else []
        return self._outcome(run, Outcome(run.work.argv, None), after=tuple(after), vanished=True)

    def _directly(self, run: _Run) -> LongOutcome:
        """In the batch itself, on a node where no systemd runs: a lost connection may then end it."""
        step = Step(run.work.argv, timeout=run.work.timeout, signal=run.work.signal)
        command, *after = self.runner.run((step, *run.after))
        return self._outcome(run, command, after=tuple(after), direct=True)

    def _outcome(
        self,
        run: _Run,
        command: Outcome,
        *,
        after: tuple[Outcome, ...] = (),
        gated: bool = False,
        stopped: bool = False,
        vanished: bool = False,
        direct: bool = False,
    ) -> LongOutcome:
        return LongOutcome(
            command=command,
            before=run.before,
            after=after,
            seconds=self.clock() - run.began,
            gated=gated,
            adopted=run.adopted,
            superseded=run.superseded,
            stopped=stopped,
            vanished=vanished,
            direct=direct,
        )

    def _note_start(self, run: _Run, begun: Outcome) -> None:
        word, token = begun.stdout.split()
        if word == "adopted":
            run.adopted, run.token = True, token
            self.notify(f"the same command already runs on this node as {run.work.unit}: waits for that")

    # steps

    def _start(self, run: _Run) -> Step:
        work = run.work
        directory = f"{self.runtime}/imagemode/{run.token}"
        settings = f"dir={quote([directory])}\ntell={int(tells_progress(work.argv))}\nset -- {quote(work.argv)}\n"
        arguments = (self.runtime, work.unit, run.token, work.fingerprint, work.tool, f"SIG{work.signal}")
        limits = (str(work.stop_seconds), str(work.timeout + _ABANDONED_SECONDS))
        return Step(
            ("sh", "-c", unit_script.START, "sh", *arguments, *limits, work.label),
            timeout=_START_SECONDS,
            input=(settings + unit_script.JOB).encode(),
            gate=True,
        )

    def _watch(self, run: _Run) -> Step:
        seconds = max(1, min(self.slice_seconds, int(self._left(run))))
        return Step(
            ("sh", "-c", unit_script.WATCH, "sh", self.runtime, run.work.unit, run.token, str(seconds)),
            timeout=seconds + _START_SECONDS,
            gate=True,
        )

    def _stop(self, work: Work, token: str) -> Step:
        return Step(
            ("sh", "-c", unit_script.STOP, "sh", self.runtime, work.unit, token),
            timeout=max(_STOP_SECONDS.values()) + 60,
            gate=True,
        )
