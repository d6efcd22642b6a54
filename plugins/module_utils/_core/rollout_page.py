# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollout as one HTML file without scripts and without anything from elsewhere: what went wrong first, then how it went. Pure."""

from __future__ import annotations

import base64
import hashlib
from statistics import median

from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import short_digest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.markup import Markup, element, together
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_causes import Cause
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_evidence import evidence
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_outcome import Outcome, counts
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_page_style import STYLE
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_page_timeline import (
    all_nodes,
    evidence_list,
    names_list,
    timeline,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_record import NodeRecord, RolloutRecord
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_timeline import moment
from ansible_collections.imagemode.nodes.plugins.module_utils._core.rollout_wording import precise

_BAD = frozenset({Outcome.FAILED, Outcome.ROLLED_BACK, Outcome.UNREACHABLE})
_WARNING = frozenset({Outcome.KEPT, Outcome.UNSTAGED, Outcome.DENIED, Outcome.AWAITING})
_POLICY = "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'"


def page(record: RolloutRecord) -> str:
    """The whole file. Every text of the record is escaped, and the browser is told to load and to run nothing."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode("ascii")
    headline = _headline(record)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY.format(digest)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"{record.pool}: {headline}"),
        element("style", Markup(STYLE)),
    )
    body = element(
        "body",
        _header(record, headline),
        element("main", _causes(record), timeline(record), _nodes(record)),
        _footer(record),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _headline(record: RolloutRecord) -> str:
    total = len(record.nodes)
    wrong = sum(1 for item in record.outcomes if not item.outcome.is_right)
    if wrong == total == 1:
        return "The node does not run the image"
    if wrong:
        return f"{wrong} of {_nodes_said(total)} {'does' if wrong == 1 else 'do'} not run the image"
    if record.awaiting_approval:
        waiting = counts(record.outcomes)[Outcome.AWAITING]
        return f"{_nodes_said(waiting)} {'waits' if waiting == 1 else 'wait'} for approval"
    return f"{'The node runs' if total == 1 else f'All {total} nodes run'} the image"


def _nodes_said(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"


def _header(record: RolloutRecord, headline: str) -> Markup:
    style = "bad" if not record.is_right else "warn" if record.awaiting_approval else None
    began, ended = moment(record.started_at, "%d %b %Y, %H:%M"), moment(record.ended_at, "%H:%M")
    if moment(record.started_at, "%j") != moment(record.ended_at, "%j"):
        ended = moment(record.ended_at, "%d %b %Y, %H:%M")
    when = began if began.endswith(ended) else f"{began} to {ended}"
    parts = [
        element("p", element("b", record.pool), f" · {when} UTC", class_="where"),
        element("h1", element("span", class_="mark", aria_hidden="true"), headline),
    ]
    if record.halted and record.reason:
        parts.append(element("p", f"The rollout stopped: {_sentence(record.reason)}", class_="lead"))
    if record.denied and record.denied != record.reason:
        parts.append(
            element("p", f"No node of this pool gets the image any more: {_sentence(record.denied)}", class_="lead")
        )
    return element("header", *parts, _counts(record), _facts(record), class_=style)


def _sentence(said: str) -> str:
    return f"{said.rstrip('. ')}."


def _counts(record: RolloutRecord) -> Markup:
    found = counts(record.outcomes)
    entries = [
        element(
            "li",
            element(
                "svg", element("circle", cx=6, cy=6, r=5, class_=_colour(kind)), viewBox="0 0 12 12", aria_hidden="true"
            ),
            element("b", str(count)),
            kind.value,
        )
        for kind, count in found.items()
    ]
    # One of a thousand must be seen, too.
    wide = {kind: max(0.008, count / len(record.nodes)) for kind, count in found.items()}
    left, shapes = 0.0, []
    for kind, width in wide.items():
        share = 100 * width / sum(wide.values())
        shapes.append(element("rect", x=f"{left:.2f}", width=f"{share - 0.3:.2f}", height=2, class_=_colour(kind)))
        left += share
    drawn = element("svg", *shapes, viewBox="0 0 100 2", preserveAspectRatio="none", height=8, aria_hidden="true")
    return together([element("ul", *entries, class_="counts"), element("div", drawn, class_="share")])


def _colour(kind: Outcome) -> str:
    if kind in (Outcome.UPDATED, Outcome.PREDICTED):
        return "c-ok"
    if kind in _BAD:
        return "c-bad"
    return "c-warn" if kind in _WARNING else "c-right" if kind is Outcome.RIGHT else "c-none"


def _facts(record: RolloutRecord) -> Markup:
    facts: list[tuple[str, str | Markup]] = [
        ("Image", element("code", record.image or "not named")),
        (
            "Digest",
            together(element("code", short_digest(one), title=one) for one in record.digests[:1])
            or Markup("not named"),
        ),
        ("Took", precise(record.ended_at - record.started_at)),
    ]
    if len(record.digests) > 1:
        facts[1] = ("Digest", together([facts[1][1], f" or one of {len(record.digests) - 1} more, by architecture"]))
    away = sorted((node.outcome.seconds, node.name) for node in record.nodes if node.outcome.seconds is not None)
    if away:
        longest, name = away[-1]
        middle = median(seconds for seconds, _name in away)
        facts.append(
            ("A node was out of service for", f"{precise(middle)} (median), at most {precise(longest)} ({name})")
        )
    pairs = [element("div", element("dt", term), element("dd", said)) for term, said in facts]
    return element("dl", *pairs, class_="facts")


def _causes(record: RolloutRecord) -> Markup:
    found = record.causes
    if not found:
        return Markup("")
    by_name = {node.name: node for node in record.nodes}
    cards = [_cause(cause, record.pool, [by_name[name] for name in cause.nodes]) for cause in found]
    return element("section", element("h2", "What to do", id="todo"), *cards, aria_labelledby="todo")


def _cause(cause: Cause, pool: str, nodes: list[NodeRecord]) -> Markup:
    style = "bad" if cause.outcome in _BAD else "warn" if cause.outcome in _WARNING else ""
    title = cause.nodes[0] if len(nodes) == 1 else f"{len(nodes)} nodes"
    lines = evidence(nodes)
    command = cause.command(pool)
    return element(
        "article",
        element("h3", title, " ", element("em", cause.outcome.value)),
        element("p", cause.reason),
        names_list(cause.nodes) if len(nodes) > 1 else None,
        evidence_list(lines),
        element("p", element("b", "Next: "), cause.next, class_="next"),
        element("p", element("code", command), class_="type") if command else None,
        class_=f"card cause {style}".rstrip(),
    )


def _nodes(record: RolloutRecord) -> Markup:
    return element("section", element("h2", "Nodes", id="nodes"), all_nodes(record), aria_labelledby="nodes")


def _footer(record: RolloutRecord) -> Markup:
    written = moment(record.ended_at, "%d %b %Y, %H:%M:%S")
    return element(
        "footer",
        element("p", f"Written {written}. All times are UTC. The JSON file beside this page has every detail."),
    )
