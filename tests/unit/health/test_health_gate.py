# SPDX-License-Identifier: GPL-3.0-or-later
"""The health gate between its trips: what it remembers, whom it asks, and when it gives up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.health_checks import Http, parse_checks
from ansible_collections.imagemode.nodes.plugins.module_utils._host.failure import HostFailure
from ansible_collections.imagemode.nodes.plugins.module_utils._host.health import HealthGate
from ansible_collections.imagemode.nodes.plugins.module_utils._host.health_options import HealthWish, health_wish
from ansible_collections.imagemode.nodes.plugins.module_utils._host.options import InvalidOption
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import (
    NodeUnreachable,
    Outcome,
    Runner,
    ShellFailed,
    Step,
)

UNIT, URL, NODE = {"unit": "app"}, {"http": "http://localhost/", "json": "up"}, {"node": "ready"}
RUNS = "load=loaded active=active sub=running"
FAILED = "load=loaded active=failed sub=failed result=exit-code"


@dataclass
class Trip:
    """What one trip brings, and how long it takes. Times on the node's clock, which is the controller's and a thousand seconds."""

    why: str
    checks: Sequence[str] = ()
    seconds: float = 0.0
    well: float | None = None
    boot: str = "b1"
    fails: Exception | None = None


@dataclass
class ScriptedNode(Runner):
    """Plays trips; what the script was told is in `told`."""

    script: list[Trip]
    now: float = 0.0
    told: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def run(self, steps: Sequence[Step]) -> list[Outcome]:
        self.trips += 1
        (step,) = steps
        text = step.input.decode()
        self.told.append(dict(re.findall(r"^(\w+)='?([^'\n]*)'?$", text.split("LC_ALL", 1)[0], re.MULTILINE)))
        trip = self.script.pop(0)
        self.now += trip.seconds
        if trip.fails is not None:
            raise trip.fails
        return [Outcome(step.argv, 0, self._answer(trip))]

    def _answer(self, trip: Trip) -> str:
        if trip.why == "boot":
            return f"boot {trip.boot}\nwhy boot\n"
        first = self.told[-1]["first"] or self._clock(self.now - trip.seconds)
        well = "-" if trip.well is None else self._clock(trip.well)
        checks = "".join(f"check {line}\n" for line in trip.checks)
        head = f"boot {trip.boot}\nwhy {trip.why}\nfirst {first}\nnow {self._clock(self.now)}\nwell {well}\nlost -\n"
        return f"{head}{checks}end\n"

    @staticmethod
    def _clock(seconds: float) -> str:
        return str(int(100_000 + seconds * 100))

    def _execute(self, script: str, limit: int | None) -> tuple[int, str, str]:
        raise AssertionError("run is answered above")

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Seen:
    """What came of a wait."""

    result: dict[str, Any]
    message: str | None
    lines: list[str]


def wait(node: ScriptedNode, *checks: Any, check_mode: bool = False, ready: Sequence[bool] = (), **wish: Any) -> Seen:
    """`ready`: the cluster's answers, the last one for ever."""
    lines: list[str] = []
    answers = list(ready)

    def cluster() -> tuple[bool, str]:
        return (answers.pop(0) if len(answers) > 1 else answers[0]), "what the cluster says"

    def judge(_check: Http, body: bytes) -> tuple[bool, str]:
        return body == b"good", body.decode()

    wanted = HealthWish(parse_checks(list(checks)), **{"deadline": 100.0, **wish})
    gate = HealthGate(node, wanted, judge, cluster, notify=lines.append, clock=lambda: node.now, sleep=node.sleep)
    try:
        return Seen(gate.run(check_mode=check_mode), None, lines)
    except HostFailure as failure:
        return Seen(failure.result, str(failure), lines)


def at(seconds: float) -> str:
    return str(int(100_000 + seconds * 100))


def test_no_checks_cost_nothing() -> None:
    node = ScriptedNode([])
    assert wait(node).result == {"changed": False, "healthy": True, "checks": [], "boot_id": None}
    assert node.trips == 0


