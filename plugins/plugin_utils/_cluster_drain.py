# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Moving the pods of a node elsewhere: evictions side by side, under one deadline. Private to this collection."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_answer import (
    Eviction,
    EvictionAnswer,
    pause,
    read_answer,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_board import DrainBoard, Outcome, Track
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_budget import Budget, parse_budget
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_pod import Pod, parse_pod
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_rules import DrainRules, refusals
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_wording import counted, progress
from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster import (
    Cluster,
    ClusterError,
    ClusterRefused,
    segment,
)
from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster_node import cordon, read_node
from ansible_collections.imagemode.nodes.plugins.plugin_utils._cluster_patience import (
    FORBIDDEN_AT_MOST,
    SPEAK_EVERY,
    Patience,
)

_BUDGETS = "/apis/policy/v1/poddisruptionbudgets"
# Between two looks at the pods: short at first, for most of them stop at once.
_LOOK_SOONEST, _LOOK_LATEST = 0.5, 3.0
_AFTER_FORCE = 60.0


class DrainFailed(Exception):
    """Pods are left on the node. The message says which, why, and what to do."""


class Drain:
    """One drain of one node. `board` is where every pod stands, at any time, also after a failure."""

    def __init__(
        self, cluster: Cluster, node: str, pool: str, rules: DrainRules, patience: Patience, parallel: int
    ) -> None:
        self._cluster = cluster
        self._node = node
        self._pool = pool
        self._rules = rules
        self._patience = patience
        self._parallel = parallel
        self._began = time.monotonic()
        self._ready = True
        self.board = DrainBoard(rules)
        self.budgets: list[Budget] = []
        self._trouble = ""
        self._told: set[tuple[str, ...]] = {("", "")}
        self._tries = 0
        self._answered = self._began
        self._looked = float("-inf")
        self._not_before = float("-inf")

    def survey(self, node_ready: bool) -> list[Pod]:
        """Look at pods and budgets before anything is moved; returns the pods. Raises DrainFailed if some can never go."""
        self._ready = node_ready
        pods = self._patience.calling(self._pods)
        self.budgets = self._patience.calling(self._read_budgets)
        self.board.look(pods, node_ready, time.monotonic(), time.time())
        for uid, reason in refusals(pods, self._rules, self.budgets).items():
            self.board.refuse(uid, reason)
        self._fail_if_refused("nothing was moved")
        return pods

    def predict(self) -> None:
        """Let the server try every eviction once, without doing it."""
        due = self.board.due(time.monotonic())
        with ThreadPoolExecutor(max_workers=self._parallel) as threads:
            answers = list(threads.map(lambda track: self._evict(track, True), due))
        for track, answer in zip(due, answers):
            self.board.predicted(track, answer, time.monotonic())
        self.board.name_budgets(self.budgets)
        self._fail_if_refused("nothing was moved")

    def run(self) -> None:
        """Move the pods, and return when they are gone and the node is still cordoned. Raises DrainFailed at the deadline,
        or ClusterError if the cluster refuses."""
        if self.board.left:
            self._tell("begin", f"{counted(len(self.board.left), 'pod')} to move")
        while True:
            self._empty()
            if self._patience.calling(self._still_cordoned, renewed=True):
                return
            self._looked = float("-inf")

    def _still_cordoned(self) -> bool:
        """Cordon the node again if somebody lifted that; returns whether it was cordoned all the time."""
        node = read_node(self._cluster, self._node)
        if node.cordoned:
            return True
        cordon(self._cluster, node, self._pool)
        self._tell("uncordoned", "somebody lifted its cordon during the drain; it is cordoned again")
        return False

    def _empty(self) -> None:
        with ThreadPoolExecutor(max_workers=self._parallel) as threads:
            asking: dict[Future[EvictionAnswer], Track] = {}
            try:
                while not self._is_empty(asking):
                    self._step(threads, asking)
            finally:
                for future in asking:
                    future.cancel()

    def _is_empty(self, asking: dict[Future[EvictionAnswer], Track]) -> bool:
        """Whether the node was seen without pods in the way, after the cordon."""
        return self._looked > self._began and not asking and not self.board.left

    def _step(self, threads: ThreadPoolExecutor, asking: dict[Future[EvictionAnswer], Track]) -> None:
        now = time.monotonic()
        self._patience.interrupt()
        if now >= self._patience.end:
            self._at_the_deadline(now)
        if now >= self._next_look:
            self._look()
        for track in self.board.due(now):
            asking[threads.submit(self._evict, track, False)] = track
        done, _rest = wait(asking, timeout=self._until_next(), return_when=FIRST_COMPLETED) if asking else ((), ())
        for future in done:
            chance = random.random()  # noqa: S311 # spreads load, hides nothing
            self.board.answered(asking.pop(future), future.result(), time.monotonic(), chance)
        if not asking and self.board.left:
            self._patience.sleep(self._until_next())
        self._fail_if_refused("the others were asked to go")
        self._speak()

    @property
    def _next_look(self) -> float:
        if self._looked == float("-inf"):
            return self._not_before
        spent = self._looked - self._began
        return max(self._not_before, self._looked + min(_LOOK_LATEST, max(_LOOK_SOONEST, spent / 5)))

    def _until_next(self) -> float:
        """Seconds until there is something to do."""
        now = time.monotonic()
        dues = [track.due for track in self.board.left if not track.asking and not track.granted and track.due > now]
        return max(0.01, min([self._next_look, self._patience.end, *dues]) - now)

    def _look(self) -> None:
        try:
            pods = self._pods()
            # New pods on a cordoned node are rare. Without its cordon the same pods would come back for ever.
            if self._looked > self._began and self.board.has_new(pods):
                self._still_cordoned()
            self._trouble, self._tries, self._answered = "", 0, time.monotonic()
        except ClusterError as error:
            is_forbidden = isinstance(error, ClusterRefused) and error.status == 403
            if is_forbidden and time.monotonic() - self._answered > FORBIDDEN_AT_MOST + _LOOK_LATEST:
                raise
            if not is_forbidden:
                self._answered = time.monotonic()
            self._trouble = str(error)
            self._tries += 1
            chance = random.random()  # noqa: S311 # spreads load, hides nothing
            self._not_before = time.monotonic() + pause(self._tries, None, chance)
            return
        self._looked = time.monotonic()
        self.board.look(pods, self._ready, self._looked, time.time())

    def _at_the_deadline(self, now: float) -> None:
        if not self._rules.force or self.board.forcing:
            never = [
                f"budget {budget.name} never lets a pod go: {budget.never}"
                for budget in self.budgets
                if budget.never and any(budget.covers(track.pod) for track in self.board.left)
            ]
            trouble = [self._trouble] if self._trouble else []
            raise DrainFailed(
                "; ".join([f"{progress(self.board, self.budgets, now)} at the deadline", *never, *trouble])
            )
        grace = max((self._grace_of(track.pod) for track in self.board.left), default=0.0)
        self._patience.end = now + grace + _AFTER_FORCE
        self._tell("force", f"the deadline is over: deleting {counted(len(self.board.left), 'pod')}, as force says")
        self.board.begin_force()

    def _grace_of(self, pod: Pod) -> float:
        return pod.grace if self._rules.grace is None else float(self._rules.grace)

    def _evict(self, track: Track, dry: bool) -> EvictionAnswer:
        """Ask for one pod; in a thread of its own. Trouble with the cluster is an answer as well."""
        pod = track.pod
        path = f"/api/v1/namespaces/{segment(pod.namespace)}/pods/{segment(pod.name)}"
        options: dict[str, Any] = {"preconditions": {"uid": pod.uid}}
        if self._rules.grace is not None:
            options["gracePeriodSeconds"] = self._rules.grace
        if dry:
            options["dryRun"] = ["All"]
        try:
            if self.board.forcing:
                body = {"kind": "DeleteOptions", "apiVersion": "v1", **options}
                return read_answer(self._cluster.request("DELETE", path, body), "delete pods")
            body = {
                "kind": "Eviction",
                "apiVersion": "policy/v1",
                "metadata": {"name": pod.name, "namespace": pod.namespace},
                "deleteOptions": options,
            }
            return read_answer(self._cluster.request("POST", f"{path}/eviction", body))
        except ClusterError as error:
            return EvictionAnswer(Eviction.LATER, str(error))

    def _pods(self) -> list[Pod]:
        query = {"fieldSelector": f"spec.nodeName={self._node}"}
        return [parse_pod(item) for item in self._cluster.listed("/api/v1/pods", query)]

    def _read_budgets(self) -> list[Budget]:
        return [parse_budget(item) for item in self._cluster.listed(_BUDGETS)]

    def _fail_if_refused(self, state: str) -> None:
        refused = self.board.refused
        if refused:
            told = "; ".join(f"{track.pod.title}: {track.reason}" for track in refused[:5])
            rest = f"; and {len(refused) - 5} more" if len(refused) > 5 else ""
            raise DrainFailed(f"{counted(len(refused), 'pod')} cannot be moved, {state}: {told}{rest}")

    def _speak(self) -> None:
        if not self.board.left:
            return
        held = {(track.pod.namespace, *track.budgets) for track in self.board.left if track.outcome is Outcome.HELD}
        self._told |= held | {("", self._trouble[:20])}
        now = time.monotonic()
        if not held and not self._trouble and now - self._began < SPEAK_EVERY:
            return
        # A budget that holds one pod after the other is new only once.
        self._patience.voice.tell(len(self._told), lambda: self._line(now))

    def _line(self, now: float) -> str:
        try:
            self.budgets = self._read_budgets()
        except ClusterError as error:
            self._trouble = str(error)
        self.board.name_budgets(self.budgets)
        line = f"{self._node} drains: {progress(self.board, self.budgets, now)}"
        return line + (f"; {self._trouble}" if self._trouble else "")

    def _tell(self, key: str, line: str) -> None:
        self._patience.voice.tell(key, lambda: f"{self._node} drains: {line}")


def held_budgets(drain: Drain) -> Sequence[dict[str, Any]]:
    """Every budget that held a pod of the node, for a task's result."""
    known = {(budget.namespace, budget.name): budget for budget in drain.budgets}
    found = []
    for (namespace, name), titles in sorted(drain.board.held_by().items()):
        budget = known.get((namespace, name))
        found.append(
            {
                "namespace": namespace,
                "name": name,
                "allowed": budget.allowed if budget else None,
                "healthy": budget.healthy if budget else None,
                "wanted": budget.wanted if budget else None,
                "expected": budget.expected if budget else None,
                "pods": titles,
            }
        )
    return found
