# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a rollout in a real browser: on a desk, on a phone, at night, on paper, and with as many nodes as anybody has."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import chromium
import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_page import page as page_of
from report_examples import fleet, hostile_fleet

PHONE = (390, 844)
# What the text must differ from its background by: WCAG 2.2, level AA.
CONTRAST = 4.5

CONTRASTS = """(() => {
  const light = colour => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map(value => value / 255)
      .map(value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = node => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const worst = {};
  for (const node of document.querySelectorAll("h1,h2,h3,p,b,em,li,dt,dd,th,td,code,summary,.n,.t")) {
    if (!node.textContent.trim()) continue;
    const [a, b] = [light(getComputedStyle(node).color), light(ground(node))].sort((x, y) => y - x);
    const name = node.tagName + "." + node.className;
    worst[name] = Math.min(worst[name] ?? 99, (a + 0.05) / (b + 0.05));
  }
  return worst;
})()"""


@pytest.fixture(scope="module")
def tab() -> Iterator[chromium.Page]:
    program = chromium.find()
    if program is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium, or dev/setup")
    with chromium.browser(program) as opened:
        yield opened


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """The page of a dozen nodes of which three failed, to be opened."""
    file = tmp_path / "report.html"
    file.write_text(page_of(fleet(12)), encoding="utf-8")
    return file


@pytest.mark.parametrize(("width", "height"), [PHONE, (320, 600), (768, 1024), (1280, 900), (2560, 1440)])
def test_no_screen_is_too_narrow(tab: chromium.Page, shown: Path, width: int, height: int) -> None:
    tab.look(width, height)
    tab.open(shown)
    tab.ask("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert tab.ask("document.documentElement.scrollWidth") == width
    bars = tab.ask("[...document.querySelectorAll('summary.row svg')].map(one => one.getBoundingClientRect().width)")
    assert min(bars) > 200, "a bar that nobody can read"
    outside = "[...document.querySelectorAll('summary.row *')].filter(one => one.getBoundingClientRect().right > innerWidth + 1).length"
    assert tab.ask(outside) == 0


def test_it_asks_nobody_for_anything(tab: chromium.Page, shown: Path) -> None:
    tab.look()
    tab.open(shown)
    assert (tab.requests, tab.complaints) == ([shown.as_uri()], [])
    assert tab.ask("getComputedStyle(document.querySelector('h1')).fontWeight") == "650", "the policy lets the style in"


def test_what_a_node_says_is_only_shown(tab: chromium.Page, tmp_path: Path) -> None:
    file = tmp_path / "hostile.html"
    file.write_text(page_of(hostile_fleet()), encoding="utf-8")
    tab.look()
    tab.open(file)
    assert tab.ask("window.harmed") is None
    assert tab.ask("document.querySelectorAll('script, img').length") == 0
    assert "<script>harmed=1</script>" in tab.ask("document.body.textContent")
    assert tab.requests == [file.as_uri()]


def test_the_policy_stops_what_would_get_through(tab: chromium.Page, tmp_path: Path) -> None:
    """As if escaping had failed somewhere: the second lock holds alone."""
    attack = "<script>window.harmed=1</script><img src='http://127.0.0.1:9/x' onerror='window.harmed=2'>"
    file = tmp_path / "broken.html"
    file.write_text(page_of(fleet(2)).replace("</body>", f"{attack}</body>"), encoding="utf-8")
    tab.look()
    tab.open(file)
    assert tab.ask("document.querySelectorAll('script').length") == 1
    assert tab.ask("window.harmed") is None
    assert tab.requests == [file.as_uri()]
    assert len(tab.complaints) == 3, "the script, the picture and its handler"


@pytest.mark.parametrize("dark", [False, True], ids=["by day", "by night"])
def test_every_text_can_be_read(tab: chromium.Page, shown: Path, dark: bool) -> None:
    tab.look(dark=dark)
    tab.open(shown)
    tab.ask("document.querySelectorAll('details').forEach(one => one.open = true)")
    found: dict[str, float] = tab.ask(CONTRASTS)
    assert len(found) > 20
    assert {name: round(ratio, 2) for name, ratio in found.items() if ratio < CONTRAST} == {}
    ground = tab.ask("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(20, 23, 26)") is dark


def test_bars_lie_where_their_times_are(tab: chromium.Page, tmp_path: Path) -> None:
    record = fleet(12)
    file = tmp_path / "report.html"
    file.write_text(page_of(record), encoding="utf-8")
    tab.look()
    tab.open(file)
    drawn = tab.ask(
        """Object.fromEntries([...document.querySelectorAll('summary.row')].map(row => {
          const whole = row.querySelector('svg').getBoundingClientRect();
          const bar = row.querySelector('rect.reboot')?.getBoundingClientRect();
          return [row.querySelector('.n').textContent, bar && [(bar.x - whole.x) / whole.width, bar.width / whole.width]];
        }))"""
    )
    length = record.ended_at - record.started_at
    compared = 0
    for node in record.nodes:
        reboot = next((step for step in node.steps if step.kind.value == "reboot" and not step.failed), None)
        if reboot is not None:
            wanted = [(reboot.started_at - record.started_at) / length, reboot.seconds / length]
            assert drawn[node.name] == pytest.approx(wanted, abs=0.003)
            compared += 1
    assert compared == 8
    ruler = tab.ask(
        "[...document.querySelectorAll('.lines line, .away svg, .axis svg')].map(one => one.getBoundingClientRect().x)"
    )
    bars = tab.ask("document.querySelector('summary.row svg').getBoundingClientRect().x")
    assert min(ruler) == pytest.approx(bars, abs=1.0), "the grid begins where the bars do"


def test_it_can_be_used_without_a_mouse_and_without_eyes(tab: chromium.Page, shown: Path) -> None:
    tab.look()
    tab.open(shown)
    tab.call("Accessibility.enable")
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    seen = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node.get("ignored")]
    assert ("heading", "3 of 12 nodes do not run the image") in seen
    assert {("region", "What to do"), ("region", "Timeline"), ("region", "Nodes")} <= set(seen)
    opened = [name for role, name in seen if role == "DisclosureTriangle"]
    assert len(opened) == 11, "ten rows that left service, and the table"
    assert not any(role in ("SvgRoot", "graphics-document") for role, _name in seen), "the picture is told in words"
    tab.ask("document.querySelector('summary.row').focus()")
    for kind in ("keyDown", "keyUp"):
        tab.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")
    assert tab.ask("document.querySelector('details.node').open") is True
    assert "reboot" in tab.ask("document.querySelector('details.node .more').innerText")


