# SPDX-License-Identifier: GPL-3.0-or-later
"""The module entry, with Python on the node, held to the connection path: one table, the same results field by field.

Each situation is made twice. On one node the action plugin acts over the connection, on the other the module runs on the
node itself; both first in check mode, then for real. All situations go through one run of a playbook, a play each.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from journal import tools
from lab import images
from lab.fixtures import MakeNode, RunPlaybook
from lab.inventory import CHECKOUT
from lab.node import Node
from lab.playbook_run import PlaybookRun, Project
from lab.registry import Registry

BOOTC = {"bootc": "1.16.9", "rpm-ostree": None}
OLD_BOOTC = {"bootc": "1.1.6", "rpm-ostree": None}
BOTH = {"bootc": "1.16.9", "rpm-ostree": "2026.2"}
RPM_OSTREE = {"bootc": None, "rpm-ostree": "2026.2"}
NEITHER = {"bootc": None, "rpm-ostree": None}

BASE, BASE_DIGEST = "{base}", "{base_digest}"
NEXT, NEXT_DIGEST = "{next}", "{next_digest}"
NO_DIGEST = "sha256:" + "0" * 64

# What Ansible adds to a result, not the module, and what no two hosts share.
ANSIBLES_OWN = {"node", "task", "event", "invocation", "exception", "ansible_facts", "deprecations", "warnings"}
OF_THE_HOST = {"boot_id", "boot_id_before", "boot_id_after"}
OF_THE_RUN = {"started_at", "seconds"}


@dataclasses.dataclass(frozen=True)
class Situation:
    """One row. `first`: a module and its options that prepare the node; `faults`: what is broken on it before the task."""

    module: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, str | None] = dataclasses.field(default_factory=lambda: BOOTC)
    origin: str = "container"
    first: tuple[str, Mapping[str, Any]] | None = None
    faults: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    fails: str | None = None
    changes: bool = False


STAGED = ("bootc_switch", {"image": NEXT})

SITUATIONS = {
    "info, bootc": Situation("image_mode_info"),
    "info, old bootc": Situation("image_mode_info", versions=OLD_BOOTC),
    "info, both tools": Situation("image_mode_info", versions=BOTH),
    "info, rpm-ostree": Situation("image_mode_info", versions=RPM_OSTREE),
    "info, an ostree branch": Situation("image_mode_info", versions=BOTH, origin="ostree"),
    "info, no image mode": Situation("image_mode_info", versions=NEITHER),
    "info, something staged": Situation("image_mode_info", versions=BOTH, first=STAGED),
    "info, locked": Situation(
        "image_mode_info", {"busy_timeout": 2}, faults={"lock-held": {"seconds": 3600}}, fails="held the system lock"
    ),
    "info, deadline": Situation("image_mode_info", {"busy_timeout": 0}, fails="busy_timeout is 0"),
    "switch": Situation("bootc_switch", {"image": NEXT, "expected_digests": [NEXT_DIGEST]}, changes=True),
    "switch, old bootc": Situation("bootc_switch", {"image": NEXT}, versions=OLD_BOOTC, changes=True),
    "switch, already booted": Situation("bootc_switch", {"image": BASE, "expected_digests": [BASE_DIGEST]}),
    "switch, already staged": Situation("bootc_switch", {"image": NEXT}, first=STAGED),
    "switch, back": Situation("bootc_switch", {"image": BASE}, first=STAGED, changes=True),
    "switch, wrong digest": Situation(
        "bootc_switch", {"image": "{tag}", "expected_digests": [NO_DIGEST]}, fails="discarded again", changes=True
    ),
    "switch, no such image": Situation(
        "bootc_switch", {"image": "{tag}-typo"}, fails="Nothing on the node was changed"
    ),
    "switch, no reference": Situation("bootc_switch", {"image": "OS:v2"}, fails="is not an image reference"),
    "switch, layered packages": Situation(
        "bootc_switch",
        {"image": NEXT},
        versions=BOTH,
        faults={"layered-packages": {"packages": ["htop"]}},
        fails="layered packages htop",
    ),
    "switch, full disk": Situation("bootc_switch", {"image": NEXT}, faults={"disk-full": {}}, fails="disk is too full"),
    "switch, take back": Situation("bootc_switch", {"state": "unstaged"}, first=STAGED, changes=True),
    "switch, download": Situation("bootc_switch", {"image": NEXT, "state": "downloaded"}, changes=True),
    "switch, image and kargs": Situation(
        "bootc_switch", {"image": NEXT, "kargs": {"present": ["entries=1"]}}, versions=BOTH, changes=True
    ),
    "rebase": Situation(
        "rpmostree_rebase", {"image": NEXT, "expected_digests": [NEXT_DIGEST]}, versions=RPM_OSTREE, changes=True
    ),
    "rebase, already booted": Situation("rpmostree_rebase", {"image": BASE}, versions=RPM_OSTREE),
    "rebase, no such image": Situation(
        "rpmostree_rebase", {"image": "{tag}-typo"}, versions=RPM_OSTREE, fails="Nothing on the node was changed"
    ),
    "rebase, layered packages": Situation(
        "rpmostree_rebase",
        {"image": NEXT},
        versions=RPM_OSTREE,
        faults={"layered-packages": {"packages": ["htop"]}},
        fails="layered packages htop",
    ),
    "rebase, no rpm-ostree": Situation("rpmostree_rebase", {"image": NEXT}, fails="no rpm-ostree on its PATH"),
    "stage, whatever the tool": Situation("image_stage", {"image": NEXT}, versions=RPM_OSTREE, changes=True),
    "rollback, there is none": Situation("deployment_rollback", fails="rollback"),
    "rollback, nothing queued": Situation("deployment_rollback", {"state": "unqueued"}),
    "kargs": Situation("kargs", {"present": ["entries=1"]}, versions=BOTH, changes=True),
    "kargs, there already": Situation("kargs", {"present": ["rw"]}, versions=BOTH),
    "kargs, no argument": Situation("kargs", {"present": ["a b"]}, versions=BOTH, fails="a b"),
    "migration, nothing to do": Situation("migration_info", {"image": BASE}, versions=BOTH),
    "migration, an ostree branch": Situation(
        "migration_info", {"image": NEXT, "expected_digests": [NEXT_DIGEST]}, versions=BOTH, origin="ostree"
    ),
    "migration, no image mode": Situation("migration_info", {"image": NEXT}, versions=NEITHER),
    "migration, no reference": Situation("migration_info", {"image": "OS:v2"}, fails="is not an image reference"),
    "hold": Situation("unit_hold", {"units": ["lab-agent.service"]}, changes=True),
    "release what is not held": Situation("unit_hold", {"units": ["lab-agent.service"], "state": "released"}),
    "hold, no unit": Situation("unit_hold", {"units": ["lab-agent"]}, fails="such as kubelet.service"),
    "files": Situation("host_files", {"files": [{"path": "/etc/entries", "content": "x"}]}, changes=True),
    "files, an image's path": Situation(
        "host_files", {"files": [{"path": "/usr/entries", "content": "x"}]}, fails="/usr/entries"
    ),
    "switch, no bootc": Situation("bootc_switch", {"image": NEXT}, versions=RPM_OSTREE, fails="no bootc on its PATH"),
}


@dataclasses.dataclass(frozen=True)
class Pair:
    """The two nodes of a situation, by name: the one reached over the connection, and the one on which the module runs."""

    connection: str
    module: str


@pytest.fixture(scope="module")
def words(registry: Registry, base_image: str) -> dict[str, str]:
    """What the table's placeholders stand for."""
    following = images.build_base(registry.address, tag="entries", version="2.0-entries")
    return {
        "base": base_image,
        "base_digest": base_image.partition("@")[2],
        "next": following,
        "next_digest": following.partition("@")[2],
        "tag": f"{following.partition('@')[0]}:entries",
    }


