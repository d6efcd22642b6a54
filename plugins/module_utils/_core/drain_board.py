# SPDX-License-Identifier: GPL-3.0-or-later
"""Where each pod of a node stands while the node is drained. Knows no clock and makes no call: its owner says what it saw
and when, and asks what is to be done."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_answer import Eviction, EvictionAnswer, pause
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_budget import Budget
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_pod import Pod
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_rules import (
    DrainRules,
    Fate,
    is_unconfirmed,
    rule,
)


class Outcome(enum.Enum):
    """What became of a pod, or how it stands. In the order in which people want to read them."""

    REFUSED = "refused"
    HELD = "held"
    WAITING = "waiting"
    STOPPING = "stopping"
    WOULD_EVICT = "would evict"
    UNCONFIRMED = "unconfirmed"
    DELETED = "deleted"
    EVICTED = "evicted"
    GONE = "gone"
    LEFT = "left"


_IN_THE_WAY = (Outcome.REFUSED, Outcome.HELD, Outcome.WAITING, Outcome.STOPPING)
# An API server that just started forbids what it allows once it has read its rules: 1, 2 and 4 s are waited for that.
_FORBIDDEN_FOR_GOOD = 4
_ORDER = {outcome: place for place, outcome in enumerate(Outcome)}


@dataclass
class Track:
    """One pod. Times are those of the owner's clock; `due` is when to ask next, `granted` says what was agreed to."""

    pod: Pod
    outcome: Outcome
    since: float
    reason: str = ""
    seconds: float | None = None
    tries: int = 0
    forbidden: int = 0
    due: float = 0.0
    asking: bool = False
    granted: Outcome | None = None
    budgets: list[str] = field(default_factory=list)

    @property
    def in_the_way(self) -> bool:
        """Whether the node is not empty because of it."""
        return self.outcome in _IN_THE_WAY

    def as_dict(self) -> dict[str, Any]:
        """For a task's result."""
        return {
            "namespace": self.pod.namespace,
            "name": self.pod.name,
            "kind": self.pod.kind.value,
            "outcome": self.outcome.value,
            "seconds": None if self.seconds is None else round(self.seconds, 1),
            "reason": self.reason,
            "budgets": list(self.budgets),
        }


