# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be true after a rollout was struck and run again, from the journals of its nodes and not from its own words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from lab.ledger import Booted

from crash.case import Case, Strike
from crash.course import WINDOW, Course
from crash.fleet import Ended, Fleet, Images

ORDERLY = ("reboot", "soft-reboot", "poweroff")


def faults_of(case: Case | None, course: Course, fleet: Fleet, images: Images, again: Ended) -> list[str]:
    """Every rule that was broken, in words; empty if all is well. ``case``: None for a run that was not struck."""
    found = list(_arrived(course, fleet, images, again))
    found += _rebooted(case, course, fleet)
    if (most := _most_out_of_service(fleet)) > WINDOW:
        found.append(f"{most} nodes were out of service at once, and the window is {WINDOW}")
    states = {name: slot["state"] for name, slot in fleet.stored.items()}
    expected = dict.fromkeys(course.cordoned, "away") if course.arrives else dict.fromkeys(states, "kept")
    left = {name: state for name, state in states.items() if state != expected.get(name)}
    if left:
        found.append(f"the store still has {left}")
    found += _hooks_balance(fleet)
    found += _rebooted_in_service(course, fleet)
    if fleet.pool is not None:
        found += fleet.pool.faults()
    return found


def _arrived(course: Course, fleet: Fleet, images: Images, again: Ended) -> Iterator[str]:
    if (again.rc == 0) != course.arrives:
        yield f"the last run exited {again.rc}"
    if "Traceback" in again.output:
        yield "the last run showed a traceback"
    for name, node in fleet.nodes.items():
        if not node.is_up():
            yield f"{name} is off"
        arrived = Booted.of(node.directory).digest == images.new_digest
        if arrived != course.arrives:
            yield f"{name} runs the {'new' if arrived else 'old'} image"
    if not course.arrives and images.new_digest not in fleet.document:
        yield "the image is not denied in the store"


def _rebooted(case: Case | None, course: Course, fleet: Fleet) -> Iterator[str]:
    """One change is one reboot. A reboot that the cut robbed of what was staged has changed nothing, and is not counted."""
    for name, node in fleet.nodes.items():
        downs = [entry for entry in node.journal.read("shutdown") if entry["kind"] in ORDERLY]
        useful = [entry for entry in downs if entry["finalized"]]
        if course.arrives and len(useful) != 1:
            yield f"{name} rebooted {len(useful)} times into a change, and there is one"
        idle = len(downs) - len(useful)
        if course.arrives and idle > (1 if case and case.strike is Strike.POWER and case.moment.node == name else 0):
            yield f"{name} rebooted {idle} times without a change"
        if not course.arrives and len(downs) not in (0, 2):
            yield f"{name} rebooted {len(downs)} times: to the new image and back are two"


def _out_of_service(fleet: Fleet) -> Iterator[tuple[float, int, str]]:
    """Moments at which a node went (+1) or came back (-1), as the nodes and the hooks noted them."""
    for name, node in fleet.nodes.items():
        down = False
        for entry in sorted(node.journal.read(), key=lambda entry: float(entry["t"])):
            if entry["event"] == "shutdown" and entry["kind"] in ORDERLY and not down:
                down = True
                yield float(entry["t"]), +1, name
            elif entry["event"] in ("boot", "soft-boot") and down:
                down = False
                yield float(entry["t"]), -1, name


def _hooked(fleet: Fleet) -> list[tuple[float, str, str]]:
    lines = fleet.hooked.read_text().splitlines() if fleet.hooked.exists() else []
    return [(float(moment), what, name) for moment, what, name in (line.split() for line in lines)]


def _drains(fleet: Fleet) -> list[tuple[float, bool, str]]:
    """When a node was taken out of service (True) and put back (False), by a hook or a cordon; first, what others did before."""
    found = [(moment, what == "before", name) for moment, what, name in _hooked(fleet)]
    if fleet.pool is not None:
        found += [(0.0, True, name) for name in sorted(fleet.pool.cordoned)]
        found += fleet.pool.cordons()
    return sorted(found)


def _most_out_of_service(fleet: Fleet) -> int:
    down: set[str] = set()
    drained: set[str] = set()
    moments: list[tuple[float, Any]] = [(t, (down, step > 0, name)) for t, step, name in _out_of_service(fleet)]
    moments += [(t, (drained, goes, name)) for t, goes, name in _drains(fleet)]
    most = 0
    for _moment, (kind, goes, name) in sorted(moments, key=lambda found: found[0]):
        (kind.add if goes else kind.discard)(name)
        most = max(most, len(down | drained))
    return most


def _rebooted_in_service(course: Course, fleet: Fleet) -> Iterator[str]:
    """A node that is drained at all is drained whenever it is rebooted."""
    if not (course.hooks or course.cluster):
        return
    drains = _drains(fleet)
    for name, node in fleet.nodes.items():
        for entry in node.journal.read("shutdown"):
            before = [goes for moment, goes, drained in drains if drained == name and moment < float(entry["t"])]
            if entry["kind"] in ORDERLY and not (before and before[-1]):
                yield f"{name} was rebooted while it was in service"


def _hooks_balance(fleet: Fleet) -> Iterable[str]:
    last = {name: what for _moment, what, name in sorted(_hooked(fleet))}
    return [f"{name} is left drained by its hook" for name, what in sorted(last.items()) if what == "before"]
