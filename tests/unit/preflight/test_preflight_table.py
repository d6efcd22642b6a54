# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a whole pool: worst first, told once however many nodes share it."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_finding import (
    Check,
    Finding,
    error,
    note,
    warning,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_table import grouped, report, summary


def of(node: str, *findings: Finding) -> list[Finding]:
    return [replace(finding, node=node) for finding in findings]


def timer(node: str) -> Finding:
    return replace(warning(Check.UPDATERS, "a timer is active", "systemctl disable --now a.timer"), node=node)


def disk(node: str, free: int) -> Finding:
    return replace(error(Check.DISK, f"{free} MB can be used, 400 MB are to be pulled on {node}"), node=node)


def test_the_report() -> None:
    nodes = {
        "n1": [timer("n1")],
        "n2": [timer("n2"), disk("n2", 12)],
        "n3": [timer("n3"), disk("n3", 7)],
        "n4": of("n4", note(Check.DEPLOYMENTS, "pinned: something")),
    }
    pool = [error(Check.IMAGE, "the image was not found")]
    assert report("workers", nodes, pool) == [
        "workers: preflight of 4 nodes",
        "  error    image: the image was not found",
        "  error    disk: 2 nodes (n2, n3): 12 MB can be used, 400 MB are to be pulled on n2",
        "  warning  updaters: 3 nodes (n1, n2, n3): a timer is active",
        "           → systemctl disable --now a.timer",
        "  note     deployments: n4: pinned: something",
        "workers: 2 of 4 nodes are ready, but the pool is not: 2 errors, 1 warning, 1 note",
    ]


def test_a_pool_of_which_nothing_is_ready() -> None:
    pool = [error(Check.IMAGE, "the image was not found")]
    assert (
        report("workers", {"n2": [disk("n2", 12)]}, pool)[-1]
        == "workers: 0 of 1 node is ready, and the pool is not: 2 errors"
    )


def test_a_pool_of_which_there_is_nothing_to_say() -> None:
    assert report("workers", {"n1": [], "n2": []}, []) == [
        "workers: preflight of 2 nodes",
        "workers: 2 of 2 nodes are ready: nothing was found",
    ]


def test_what_all_nodes_share_names_one() -> None:
    nodes = {name: [timer(name)] for name in ("n1", "n2", "n3")}
    assert report("workers", nodes, [])[1] == "  warning  updaters: all 3 nodes, such as n1: a timer is active"


def test_many_nodes_are_counted() -> None:
    nodes: dict[str, list[Finding]] = {f"n{number:03}": [timer(f"n{number:03}")] for number in range(100)}
    nodes["quiet"] = []
    line = report("workers", nodes, [])[1]
    assert line.startswith("  warning  updaters: 100 nodes (n000, n001, n002, n003, n004, n005 and 94 more): ")


def test_other_words_are_other_findings() -> None:
    found = grouped(
        [timer("n1"), replace(timer("n2"), told="another timer is active"), replace(timer("n3"), fix="wait")]
    )
    assert [group.nodes for group in found] == [("n1",), ("n2",), ("n3",)]


def test_one_node_with_a_finding_twice_is_one_node() -> None:
    [group] = grouped([timer("n1"), timer("n1")])
    assert group.nodes == ("n1",)


def test_no_line_is_wider_than_a_screen() -> None:
    long = "word " * 80
    lines = report("workers", {"n1": of("n1", error(Check.DISK, long, long))}, [])
    assert max(map(len, lines)) <= 120
    assert summary({"n1": []}, []) == "1 of 1 node is ready: nothing was found"