class DrainBoard:
    """All pods that were on the node since the drain began."""

    def __init__(self, rules: DrainRules) -> None:
        self._rules = rules
        self._tracks: dict[str, Track] = {}
        self.forcing = False

    @property
    def tracks(self) -> list[Track]:
        """All of them, those in the way first."""
        return sorted(self._tracks.values(), key=lambda track: (_ORDER[track.outcome], track.pod.title))

    @property
    def left(self) -> list[Track]:
        """Those in the way."""
        return [track for track in self.tracks if track.in_the_way]

    @property
    def refused(self) -> list[Track]:
        """Those that this drain can never move."""
        return [track for track in self.tracks if track.outcome is Outcome.REFUSED]

    @property
    def moving(self) -> int:
        """How many pods had to go."""
        return sum(track.outcome is not Outcome.LEFT for track in self._tracks.values())

    @property
    def moved(self) -> list[Track]:
        """Those that are gone."""
        return [track for track in self._tracks.values() if track.seconds is not None]

    @property
    def touched(self) -> bool:
        """Whether any pod was told to go by this drain."""
        return any(track.granted for track in self._tracks.values())

    def look(self, pods: Iterable[Pod], node_ready: bool, now: float, wall: float) -> None:
        """Take in the pods that are on the node. `now` is the owner's clock, `wall` seconds since 1970."""
        seen = {pod.uid: pod for pod in pods}
        for uid, pod in seen.items():
            self._see(uid, pod, node_ready, now, wall)
        for uid, track in self._tracks.items():
            if uid not in seen and track.in_the_way:
                self._end(track, track.granted or Outcome.GONE, now)

    def has_new(self, pods: Iterable[Pod]) -> bool:
        """Whether there are pods that were not seen before and have to go."""
        return any(pod.uid not in self._tracks and rule(pod, self._rules).fate is Fate.EVICT for pod in pods)

    def refuse(self, uid: str, reason: str) -> None:
        """This drain can never move the pod."""
        self._tracks[uid].outcome = Outcome.REFUSED
        self._tracks[uid].reason = reason

    def due(self, now: float) -> list[Track]:
        """Those to ask for now. They count as being asked for until `answered`."""
        found = [
            track
            for track in self.tracks
            if track.outcome in (Outcome.WAITING, Outcome.HELD)
            and not track.asking
            and not track.granted
            and track.due <= now
        ]
        for track in found:
            track.asking = True
            if track.tries == 0:
                track.since = now
        return found

    def answered(self, track: Track, answer: EvictionAnswer, now: float, chance: float = 0.5) -> None:
        """Take in the answer to an eviction, or to a deletion while forcing. `chance`: see `pause`."""
        track.asking = False
        track.tries += 1
        if answer.budget and answer.budget not in track.budgets:
            track.budgets.append(answer.budget)
        if answer.kind is Eviction.GRANTED:
            track.granted = Outcome.DELETED if self.forcing else Outcome.EVICTED
            track.outcome, track.reason = Outcome.STOPPING, "it was told to stop"
            return
        track.reason = answer.reason
        track.forbidden = track.forbidden + 1 if answer.kind is Eviction.FORBIDDEN else 0
        if answer.kind is Eviction.GONE:
            self._end(track, Outcome.GONE, now)
        elif answer.kind is Eviction.REFUSED or track.forbidden == _FORBIDDEN_FOR_GOOD:
            track.outcome = Outcome.REFUSED
        else:
            track.outcome = Outcome.HELD if answer.kind is Eviction.HELD else Outcome.WAITING
            track.due = now + pause(track.forbidden or track.tries, answer.wait, chance)

    def predicted(self, track: Track, answer: EvictionAnswer, now: float) -> None:
        """The same for an eviction that the server only tried."""
        self.answered(track, answer, now)
        if answer.kind is Eviction.FORBIDDEN:
            track.outcome = Outcome.REFUSED
        if track.granted:
            track.granted, track.outcome, track.reason = None, Outcome.WOULD_EVICT, ""

    def begin_force(self) -> None:
        """From now on pods are deleted; those that were held are due at once."""
        self.forcing = True
        for track in self._tracks.values():
            track.due = 0.0

    def name_budgets(self, budgets: Sequence[Budget]) -> None:
        """Say of held pods which budgets select them, where the server did not name it."""
        for track in self._tracks.values():
            if track.outcome is Outcome.HELD and not track.budgets:
                track.budgets.extend(sorted(budget.name for budget in budgets if budget.covers(track.pod)))

    def held_by(self) -> dict[tuple[str, str], list[str]]:
        """By namespace and name of every budget that held a pod, the titles of those pods."""
        found: dict[tuple[str, str], list[str]] = {}
        for track in self.tracks:
            for name in track.budgets:
                found.setdefault((track.pod.namespace, name), []).append(track.pod.title)
        return found

    def _see(self, uid: str, pod: Pod, node_ready: bool, now: float, wall: float) -> None:
        ruling = rule(pod, self._rules)
        track = self._tracks.get(uid)
        if track is None:
            track = self._tracks[uid] = Track(pod, _FIRST[ruling.fate], now, ruling.reason)
        elif track.outcome is Outcome.GONE:
            # A server that just started, or one that lags behind, did not know it.
            track.outcome, track.seconds = _FIRST[ruling.fate], None
        elif ruling.fate is Fate.LEAVE and track.in_the_way:
            # It came to its end meanwhile: a job's pod, say. `seconds` stays empty, for it is not gone.
            track.outcome, track.reason = Outcome.LEFT, ruling.reason
        elif ruling.fate is Fate.WAIT and track.outcome in (Outcome.WAITING, Outcome.HELD):
            track.outcome, track.reason = Outcome.STOPPING, "somebody else told it to stop"
        if track.outcome is Outcome.STOPPING and is_unconfirmed(pod, node_ready, wall):
            self._end(track, Outcome.UNCONFIRMED, now)
            track.reason = "the node does not answer the cluster, so nobody can say whether it has stopped"

    @staticmethod
    def _end(track: Track, outcome: Outcome, now: float) -> None:
        track.outcome, track.reason, track.seconds = outcome, "", max(0.0, now - track.since)


_FIRST: dict[Fate, Outcome] = {
    Fate.LEAVE: Outcome.LEFT,
    Fate.WAIT: Outcome.STOPPING,
    Fate.EVICT: Outcome.WAITING,
    Fate.REFUSE: Outcome.REFUSED,
}