def test_on_paper_nothing_is_folded(tab: chromium.Page, shown: Path) -> None:
    tab.look(medium="print")
    tab.open(shown)
    assert tab.ask("document.querySelector('.group .scroll').checkVisibility({contentVisibilityAuto: true})") is True
    assert tab.ask("document.querySelector('.group .scroll').getBoundingClientRect().height") > 200
    sheet = base64.b64decode(tab.call("Page.printToPDF")["data"])
    assert sheet.startswith(b"%PDF")
    assert len(sheet) > 10_000


# Bytes, and seconds until it is drawn, of which other work on the machine may take many.
@pytest.mark.parametrize(
    ("size", "window", "most_bytes", "most_seconds"), [(12, 3, 60_000, 10), (1000, 20, 2_000_000, 20)]
)
def test_a_thousand_nodes(
    tab: chromium.Page, tmp_path: Path, size: int, window: int, most_bytes: int, most_seconds: float
) -> None:
    file = tmp_path / "report.html"
    record = fleet(size, window=window)
    file.write_text(page_of(record), encoding="utf-8")
    tab.look(*PHONE)
    seconds = tab.open(file)
    tab.ask("document.querySelectorAll('details').forEach(one => one.open = true)")
    rows, cells = tab.ask(
        "[document.querySelectorAll('summary.row').length, document.querySelectorAll('.all tbody tr').length]"
    )
    assert rows == sum(1 for node in record.nodes if node.out_since is not None)
    assert cells == size
    print(json.dumps({"nodes": size, "bytes": file.stat().st_size, "seconds": round(seconds, 2)}))
    assert file.stat().st_size < most_bytes
    assert seconds < most_seconds
