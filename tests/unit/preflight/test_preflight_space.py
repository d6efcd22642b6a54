# SPDX-License-Identifier: GPL-3.0-or-later
"""Room for an image: the figures of a recorded node with a full disk, and a table around them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_facts import NodeFacts, Space
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_space import (
    Need,
    judge_space,
    reserved_bytes,
)
from preflight_examples import FACTS, GB, HOST, MB, deployment, image, short, space


def facts(**spaces: Space) -> NodeFacts:
    given = {"/" + name if name != "repository" else name: found for name, found in spaces.items()}
    return replace(FACTS, space={**FACTS.space, **given})


def test_what_bootc_can_use_is_what_was_recorded() -> None:
    """A disk of 8350298112 bytes with 300 MiB left: `available: 63.3 MB`, said bootc 1.16.9."""
    recorded = Space(8_350_298_112, 300 * 1024 * 1024, "1")
    usable = recorded.available - reserved_bytes(FACTS, recorded)
    assert usable == pytest.approx(63.3 * MB, rel=0.02)


@pytest.mark.parametrize(
    ("settings", "reserved"),
    [
        ({}, 300 * MB),
        ({"min-free-space-percent": "0"}, 0),
        ({"min-free-space-percent": "10"}, GB),
        ({"min-free-space-size": "500MB"}, 500 * MB),
        ({"min-free-space-size": "1GB", "min-free-space-percent": "5"}, GB),
        ({"min-free-space-size": "a lot"}, 300 * MB),
    ],
)
def test_what_ostree_reserves(settings: dict[str, str], reserved: int) -> None:
    assert reserved_bytes(replace(FACTS, reserve=settings), space(5 * GB)) == reserved


@pytest.mark.parametrize(
    ("node", "pull", "found"),
    [
        (FACTS, 400 * MB, []),
        (facts(repository=space(GB)), 400 * MB, [("warning", "disk")]),
        (facts(repository=space(699 * MB)), 400 * MB, [("error", "disk")]),
        (facts(repository=space(0)), 0, []),
        (FACTS, None, [("note", "disk")]),
        (facts(repository=space(5 * GB, inodes=99)), 400 * MB, [("warning", "disk")]),
        (facts(repository=space(5 * GB, inodes=None)), 400 * MB, []),
        (facts(boot=space(99 * MB, device="2")), 400 * MB, [("error", "boot_space")]),
        (facts(boot=space(99 * MB, device="1")), 400 * MB, []),
        (facts(boot=space(99 * MB, device="2")), 0, []),
        (facts(run=space(100)), 0, [("error", "disk")]),
        (NodeFacts(), 400 * MB, []),
    ],
)
def test_room(node: NodeFacts, pull: int | None, found: list[tuple[str, str]]) -> None:
    assert short(judge_space(HOST, node, Need(pull))) == found


def test_the_figures_and_the_pinned_deployments_are_told() -> None:
    host = replace(HOST, others=(deployment(image("older"), pinned=True),))
    [finding] = judge_space(host, facts(repository=space(699 * MB)), Need(400 * MB))
    assert "399 MB can be used for images (699 MB are free" in finding.told
    assert "up to 400 MB are to be pulled" in finding.told
    assert "1 pinned deployment(s)" in finding.fix
