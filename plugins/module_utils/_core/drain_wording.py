# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drain says, while it goes on and when it fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_board import DrainBoard, Outcome, Track
from ansible_collections.imagemode.nodes.plugins.module_utils._core.drain_budget import Budget

_AT_MOST = 3


def who_is_left(board: DrainBoard, budgets: Sequence[Budget], now: float) -> str:
    """The pods in the way and why, the first three of each kind, such as
    `web/db-0 held by budget db (0 disruptions allowed, 2 of 2 healthy); stopping for 41 s: web/cache-1`."""
    by_outcome: dict[Outcome, list[Track]] = {}
    for track in board.left:
        by_outcome.setdefault(track.outcome, []).append(track)
    parts = []
    for track in by_outcome.get(Outcome.REFUSED, ())[:_AT_MOST]:
        parts.append(f"{track.pod.title}: {track.reason}")
    parts.extend(_held(by_outcome.get(Outcome.HELD, []), budgets))
    stopping = by_outcome.get(Outcome.STOPPING, [])
    if stopping:
        longest = max(now - track.since for track in stopping)
        parts.append(f"stopping for {longest:.0f} s: {_names(stopping)}")
    waiting = by_outcome.get(Outcome.WAITING, [])
    if waiting:
        reasons = sorted({track.reason for track in waiting if track.reason})
        parts.append(f"to be asked for: {_names(waiting)}" + (f" ({'; '.join(reasons[:1])})" if reasons else ""))
    return "; ".join(parts)


def progress(board: DrainBoard, budgets: Sequence[Budget], now: float) -> str:
    """`2 of 14 pods left, …`."""
    return f"{len(board.left)} of {board.moving} pods left, {who_is_left(board, budgets, now)}"


def counted(number: int, thing: str) -> str:
    """`1 pod`, `2 pods`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _held(tracks: Sequence[Track], budgets: Sequence[Budget]) -> list[str]:
    told = {(budget.namespace, budget.name): budget.told for budget in budgets}
    parts = []
    for track in tracks[:_AT_MOST]:
        names = [told.get((track.pod.namespace, name), f"budget {name}") for name in track.budgets]
        parts.append(f"{track.pod.title} held by {' and '.join(names) or 'a budget'}")
    return _with_rest(parts, len(tracks), lambda rest: f"{rest} more held")


def _names(tracks: Sequence[Track]) -> str:
    return ", ".join(
        _with_rest([track.pod.title for track in tracks[:_AT_MOST]], len(tracks), lambda rest: f"{rest} more")
    )


def _with_rest(parts: list[str], total: int, more: Callable[[int], str]) -> list[str]:
    return [*parts, more(total - _AT_MOST)] if total > _AT_MOST else parts
