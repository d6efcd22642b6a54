# SPDX-License-Identifier: GPL-3.0-or-later
"""The timeline of a rollout's page: one row for each node that left service, and the same as a table. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import short_digest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.markup import Markup, element, together
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_evidence import evidence
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_outcome import Outcome
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_record import NodeRecord, RolloutRecord
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_steps import Step, StepKind
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_timeline import (
    Axis,
    absence_curve,
    moment,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_wording import precise

_ROLLBACK = (StepKind.ROLLBACK, StepKind.ROLLBACK_REBOOT, StepKind.ROLLBACK_HEALTH)
# A longer group of nodes that went well is folded, so that what went wrong is not a day's scrolling away.
_FOLDED_FROM = 60

WORDS = {
    StepKind.STAGE: "stage",
    StepKind.WAIT: "wait for its turn",
    StepKind.DRAIN: "drain",
    StepKind.REBOOT: "reboot",
    StepKind.HEALTH: "health",
    StepKind.ROLLBACK: "roll back",
    StepKind.ROLLBACK_REBOOT: "reboot into the old image",
    StepKind.ROLLBACK_HEALTH: "health on the old image",
    StepKind.UNDRAIN: "back into service",
}
_COLUMNS: tuple[tuple[str, tuple[StepKind, ...]], ...] = (
    ("stage", (StepKind.STAGE,)),
    ("wait", (StepKind.WAIT,)),
    ("drain", (StepKind.DRAIN,)),
    ("reboot", (StepKind.REBOOT,)),
    ("health", (StepKind.HEALTH,)),
    ("rollback", _ROLLBACK),
    ("undrain", (StepKind.UNDRAIN,)),
)
_ROW_HEIGHT = 14


def timeline(record: RolloutRecord) -> Markup:
    """The section; empty if no node left service."""
    drawn = [node for node in record.nodes if node.out_since is not None]
    if not drawn:
        return Markup("")
    axis = Axis.of(record)
    groups = [_group(outcome, drawn, axis) for outcome in _worst_first(drawn)]
    return element(
        "section",
        element("h2", "Timeline", id="timeline"),
        element(
            "div",
            _key(drawn),
            _away(record, axis),
            _axis(axis),
            element("div", _grid(axis), element("div", *groups, class_="rows"), class_="line"),
            class_="card",
        ),
        aria_labelledby="timeline",
    )


def _worst_first(drawn: Iterable[NodeRecord]) -> list[Outcome]:
    found = {node.outcome.outcome for node in drawn}
    return sorted(found, key=lambda outcome: (outcome.is_right, list(Outcome).index(outcome)))


def _key(drawn: Sequence[NodeRecord]) -> Markup:
    """What the colours mean, of those that are there."""
    kinds = {_style(step) for node in drawn for step in node.steps}
    names = ("stage", "wait", "drain", "reboot", "health", "rollback", "undrain", "failed")
    told = {"undrain": "back into service", "wait": "wait for its turn"}
    entries = [element("li", _swatch(name), told.get(name, name)) for name in names if name in kinds]
    return element("ul", *entries, element("li", _swatch("out"), "out of service"), class_="key", aria_label="Colours")


def _swatch(style: str) -> Markup:
    drawn = element("rect", width=12, height=12, rx=2, class_=style)
    return element("svg", drawn, viewBox="0 0 12 12", aria_hidden="true")


def _away(record: RolloutRecord, axis: Axis) -> Markup:
    """How many nodes were out of service at once, against the window."""
    curve = absence_curve(record.nodes, axis)
    most = max(count for _position, count in curve)
    top = max(most, record.window or 0, 1)
    path = "M0 100"
    for position, count in curve:
        path += f"H{position * 10:.1f}V{100 - 100 * count / top:.1f}"
    shapes = [element("path", d=f"{path}H1000V100Z")]
    said = f"Out of service at once: {most} at most"
    if record.window:
        height = f"{100 - 100 * record.window / top:.1f}"
        shapes.append(element("line", x1=0, x2=1000, y1=height, y2=height, vector_effect="non-scaling-stroke"))
        said += f", the window is {record.window}"
    drawn = element("svg", *shapes, viewBox="0 0 1000 100", preserveAspectRatio="none", aria_hidden="true")
    return element("div", element("p", said), drawn, class_="away")


def _axis(axis: Axis) -> Markup:
    labels = [
        element(
            "text", label, x=_percent(position), y=13, text_anchor=_anchor(position), class_="odd" if at % 2 else None
        )
        for at, (position, label) in enumerate(axis.ticks())
    ]
    return element("div", element("svg", *labels), class_="axis", aria_hidden="true")


def _anchor(position: float) -> str:
    return "start" if position < 4 else "end" if position > 96 else "middle"


def _grid(axis: Axis) -> Markup:
    lines = [
        element("line", x1=_percent(position), x2=_percent(position), y1="0", y2="100%")
        for position, _label in axis.ticks()
    ]
    return element("div", element("svg", *lines), class_="lines", aria_hidden="true")


def _group(outcome: Outcome, drawn: Sequence[NodeRecord], axis: Axis) -> Markup:
    nodes = [node for node in drawn if node.outcome.outcome is outcome]
    nodes.sort(key=lambda node: node.out_since or 0.0)
    rows = [_row(node, axis) for node in nodes]
    title = f"{len(nodes)} {outcome.value}"
    if outcome.is_right and len(nodes) >= _FOLDED_FROM:
        return element("details", element("summary", title), *rows, class_="group")
    return together([element("h3", title), *rows])


def _row(node: NodeRecord, axis: Axis) -> Markup:
    seconds = node.outcome.seconds
    summary = element(
        "summary",
        element("span", element("span", node.name, class_="n", title=node.name), _failed_step(node), class_="who"),
        _bars(node, axis),
        element("span", precise(seconds) if seconds is not None else "", class_="t", title="out of service"),
        class_="row",
    )
    return element("details", summary, _way(node), class_="node")


def _failed_step(node: NodeRecord) -> Markup | None:
    """In words, beside the name: the colour alone says it to some only."""
    failed = [WORDS[step.kind] for step in node.steps if step.failed]
    return element("em", f"{failed[0]} failed") if failed else None


def _bars(node: NodeRecord, axis: Axis) -> Markup:
    shapes = []
    if node.out_since is not None:
        left, width = axis.span(node.out_since, axis.end if node.back_at is None else node.back_at)
        shapes.append(_rect(left, width, "out", 0, _ROW_HEIGHT))
    for step in node.steps:
        left, width = axis.span(step.started_at, step.ended_at)
        title = element("title", f"{WORDS[step.kind]}{' failed' if step.failed else ''}: {precise(step.seconds)}")
        if step.kind is StepKind.WAIT:
            shapes.append(_rect(left, width, "wait", 6, 2, title))
        else:
            shapes.append(_rect(left, width, f"bar {_style(step)}", 1, _ROW_HEIGHT - 2, title))
    return element("svg", *shapes, height=_ROW_HEIGHT, aria_hidden="true")


def _rect(left: float, width: float, style: str, top: int, height: int, *inside: Markup) -> Markup:
    return element("rect", *inside, x=_percent(left), width=_percent(width), y=top or None, height=height, class_=style)


def _style(step: Step) -> str:
    if step.failed:
        return "failed"
    return "rollback" if step.kind in _ROLLBACK else step.kind.value


def _percent(position: float) -> str:
    return f"{position:.2f}".rstrip("0").rstrip(".") + "%"


def _way(node: NodeRecord) -> Markup:
    """What a row shows when it is opened."""
    rows = [
        element(
            "tr",
            element("th", WORDS[step.kind], scope="row"),
            element("td", moment(step.started_at, "%H:%M:%S")),
            element("td", f"{step.seconds:.1f} s", class_="s"),
            element("td", "failed", class_="failedtext") if step.failed else element("td"),
        )
        for step in node.steps
    ]
    reason = element("p", node.outcome.reason) if node.outcome.reason else None
    table = element("table", element("tbody", *rows))
    return element("div", reason, evidence_list(evidence([node])), table, class_="more")


def evidence_list(lines: Sequence[str]) -> Markup | None:
    """Nothing where there is none."""
    return element("ul", *(element("li", line) for line in lines)) if lines else None


def all_nodes(record: RolloutRecord) -> Markup:
    """Every node in one table, the picture's alternative."""
    head = ("node", "outcome", "from", "to", *(name for name, _kinds in _COLUMNS), "out of service")
    cells = [element("th", name, scope="col", class_="s" if at > 3 else None) for at, name in enumerate(head)]
    ordered = sorted(record.nodes, key=lambda node: node.outcome.outcome.is_right)
    rows = [_table_row(node) for node in ordered]
    table = element("table", element("thead", element("tr", *cells)), element("tbody", *rows), class_="all")
    region = element("div", table, class_="scroll", role="region", aria_label="All nodes", tabindex="0")
    said = f"All {len(record.nodes)} nodes as a table, in seconds"
    return element("details", element("summary", said), region, class_="card group")


def _table_row(node: NodeRecord) -> Markup:
    item = node.outcome
    to_digest = short_digest(item.to_digest) if item.to_digest else "-"
    times = [*(node.seconds(*kinds) for _name, kinds in _COLUMNS), item.seconds]
    return element(
        "tr",
        element("th", item.node, scope="row"),
        element("td", item.outcome.value, class_=None if item.outcome.is_right else "failedtext"),
        element("td", element("code", item.from_label)),
        element("td", element("code", to_digest)),
        *(element("td", "" if time is None else f"{time:.1f}", class_="s") for time in times),
    )


def names_list(names: Sequence[str]) -> Markup:
    """All of them, folded where they are many."""
    told = element("span", ", ".join(names), class_="n")
    if len(names) <= 12:
        return element("p", told, class_="names")
    return element("details", element("summary", "Their names"), told, class_="names")