def filled(value: Any, words: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return value.format_map(words)
    if isinstance(value, list):
        return [filled(item, words) for item in value]
    return {key: filled(item, words) for key, item in value.items()} if isinstance(value, Mapping) else value


def preparing_plays(pairs: Mapping[str, Pair], words: Mapping[str, str]) -> list[dict[str, Any]]:
    plays = []
    for name, pair in pairs.items():
        first = SITUATIONS[name].first
        if first is not None:
            tasks = [{f"imagemode.nodes.{first[0]}": filled(first[1], words)}]
            plays.append({"hosts": f"{pair.connection},{pair.module}", "gather_facts": False, "tasks": tasks})
    return plays


def plays_of_both_ways(pairs: Mapping[str, Pair], words: Mapping[str, str]) -> list[dict[str, Any]]:
    plays = []
    for name, pair in pairs.items():
        situation = SITUATIONS[name]
        module, options = f"imagemode.nodes.{situation.module}", filled(situation.options, words)
        ways = {
            pair.connection: {module: options},
            pair.module: {"module_entry": {"module": module, "options": options}},
        }
        for host, task in ways.items():
            tasks = [
                {"name": "check", **task, "check_mode": True, "diff": True, "ignore_errors": True},
                {"name": "real", **task, "diff": True, "ignore_errors": True},
            ]
            plays.append({"hosts": host, "gather_facts": False, "tasks": tasks})
    return plays


def comparable(value: Any) -> Any:
    """A result without what no two hosts and no two ways can share."""
    if isinstance(value, dict):
        return {
            key: "of the host"
            if key in OF_THE_HOST and item
            else "of the run"
            if key in OF_THE_RUN
            else comparable(item)
            for key, item in value.items()
            if not key.startswith("_ansible") and key not in ANSIBLES_OWN
        }
    return [comparable(item) for item in value] if isinstance(value, list) else value


def warnings(result: Mapping[str, Any]) -> list[str]:
    return [text for text in result.get("warnings", []) if "interpreter" not in text]


def orders(lines: list[str]) -> list[str]:
    """What was run, without the names that each run makes up, and without how often the end of long work was asked for."""
    named = [re.sub(r"\b[0-9a-f]{32}\b", "ID", line) for line in lines]
    return [line for line in named if not line.startswith("systemctl ")]


def succeeded(run: PlaybookRun) -> PlaybookRun:
    assert run.rc == 0, run.stdout
    assert "Traceback" not in run.stdout
    return run


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of one situation: the run of all of them, and of each of the two nodes what was ordered in it."""

    run: PlaybookRun
    nodes: Pair
    orders: tuple[list[str], list[str]]


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, base_image: str, words: dict[str, str]
) -> Iterator[dict[str, Outcome]]:
    """Of every situation that is to be tested in this session, which has tests of other files as well."""
    own = [item for item in request.session.items if item.path == request.path]
    chosen = [item.callspec.params["name"] for item in own if hasattr(item, "callspec")]
    names = [name for name in SITUATIONS if name in chosen]
    directory = tmp_path_factory.mktemp("entries")
    lab = directory / "lab"
    pairs = {name: Pair(f"c{number}", f"m{number}") for number, name in enumerate(names)}
    nodes = {
        host: Node.create(
            lab, host, base_image, python=True, versions=SITUATIONS[name].versions, origin=SITUATIONS[name].origin
        )
        for name, pair in pairs.items()
        for host in (pair.connection, pair.module)
    }
    try:
        project = Project.create(directory / "project", lab, {"workers": list(nodes)})
        if prepared := preparing_plays(pairs, words):
            succeeded(project.run(prepared, timeout=900))
        for name, pair in pairs.items():
            for fault, parameters in SITUATIONS[name].faults.items():
                for host in (pair.connection, pair.module):
                    nodes[host].inject(fault, **parameters)
        before = {host: len(tools(node)) for host, node in nodes.items()}
        entry = {"ANSIBLE_ACTION_PLUGINS": str(Path(__file__).parent / "module_entry")}
        run = succeeded(project.run(plays_of_both_ways(pairs, words), environment=entry, timeout=900))
        ran = {host: orders(tools(node)[before[host] :]) for host, node in nodes.items()}
        yield {name: Outcome(run, pair, (ran[pair.connection], ran[pair.module])) for name, pair in pairs.items()}
    finally:
        for node in nodes.values():
            node.destroy()


@pytest.mark.parametrize("name", SITUATIONS)
def test_both_ways_tell_the_same(name: str, outcomes: dict[str, Outcome]) -> None:
    situation, outcome = SITUATIONS[name], outcomes[name]
    for mode in ("check", "real"):
        connection = outcome.run.result(mode, outcome.nodes.connection)
        module = outcome.run.result(mode, outcome.nodes.module)
        assert comparable(module) == comparable(connection)
        assert [f"{outcome.nodes.connection}: {text}" for text in warnings(module)] == warnings(connection)
        failed = connection["event"] == "runner_on_failed"
        if mode == "real":  # some failures only the pull can tell
            assert failed == (situation.fails is not None), connection
            assert connection["changed"] == situation.changes
        if failed:
            assert situation.fails is not None
            assert situation.fails in connection["msg"]
    assert outcome.orders[0] == outcome.orders[1], "both ways ask the same questions and give the same orders"


def test_async_is_the_module_entry(make_node: MakeNode, run_playbook: RunPlaybook, words: dict[str, str]) -> None:
    for host in ("n1", "n2"):
        make_node(host, python=True, versions=BOOTC)
    stage = {"imagemode.nodes.bootc_switch": filled({"image": NEXT, "expected_digests": [NEXT_DIGEST]}, words)}
    run = succeeded(
        run_playbook(
            [
                {"hosts": "n1", "gather_facts": False, "tasks": [{"name": "stage", **stage}]},
                {"hosts": "n2", "gather_facts": False, "tasks": [{"name": "stage", **stage, "async": 60, "poll": 1}]},
            ]
        )
    )
    connection, module = run.result("stage", "n1"), run.results("stage", "n2")[-1]
    ran_by_itself = {
        "ansible_job_id",
        "finished",
        "started",
        "results_file",
        "stdout",
        "stderr",
        "stdout_lines",
        "stderr_lines",
    }
    kept = {key: value for key, value in module.items() if key not in ran_by_itself}
    assert comparable(kept) == comparable(connection)


def test_the_table_names_modules_that_exist() -> None:
    for situation in SITUATIONS.values():
        assert (CHECKOUT / "plugins" / "modules" / f"{situation.module}.py").exists()
