# SPDX-License-Identifier: GPL-3.0-or-later
"""The levels of the tests, in the order in which they run: what each one runs, and how long it may take."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLLECTION = "ansible_collections.imagemode.nodes"
FUZZ_SECONDS = int(os.environ.get("FUZZ_SECONDS") or 60)


@dataclasses.dataclass(frozen=True)
class Step:
    """One command. Exit status 0 is a pass, 77 means that it cannot run here, and its last line says why.

    Where the command is pytest, each of its tests counts on its own. ``shows``: how many of its last lines are shown in any
    case. ``alone``: the command that gives the few tests which failed a second try with the machine to themselves: tests
    that kill real processes in mid-work depend on its speed.
    """

    name: str
    argv: tuple[str, ...]
    is_pytest: bool = False
    shows: int = 0
    alone: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Level:
    """Steps that belong together. ``budget`` is what they may take together on two cores with cold caches, in seconds.

    A level that takes longer is named in the report; one that takes three times as long is ended, and has failed.
    ``needs_root``: it runs nodes of the lab, whose file systems are mounted. ``prepared_by``: a command that takes long
    and is started at low priority when the run begins; a step of the level waits until what it makes is there.
    """

    name: str
    budget: int
    steps: tuple[Step, ...]
    needs_root: bool = False
    prepared_by: tuple[str, ...] = ()


def _python(name: str, *arguments: str) -> Step:
    return Step(name, (sys.executable, *arguments))


def _pytest(directory: str, *options: str) -> Step:
    return Step(f"pytest {directory}", (sys.executable, "-m", "pytest", *options, directory), is_pytest=True)


def _pytest_in_parallel(directory: str, *options: str, workers: int = 2) -> Step:
    step = _pytest(directory, f"--numprocesses={workers}", "--dist=loadfile", *options)
    return dataclasses.replace(step, alone=_pytest(directory, "--last-failed").argv)


def _mypy_tests(directory: str) -> Step:
    """mypy over tests: each may import what lies beside it, because pytest puts its folder on the path."""
    path = os.pathsep.join(sorted({str(file.parent) for file in (ROOT / directory).rglob("test_*.py")}))
    return Step(f"mypy {directory}", ("env", f"MYPYPATH={path}", "mypy", "--strict", directory))


LEVELS = (
    Level(
        "lint",
        180,
        (
            Step("ruff check", ("ruff", "check", ".")),
            Step("ruff format", ("ruff", "format", "--check", ".")),
            Step("yamllint", ("yamllint", "--strict", ".")),
            Step("reuse", ("reuse", "lint")),
            Step("antsibull-changelog", ("antsibull-changelog", "lint")),
            Step("ansible-lint", ("ansible-lint", "--offline", "--strict", "--nocolor")),
        ),
    ),
    Level(
        "types",
        180,
        (
            Step("mypy plugins", ("mypy", "--strict", "-p", f"{COLLECTION}.plugins")),
            Step("mypy lab", ("mypy", "--strict", "-p", "lab")),
            Step("mypy cluster", ("mypy", "--strict", "-p", "cluster")),
            Step("mypy fuzz", ("mypy", "--strict", "-p", "fuzz")),
            Step("mypy hosts", ("mypy", "--strict", "-p", "hosts")),
            Step("mypy crash", ("mypy", "--strict", "-p", "crash")),
            _mypy_tests("tests/unit"),
            _mypy_tests("tests/conformance"),
            _mypy_tests("tests/scenarios"),
            Step("mypy dev", ("mypy", "--strict", "dev")),
        ),
    ),
    Level(
        "docs",
        120,
        (
            _python("ansible-doc", "dev/render_docs.py"),
            Step(
                "antsibull-docs",
                (
                    *("antsibull-docs", "lint-collection-docs", "--plugin-docs"),
                    *("--validate-collection-refs", "all", "--disallow-unknown-collection-refs", "."),
                ),
            ),
            Step("galaxy build", ("ansible-galaxy", "collection", "build", "--force", "--output-path", ".cache/dist")),
        ),
    ),
    Level("unit", 240, (_pytest_in_parallel("tests/unit"),)),
    Level(
        "fuzz",
        120 + FUZZ_SECONDS,
        (
            _pytest("tests/fuzz"),
            dataclasses.replace(_python("atheris", "-m", "fuzz", "--seconds", str(FUZZ_SECONDS)), shows=20),
        ),
    ),
    Level("conformance", 300, (_pytest_in_parallel("tests/conformance"),), needs_root=True),
    Level("sanity", 300, (_python("ansible-test sanity", "dev/sanity.py"),)),
    # Half of their time they wait: for a boot, a lock, a deadline. Their conftest says which files begin first.
    Level(
        "scenarios",
        1800,
        (_pytest_in_parallel("tests/scenarios", "--no-loadscope-reorder", workers=4),),
        needs_root=True,
    ),
    Level(
        "cluster",
        900,  # with a build that had no time to itself before
        (
            dataclasses.replace(_python("build of the Kubernetes API", "-m", "cluster.build"), shows=1),
            _pytest_in_parallel("tests/cluster"),
        ),
        needs_root=True,
        prepared_by=(sys.executable, "-m", "cluster.build"),
    ),
    Level(
        "crash",
        300,  # a third of it where nothing else runs
        (dataclasses.replace(_python("campaign, a sample", "-m", "crash", "--cases=8"), shows=20),),
        needs_root=True,
    ),
    Level(
        "molecule",
        240,
        (Step("molecule default", ("molecule", "test", "--scenario-name", "default")),),
        needs_root=True,
    ),
    Level("oldest-core", 120, (_python("demo on 2.16", "dev/oldest_core.py", "--nodes=3"),), needs_root=True),
)