def test_each_minute_is_a_trip_that_knows_what_was() -> None:
    node = ScriptedNode(
        [
            Trip("time", [f"0 no - - {FAILED}", f"1 ok i1 {at(2)} {RUNS}"], seconds=60),
            Trip("well", [f"0 ok i0 {at(70)} {RUNS}", f"1 ok i1 {at(2)} {RUNS}"], seconds=15, well=70),
        ]
    )
    seen = wait(node, UNIT, {"unit": "other"})
    assert seen.message is None
    assert [check["seconds"] for check in seen.result["checks"]] == [70.0, 2.0]
    assert [told["slice"] for told in node.told] == ["60", "40"]
    assert (node.told[1]["since_1"], node.told[1]["id_1"], node.told[1]["since_0"]) == (at(2), "i1", "")
    assert node.told[1]["wanted_boot"] == "b1"
    assert seen.lines == [
        "waits for its health: app.service is failed (exit-code), wanted active. "
        "`journalctl -b -u app.service` on the node says more; 40 s left"
    ]


def test_a_body_is_judged_once() -> None:
    body = "Z29vZA=="
    node = ScriptedNode(
        [
            Trip("ask", [f"0 ask - {at(0)} code=200 sum=7-3\nbody 0 YmFk"]),
            Trip("ask", [f"0 ask - {at(9)} code=200 sum=8-4\nbody 0 {body}"], seconds=9, well=9),
        ]
    )
    seen = wait(node, URL)
    assert seen.message is None
    assert seen.result["checks"][0]["told"] == "answered 200, good"
    assert node.told[1]["nap"] == "2"


def test_what_was_judged_good_has_to_stay_so() -> None:
    node = ScriptedNode(
        [
            Trip("ask", [f"0 ask - {at(1)} code=200 sum=8-4\nbody 0 Z29vZA=="], seconds=1, well=1),
            Trip("well", [f"0 ok - {at(1)} code=200 sum=8-4"], seconds=20, well=1),
        ]
    )
    seen = wait(node, URL, stable_for=20.0)
    assert seen.message is None
    assert node.told[1]["well"] == at(1)
    assert seen.lines == ["is healthy, and has to stay so for 20 s more"]
    assert seen.result["checks"] == [
        {"name": "http http://localhost/", "kind": "http", "ok": True, "seconds": 1.0, "told": "answered 200, good"}
    ]


def test_the_cluster_is_asked_without_trips() -> None:
    node = ScriptedNode(
        [Trip("well", [f"0 ok i {at(0)} {RUNS}"], well=0), Trip("well", [f"0 ok i {at(0)} {RUNS}"], well=0)]
    )
    seen = wait(node, UNIT, NODE, ready=[False, False, False, True])
    assert seen.message is None
    assert node.trips == 2
    assert [check["seconds"] for check in seen.result["checks"]] == [0.0, 15.0]


def test_the_cluster_has_to_agree_for_as_long() -> None:
    well = [f"0 ok i {at(0)} {RUNS}"]
    node = ScriptedNode(
        [
            Trip("time", well, seconds=20, well=0),
            Trip("well", well, seconds=10, well=0),
            Trip("time", well, seconds=20, well=0),
            Trip("well", well, seconds=15, well=0),
            *(Trip("well", well, seconds=5, well=0) for _turn in range(4)),
        ]
    )
    seen = wait(node, UNIT, NODE, ready=[True, False, True], stable_for=30.0)
    assert seen.message is None
    assert {told["slice"] for told in node.told} <= {"20", *map(str, range(1, 20))}
    assert node.now >= 30 + 30


def test_the_cluster_never_agrees() -> None:
    node = ScriptedNode([Trip("well", [f"0 ok i {at(0)} {RUNS}"], well=0)] * 3)
    seen = wait(node, UNIT, NODE, ready=[False])
    assert seen.message == (
        "The node did not become healthy within the 100 s of the deadline. node: what the cluster says."
    )
    assert 100 <= node.now < 110
    assert len(seen.lines) == 4


