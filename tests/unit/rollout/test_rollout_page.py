# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a rollout: what it says, that it is safe whatever nodes call themselves, and where things lie on its axis."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.markup import Markup, element
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_page import page
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_timeline import Axis, absence_curve
from report_examples import (
    BEGIN,
    Results,
    fleet,
    held,
    held_up,
    hostile_fleet,
    lost,
    record,
    refused,
    staging,
    unhealthy,
    updated,
)

VOID = {"meta", "br"}


class Reader(HTMLParser):
    """What a browser would see: the elements, and the text outside of the style. Raises AssertionError for tags that do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data + " "

    def texts(self) -> str:
        return re.sub(r"\s+", " ", self.text)


def read(**nodes: Results) -> Reader:
    return Reader(page(record(nodes)))


def test_the_first_thing_that_is_said() -> None:
    assert "All 2 nodes run the image" in read(n1=updated(90.0), n2={"staging": staging(reboot=False)}).texts()
    assert "The node runs the image" in read(n1=updated(90.0)).texts()
    assert "The node does not run the image" in read(n1=lost(90.0)).texts()
    assert "1 of 2 nodes does not run the image" in read(n1=updated(90.0), n2=lost(90.0)).texts()
    halted = read(n1=lost(90.0), n2={"staging": staging(), "held": refused("n1 failed")}).texts()
    assert "2 of 2 nodes do not run the image" in halted
    assert "The rollout stopped: n1 failed." in halted
    waiting = {"staging": staging(), "held": {"awaiting_approval": True, "msg": "canaries are back"}}
    assert "1 node waits for approval" in read(n1=updated(90.0), n2=waiting).texts()
    assert (
        "No node of this pool gets the image any more: n1 was rolled back from it" in read(n1=unhealthy(90.0)).texts()
    )


def test_what_went_wrong_comes_before_what_went_well() -> None:
    said = read(n1=updated(90.0), n2=lost(90.0), n3=held_up(90.0)).texts()
    order = ("What to do", "n2 failed", "n3 not updated", "Timeline", "1 failed n2", "1 not updated n3", "1 updated n1")
    places = [said.index(words) for words in order]
    assert places == sorted(places)


def test_evidence_and_what_to_type_next() -> None:
    said = read(n1=unhealthy(90.0), n2=held_up(90.0), n3=lost(90.0)).texts()
    assert "check registry mirror: http://localhost:5000/v2/ answered 503, wanted 200" in said
    assert "pod shop/db-0 held: budget db" in said
    assert "budget shop/db: allows 0 disruptions, 2 pods healthy of 2 wanted" in said
    assert "-e imagemode_pool=workers -e imagemode_store_state=allowed" in said
    assert '\'{"imagemode_store_state": "released", "imagemode_store_nodes": ["n3"]}\'' in said


def test_a_budget_that_let_go_in_the_end_is_told_with_its_node() -> None:
    slow = updated(90.0)
    slow["drain"]["budgets"] = held_up(90.0)["drain"]["budgets"]
    said = read(n1=slow).texts()
    assert "What to do" not in said
    assert "budget shop/db: allows 0 disruptions" in said


def test_every_step_is_told_with_its_seconds() -> None:
    said = read(n1=unhealthy(90.0, 50.0)).texts()
    for words in ("stage", "wait for its turn", "drain", "reboot", "health", "roll back", "reboot into the old image"):
        assert f" {words} " in said
    assert "wait for its turn 02:00:40 50.0 s" in said
    assert "health 02:03:40 150.0 s failed" in said


def test_nothing_that_a_node_says_becomes_markup() -> None:
    html = page(hostile_fleet())
    html.encode("utf-8")
    seen = Reader(html)
    assert {tag for tag, _attributes in seen.elements} & {
        "script",
        "img",
        "a",
        "link",
        "iframe",
        "object",
        "form",
    } == set()
    assert not [
        name for _tag, attributes in seen.elements for name in attributes if name.startswith("on") or name == "style"
    ]
    assert [tag for tag, _attributes in seen.elements].count("style") == 1
    assert "<script>harmed=1</script>" in seen.texts(), "shown as what it is"


def test_the_browser_may_load_and_run_nothing() -> None:
    html = page(fleet(12))
    style = re.search(r"<style>(.*)</style>", html, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode()
    [policy] = [
        attributes["content"]
        for tag, attributes in Reader(html).elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    outside = [url for url in re.findall(r"(?:https?:)?//[^\s\"'<)]+", html) if "localhost:5000" not in url]
    assert outside == []


def test_markup_is_text_until_it_is_made() -> None:
    assert (
        element("p", "a<b", element("b", "c"), None, class_="x", hidden=True, title=None)
        == '<p class="x" hidden>a&lt;b<b>c</b></p>'
    )
    assert element("meta", name='"', http_equiv="x") == '<meta name="&quot;" http-equiv="x">'
    assert isinstance(element("p"), Markup)


def test_nodes_that_went_well_are_folded_where_they_are_many() -> None:
    def folded(size: int) -> bool:
        return bool(re.search(r"<details class=\"group\"><summary>\d+ updated", page(fleet(size, troubles=False))))

    assert (folded(24), folded(200)) == (False, True)


@pytest.mark.parametrize(
    ("seconds", "labels"),
    [
        (4, ["02:00:00", "02:00:01", "02:00:02", "02:00:03", "02:00:04"]),
        (3600, ["02:00", "02:10", "02:20", "02:30", "02:40", "02:50", "03:00"]),
        (9 * 3600, ["02:00", "04:00", "06:00", "08:00", "10:00"]),
        (3 * 86400, ["12:00", "00:00", "12:00", "00:00", "12:00", "00:00"]),
        (6 * 86400, ["22 Nov", "23 Nov", "24 Nov", "25 Nov", "26 Nov", "27 Nov"]),
    ],
)
def test_the_times_on_the_axis(seconds: float, labels: list[str]) -> None:
    found = Axis(BEGIN, BEGIN + seconds).ticks()
    assert [label for _position, label in found] == labels
    positions = [position for position, _label in found]
    assert positions == sorted(positions)
    assert (positions[0] >= 0.0, positions[-1] <= 100.0) == (True, True)


def test_positions_stay_on_the_axis() -> None:
    axis = Axis(BEGIN, BEGIN + 100)
    assert axis.span(BEGIN + 25, BEGIN + 75) == (25.0, 50.0)
    assert axis.span(BEGIN - 1000, BEGIN + 1000) == (0.0, 100.0)
    empty = replace(record({}, now=0.0), started_at=BEGIN, ended_at=BEGIN)
    assert Axis.of(empty).end > BEGIN
    assert "Timeline" not in Reader(page(empty)).texts()


def test_how_many_are_out_of_service_at_once() -> None:
    def absent(since: float, seconds: float, state: str = "released") -> dict[str, Any]:
        return {"staging": staging(), "held": held(since), "ended": {"slot_state": state, "seconds": seconds}}

    found = record({"n1": absent(10, 40), "n2": absent(20, 30), "n3": absent(60, 5, "failed")}, now=100.0)
    curve = absence_curve(found.nodes, Axis.of(found))
    assert curve == ((0.0, 0), (10.0, 1), (20.0, 2), (50.0, 0), (60.0, 1)), "n3 has not come back"
