# SPDX-License-Identifier: GPL-3.0-or-later
"""The health gate: trips to the node until all checks are right for long enough, one can never be, or the deadline is over.

The node loops by itself for up to a minute at a time (`health_script`), so a node that is healthy soon costs one trip. What it
cannot judge, JSON in an answer and the cluster's view, is judged between two trips by those who are given here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.health_answer import (
    Answer,
    AnswerNotUnderstood,
    Finding,
    Verdict,
    Why,
    cut,
    parse_answer,
    told,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.health_checks import Check, Http
from ansible_collections.imagemode.nodes.plugins.module_utils._host.failure import HostFailure
from ansible_collections.imagemode.nodes.plugins.module_utils._host.health_options import HealthWish
from ansible_collections.imagemode.nodes.plugins.module_utils._host.health_script import Memory, Trip, health_script
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import (
    NodeUnreachable,
    Runner,
    ShellFailed,
    Step,
)

_SLICE_SECONDS = 60
_BESIDE_SECONDS = 20  # what has to stay right is asked for this often where it is not the node that is asked
_LOOSE_SECONDS = 20  # what killing a program that hangs may take, and the way there
_NAP_SECONDS = 2
_RECONNECT_SECONDS = 3.0
_ASK_AGAIN_SECONDS = 5.0
_TELL_SECONDS = 30.0
_KEPT_SUMS = 8
_NAMED_CHECKS = 3

Opinion = tuple[bool, str]
"""Whether it is right, and in one line what was found."""


@dataclass(frozen=True)
class Standing:
    """One check as it stands. `since` in seconds after the start; `hopeless` if it can never be right."""

    ok: bool
    told: str
    since: float | None = None
    hopeless: bool = False


@dataclass
class HealthGate:
    """One wait for one node. `judge` says what a body is worth, `cluster` whether the cluster calls the node ready."""

    runner: Runner
    wish: HealthWish
    judge: Callable[[Http, bytes], Opinion] = lambda _check, _body: (False, "nobody looks into answers here")
    cluster: Callable[[], Opinion] = lambda: (False, "nobody asks a cluster here")
    reconnect: Callable[[], None] = lambda: None
    notify: Callable[[str], None] = lambda _sentence: None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    slice_seconds: int = _SLICE_SECONDS
    _memory: Memory = field(default_factory=Memory, init=False)
    _standing: dict[int, Standing] = field(default_factory=dict, init=False)
    _opinions: dict[tuple[int, str], Opinion] = field(default_factory=dict, init=False)
    _boot_id: str | None = field(default=None, init=False)
    _offset: float = field(default=0.0, init=False)
    _ready_since: float | None = field(default=None, init=False)
    _lost: str | None = field(default=None, init=False)
    _unreachable: bool = field(default=False, init=False)
    _told_at: float | None = field(default=None, init=False)
    _began: float = field(default=0.0, init=False)

    def run(self, *, check_mode: bool = False) -> dict[str, Any]:
        """Wait, or in check mode look once. The result of a healthy node; raises HostFailure, with the same, for another."""
        self._began = self.clock()
        if not self.wish.checks:
            return self._result(healthy=True)
        why = self._wait(once=check_mode)
        healthy = why is None
        result = self._result(healthy=healthy)
        if healthy:
            return result
        if self._unreachable:
            result["unreachable_host"] = True
        raise HostFailure(f"{why} {self._complaint()}", result)

    def _wait(self, *, once: bool) -> str | None:
        """Why the node is not healthy, in a sentence; None if it is."""
        nap = 0
        while True:
            left = 0.0 if once else self.wish.deadline - self._passed()
            answer = self._trip(left, nap, once=once)
            if answer is None:
                if once or self._passed() >= self.wish.deadline:
                    return "The node could not be looked at."
                self.sleep(min(_RECONNECT_SECONDS, max(0.0, self.wish.deadline - self._passed())))
                self.reconnect()
                nap = 0
                continue
            if answer.why is Why.BOOT:
                return self._other_boot(answer.boot_id)
            ready = self._ask_cluster()
            if self._all_right(answer) and ready:
                if once or self._stable(answer) >= self.wish.stable_for:
                    return None
            elif answer.why is Why.NEVER:
                return "The node cannot become healthy: one of its checks can never be right."
            if once:
                return "The node is not healthy."
            if self._passed() >= self.wish.deadline:
                return f"The node did not become healthy within the {self.wish.deadline:.0f} s of the deadline."
            self._tell(answer)
            nap = self._pause(answer, ready=ready)

    # one trip

    def _trip(self, left: float, nap: int, *, once: bool) -> Answer | None:
        """One round trip of at most `left` seconds, and what stands after it; None if the connection failed."""
        longest = max(check.patience for check in self.wish.checks)
        seconds = 0 if once else max(1, math.ceil(min(left, self._slice())))
        nap = min(nap, seconds)
        stable_for = 0 if once else math.ceil(self.wish.stable_for)
        trip = Trip(seconds - nap, longest if once else max(1, math.ceil(left) - nap), stable_for, nap)
        script = health_script(self.wish.checks, self._memory, trip, self._boot_id or self.wish.boot_id)
        step = Step(("sh", "-s"), timeout=seconds + longest + _LOOSE_SECONDS, input=script.encode())
        started = self._passed()
        try:
            outcome = self.runner.run_one(step)
            if outcome.timed_out:
                raise ShellFailed("The loop that looks at the node's health did not end in time.")
            answer = parse_answer(outcome.stdout or outcome.stderr)
        except (NodeUnreachable, ShellFailed, AnswerNotUnderstood) as failure:
            self._lose(str(failure))
            self._unreachable = isinstance(failure, NodeUnreachable)
            return None
        self._lost, self._unreachable = None, False
        if answer.why is not Why.BOOT:
            if self._memory.first is None:
                self._offset = started
            self._boot_id = answer.boot_id
            self._remember(answer)
        return answer

    def _slice(self) -> int:
        beside = self.wish.stable_for > 0 and any(not check.on_node for check in self.wish.checks)
        return min(self.slice_seconds, _BESIDE_SECONDS) if beside else self.slice_seconds

    def _lose(self, why: str) -> None:
        """Nobody looked in the meantime: what was right so far has to be so from then on."""
        if self._lost is None:
            self.notify(f"lost the node while its health was looked at ({why.rstrip('.')}); tries again")
        self._lost = why
        self._memory = Memory(self._memory.first, good=self._memory.good, bad=self._memory.bad)
        self._standing = {}

    def _remember(self, answer: Answer) -> None:
        """Judge what the node could not, and keep what the next trip has to know."""
        good = {number: list(sums) for number, sums in self._memory.good.items()}
        bad = {number: list(sums) for number, sums in self._memory.bad.items()}
        since: dict[int, int] = {}
        for number, finding in answer.findings.items():
            check = self.wish.checks[number]
            standing = self._judged(number, check, finding, answer)
            if finding.verdict is Verdict.ASK:
                sums = (good if standing.ok else bad).setdefault(number, [])
                sums.append(finding.fact("sum"))
                del sums[:-_KEPT_SUMS]
            if standing.ok and finding.since is not None:
                since[number] = finding.since
            self._standing[number] = standing
        all_right = all(self._standing[number].ok for number in answer.findings)
        self._memory = Memory(
            answer.first,
            answer.well if all_right else None,
            answer.lost,
            since,
            {number: finding.identity for number, finding in answer.findings.items() if number in since},
            good,
            bad,
        )

    def _judged(self, number: int, check: Check, finding: Finding, answer: Answer) -> Standing:
        ok, words = finding.verdict is Verdict.OK, told(check, finding)
        digest = finding.fact("sum")
        if isinstance(check, Http) and digest:
            if finding.verdict is Verdict.ASK:
                self._opinions[number, digest] = self.judge(check, finding.body)
            ok, opinion = self._opinions.get((number, digest), (ok, ""))
            words = cut(f"{words}, {opinion}" if opinion else words, 300)
        since = None
        if ok and finding.since is not None:
            since = round(self._offset + max(0, finding.since - answer.first) / 100, 1)
        return Standing(ok, words, since, finding.verdict is Verdict.NEVER)

    # those who are asked beside the node

    def _ask_cluster(self) -> bool:
        """Whether the cluster agrees, where it has a say."""
        agreed = True
        for number, check in enumerate(self.wish.checks):
            if check.on_node:
                continue
            ok, words = self.cluster()
            self._ready_since = (self._ready_since or self._passed()) if ok else None
            since = round(self._ready_since, 1) if self._ready_since is not None else None
            self._standing[number] = Standing(ok, cut(words, 300), since)
            agreed = agreed and ok
        return agreed

    def _all_right(self, answer: Answer) -> bool:
        return all(self._standing[number].ok for number in answer.findings)

    def _stable(self, answer: Answer) -> float:
        """Seconds for which all has been right."""
        on_node = (answer.now - answer.well) / 100 if answer.well is not None else 0.0
        beside = self._passed() - self._ready_since if self._ready_since is not None else None
        if not answer.findings:
            return beside or 0.0
        return on_node if beside is None else min(on_node, beside)

    def _pause(self, answer: Answer, *, ready: bool) -> int:
        """Seconds that the node shall wait before its next look. Waits here for the cluster, where only that is missing."""
        if ready or not self._all_right(answer):
            return _NAP_SECONDS if answer.why is Why.ASK else 0
        while (left := self.wish.deadline - self._passed()) > 0:
            self.sleep(min(_ASK_AGAIN_SECONDS, left))
            if self._ask_cluster():
                break
            self._tell(answer)
        return 0

    # words

    def _passed(self) -> float:
        return self.clock() - self._began

    def _other_boot(self, boot_id: str) -> str:
        wanted = self._boot_id or self.wish.boot_id
        self._boot_id = boot_id
        return (
            f"The node was started anew: it runs boot {boot_id}, and the boot that was to be healthy is {wanted}. A watchdog, a person, "
            "or greenboot did that, and it may be back on its previous deployment. See `journalctl --list-boots` on the node."
        )

    def _tell(self, answer: Answer) -> None:
        """A line for whoever waits, twice a minute at most."""
        if self._told_at is not None and self.clock() - self._told_at < _TELL_SECONDS:
            return
        self._told_at = self.clock()
        left = max(0.0, self.wish.deadline - self._passed())
        wrong = [standing for standing in self._standing.values() if not standing.ok]
        if wrong:
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            self.notify(f"waits for its health: {wrong[0].told}{more}; {left:.0f} s left")
        elif self.wish.stable_for:
            self.notify(f"is healthy, and has to stay so for {self.wish.stable_for - self._stable(answer):.0f} s more")

    def _complaint(self) -> str:
        """What is wrong, check by check, those that can never be right first."""
        if self._lost is not None and not self._standing:
            return self._lost
        wrong = [
            (standing.hopeless, check, standing)
            for number, check in enumerate(self.wish.checks)
            for standing in [self._standing.get(number, Standing(ok=False, told="was not looked at"))]
            if not standing.ok
        ]
        if not wrong:
            return f"All is right, but not for the {self.wish.stable_for:.0f} s of stable_for."
        wrong.sort(key=lambda entry: not entry[0])
        sentences = [
            f"{standing.told}." if standing.told.startswith(check.name) else f"{check.name}: {standing.told}."
            for _hopeless, check, standing in wrong[:_NAMED_CHECKS]
        ]
        if len(wrong) > _NAMED_CHECKS:
            sentences.append(f"{len(wrong) - _NAMED_CHECKS} more are not right.")
        return " ".join(sentences)

    def _result(self, *, healthy: bool) -> dict[str, Any]:
        checks = []
        for number, check in enumerate(self.wish.checks):
            standing = self._standing.get(number, Standing(ok=False, told="was not looked at"))
            checks.append(
                {
                    "name": check.name,
                    "kind": check.kind.value,
                    "ok": standing.ok,
                    "seconds": standing.since,
                    "told": standing.told,
                }
            )
        return {"changed": False, "healthy": healthy, "checks": checks, "boot_id": self._boot_id}