def test_a_lost_connection_begins_the_time_anew() -> None:
    node = ScriptedNode(
        [
            Trip("time", [f"0 ok i {at(0)} {RUNS}"], seconds=60, well=0),
            Trip("", fails=NodeUnreachable("no route to host."), seconds=5),
            Trip("", fails=ShellFailed("System is going down."), seconds=5),
            Trip("well", [f"0 ok i {at(76)} {RUNS}"], seconds=65, well=76),
        ]
    )
    seen = wait(node, UNIT, stable_for=65.0, deadline=600.0)
    assert seen.message is None
    assert node.told[2]["well"] == node.told[2]["since_0"] == ""
    assert seen.lines[1] == "lost the node while its health was looked at (no route to host); tries again"
    assert len(seen.lines) == 2
    assert "unreachable_host" not in seen.result


def test_a_node_that_stays_away() -> None:
    node = ScriptedNode([Trip("", fails=NodeUnreachable("no route to host."), seconds=10)] * 12)
    seen = wait(node, UNIT)
    assert seen.message == "The node could not be looked at. no route to host."
    assert seen.result["unreachable_host"] is True
    assert seen.result["healthy"] is False
    assert 100 <= node.now < 115


def test_no_shell_is_not_an_unreachable_node() -> None:
    node = ScriptedNode([Trip("", fails=ShellFailed("sudo: a password is required"), seconds=50)] * 3)
    seen = wait(node, UNIT)
    assert seen.message == "The node could not be looked at. sudo: a password is required"
    assert "unreachable_host" not in seen.result


def test_a_reboot_in_the_middle_ends_it() -> None:
    node = ScriptedNode([Trip("time", [f"0 no - - {FAILED}"], seconds=60), Trip("boot", boot="b2")])
    seen = wait(node, UNIT)
    assert seen.message is not None
    assert "it runs boot b2, and the boot that was to be healthy is b1" in seen.message
    assert seen.result["boot_id"] == "b2"


def test_what_can_never_be_is_named_first() -> None:
    node = ScriptedNode(
        [Trip("never", [f"0 no - - {FAILED}", "1 never - - load=not-found active=inactive"], seconds=10)]
    )
    seen = wait(node, UNIT, {"unit": "typo"})
    assert seen.message is not None
    assert seen.message.startswith(
        "The node cannot become healthy: one of its checks can never be right. typo.service: there is no typo.service"
    )
    assert "app.service is failed" in seen.message


def test_right_but_not_for_long_enough() -> None:
    node = ScriptedNode([Trip("time", [f"0 ok i {at(55)} {RUNS}"], seconds=60, well=55)])
    seen = wait(node, UNIT, deadline=60.0, stable_for=30.0)
    assert seen.message == (
        "The node did not become healthy within the 60 s of the deadline. All is right, but not for the 30 s of stable_for."
    )
    assert seen.result["checks"][0]["ok"] is True


def test_check_mode_looks_once() -> None:
    node = ScriptedNode([Trip("time", [f"0 no - - {FAILED}"])])
    seen = wait(node, UNIT, stable_for=50.0, check_mode=True)
    assert seen.message is not None
    assert seen.message.startswith("The node is not healthy. app.service is failed")
    assert (node.told[0]["slice"], node.told[0]["stable"], node.told[0]["horizon"]) == ("0", "0", "10")


OPTIONS: dict[str, Any] = {"checks": [], "deadline": "10m", "stable_for": "0", "boot_id": None}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"deadline": "soon"}, "deadline is 'soon'"),
        ({"deadline": "0"}, "a second or more"),
        ({"stable_for": "forever"}, "stable_for is 'forever'"),
        ({"stable_for": "10m"}, "nothing can stay right for longer"),
        ({"checks": [{}, {"unit": " "}]}, "There are 2 mistakes in the health checks"),
    ],
)
def test_options_that_make_no_sense(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidOption, match=re.escape(said)):
        health_wish({**OPTIONS, **given})
    assert health_wish({**OPTIONS, "stable_for": "1m"}).stable_for == 60.0
