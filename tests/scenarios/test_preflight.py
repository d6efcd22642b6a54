# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking before a rollout: what is said of every kind of node, from the node itself; and that nothing was changed by it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from platform import machine
from typing import Any

import pytest
from by_hand import on
from journal import count, tools
from lab import images
from lab.fixtures import MakeNode
from lab.images import GO_ARCHITECTURES
from lab.node import Node
from lab.playbook_run import PlaybookRun, Project
from lab.registry import Registry

USER, PASSWORD = "puller", "not in any result"
RPM_OSTREE: dict[str, str | None] = {"bootc": None}
READS = {
    "bootc status --json",
    "bootc --version",
    "rpm-ostree status --json",
    "rpm-ostree --version",
    "rpm-ostree kargs",
}
LOOKS = (
    "systemctl is-active",
    "systemctl show",
    "systemctl list-units --state=failed",
    "systemd-inhibit --list",
    "ostree refs",
    "skopeo ",
)


@pytest.fixture(scope="module")
def wanted(registry: Registry) -> str:
    """The image of the rollout, by tag."""
    images.build_base(registry.address, "preflight", "v2", version="2.0")
    return f"{registry.address}/preflight:v2"


@pytest.fixture
def project(make_project: Callable[..., Project], tmp_path: Path, wanted: str) -> Callable[..., Project]:
    def make(forks: int = 10, **variables: Any) -> Project:
        given = {
            "imagemode_image": wanted,
            "imagemode_validate_certs": False,
            "imagemode_store_path": str(tmp_path / "store"),
            **variables,
        }
        return make_project(group_vars={"workers": given}, forks=forks)

    return make


def play(project: Project, *arguments: str) -> PlaybookRun:
    run = project.run("playbooks/preflight.yml", extra_vars={"imagemode_pool": "workers"}, arguments=arguments)
    assert "Traceback" not in run.stdout
    return run


def found(run: PlaybookRun, severities: tuple[str, ...] = ("error", "warning")) -> dict[str, set[tuple[str, str]]]:
    """By node, or the pool under an empty name, severity and check of what was found, as the job artifact has it."""
    [table] = run.results("Show what stands in the way")
    told: dict[str, set[tuple[str, str]]] = {}
    for one in table["ansible_stats"]["data"]["imagemode_preflight"]["findings"]:
        for node in one["nodes"] or [""]:
            if one["severity"] in severities:
                told.setdefault(node, set()).add((one["severity"], one["check"]))
    return told


def calls_since(node: Node, before: int) -> list[str]:
    return tools(node)[before:]


def looked_only(calls: list[str]) -> bool:
    return all(call in READS or call.startswith(LOOKS) for call in calls)


def test_every_kind_of_node(make_node: MakeNode, project: Callable[..., Project], wanted: str) -> None:
    nodes = {
        "good": make_node("good"),
        "updates": make_node("updates"),
        "driven": make_node("driven", versions=RPM_OSTREE),
        "layered": make_node("layered"),
        "inhibited": make_node("inhibited"),
        "bare": make_node("bare", versions={"skopeo": None}),
        "stranger": make_node("stranger", origin="none"),
        "off": make_node("off"),
        "leaving": make_node("leaving"),
        "done": make_node("done", image=wanted),
        "refusing": make_node("refusing"),
    }
    on(nodes["updates"], "systemctl enable --now bootc-fetch-apply-updates.timer")
    nodes["updates"].inject("units-in-trouble")
    nodes["driven"].inject("update-driver")
    nodes["layered"].inject("layered-packages")
    nodes["inhibited"].inject("reboot-inhibited")
    nodes["off"].inject("unreachable")
    on(
        nodes["leaving"],
        "mkdir -p /run/systemd/shutdown && echo USEC=1799999999000000 > /run/systemd/shutdown/scheduled",
    )
    on(nodes["inhibited"], "mkdir -p /etc/ostree && ln -s /nowhere /etc/ostree/auth.json")
    on(nodes["refusing"], 'echo \'{"default": [{"type": "reject"}]}\' > /etc/containers/policy.json')
    place = project()
    before = {name: (len(tools(node)), count(node, "exec")) for name, node in nodes.items()}
    run = play(place)
    assert run.rc == 2
    expected = {
        "updates": {("warning", "updaters"), ("warning", "failed_units")},
        "driven": {("error", "updaters"), ("warning", "staging")},
        "layered": {("error", "local_changes")},
        "inhibited": {("warning", "inhibitors"), ("warning", "credentials")},
        "stranger": {("error", "image_mode")},
        "off": {("error", "reachable")},
        "leaving": {("error", "shutdown")},
        "refusing": {("error", "signature_policy")},
    }
    assert found(run) == expected
    assert found(run, ("note",)) == {"bare": {("note", "registry")}}
    assert {name for name in nodes if run.recap(name)["failed"]} == {
        name for name, told in expected.items() if any(severity == "error" for severity, _check in told)
    }
    assert not [name for name in nodes if run.recap(name)["changed"] or run.recap(name)["unreachable"]]
    for name, node in nodes.items():
        calls, execs = before[name]
        assert looked_only(calls_since(node, calls)), calls_since(node, calls)
        if name not in ("off", "stranger"):
            assert count(node, "exec") - execs == 2, name
    [table] = run.results("Show what stands in the way")
    assert set(table["not_ready"]) == {"driven", "layered", "stranger", "off", "leaving", "refusing"}
    checked = play(place, "--check")
    assert (checked.rc, found(checked)) == (2, expected)


def test_a_pool_that_is_ready(make_node: MakeNode, project: Callable[..., Project]) -> None:
    make_node("n1")
    make_node("n2")
    run = play(project())
    assert run.rc == 0
    assert "workers: 2 of 2 nodes are ready: nothing was found" in run.stdout
    assert found(run, ("error", "warning", "note")) == {}
    assert run.result("Look at the node", "n1")["pull_bytes"] > 100


def test_mistakes_around_the_nodes(make_node: MakeNode, project: Callable[..., Project]) -> None:
    make_node("n1")
    make_node("n2")
    place = project(
        forks=2,
        imagemode_max_unavailable=2,
        imagemode_canaries=["n9"],
        imagemode_health_checks=[{"unti": "kubelet.service"}],
        imagemode_max_unavailble=1,
        imagemode_drain="hooks",
        imagemode_drain_before="absent.yml",
    )
    run = play(place)
    assert run.rc == 2
    assert found(run) == {
        "": {("error", "rollout"), ("error", "health_checks"), ("error", "variables"), ("warning", "variables")}
    }
    assert "imagemode_max_unavailble (did you mean imagemode_max_unavailable?)" in run.stdout
    assert "n9" in run.stdout
    assert run.recap("n1")["failed"] == 1
    assert run.recap("n2")["failed"] == 0
    assert not (place.directory / "store").exists()


def test_an_image_that_is_not_there(make_node: MakeNode, project: Callable[..., Project], wanted: str) -> None:
    """The controller and the nodes are both asked, and each says what it saw."""
    make_node("n1")
    run = play(project(imagemode_image=wanted.replace(":v2", ":v3")))
    assert run.rc == 2
    assert found(run) == {"": {("error", "image")}, "n1": {("error", "registry")}}
    assert "The registry has no such image" in run.result("Show what stands in the way", "n1")["findings"][1]["told"]


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry.start(tmp_path_factory.mktemp("private"), username=USER, password=PASSWORD) as running:
        images.build_base(running.address, "os", "v2", username=USER, password=PASSWORD)
        yield running


def test_credentials_are_tried_from_the_node(
    make_node: MakeNode, project: Callable[..., Project], private: Registry, tmp_path: Path
) -> None:
    """The controller has credentials, and so has podman on a node: neither counts there."""

    def auths(name: str, password: str) -> str:
        token = base64.b64encode(f"{USER}:{password}".encode()).decode()
        return json.dumps({"auths": {name: {"auth": token}}})

    right = auths(private.address, PASSWORD)
    given = {
        "has": ("/etc/ostree/auth.json", right),
        "podman": ("/run/containers/0/auth.json", right),
        "other": ("/etc/ostree/auth.json", auths("quay.io", PASSWORD)),
        "wrong": ("/etc/ostree/auth.json", auths(private.address, "an old one")),
        "broken": ("/etc/ostree/auth.json", "{"),
    }
    for name, (path, content) in given.items():
        node = make_node(name)
        on(node, f"mkdir -p {path.rpartition('/')[0]} && printf '%s' '{content}' > {path}")
    (tmp_path / "auth.json").write_text(right)
    run = play(project(imagemode_image=f"{private.address}/os:v2", imagemode_authfile=str(tmp_path / "auth.json")))
    refused = {("error", "registry")}
    assert found(run) == {
        "podman": refused,
        "other": refused | {("warning", "credentials")},
        "wrong": refused,
        "broken": refused | {("warning", "credentials")},
    }
    secrets = [PASSWORD, json.loads(right)["auths"][private.address]["auth"]]
    assert not [secret for secret in secrets if secret in run.stdout or secret in json.dumps(run.events)]


def test_an_image_without_room(make_node: MakeNode, make_project: Any, wanted: str) -> None:
    """The disk is this machine's, so the image has to be large."""
    make_node("n1")
    platform = f"linux/{GO_ARCHITECTURES.get(machine(), machine())}"
    layers = {platform: [{"digest": "sha256:" + "a" * 64, "size": 10**15}]}
    look = {"imagemode.nodes.node_preflight_info": {"image": wanted, "layers": layers}, "name": "look"}
    run = make_project().run([{"hosts": "workers", "gather_facts": False, "tasks": [look]}])
    seen = run.result("look", "n1")
    assert (seen["ready"], seen["pull_bytes"]) == (False, 10**15)
    assert [finding["check"] for finding in seen["findings"]] == ["disk"]
    assert "up to 1000000.0 GB are to be pulled" in seen["findings"][0]["told"]


def test_a_node_that_somebody_works_on_is_told_and_not_waited_for(make_node: MakeNode, make_project: Any) -> None:
    node = make_node("n1")
    node.inject("transaction-stuck")
    make_node("n2", versions=RPM_OSTREE).inject("transaction-stuck")
    look = {"imagemode.nodes.node_preflight_info": {"busy_timeout": 2}, "name": "look", "register": "seen"}
    run = make_project().run([{"hosts": "workers", "gather_facts": False, "tasks": [look]}])
    assert run.rc == 0
    [busy] = run.result("look", "n1")["findings"]
    assert (busy["severity"], busy["check"]) == ("error", "busy")
    assert "an rpm-ostree transaction (Upgrade) has held the system lock" in busy["told"]
    [seen] = run.result("look", "n2")["findings"]
    assert (seen["severity"], seen["check"]) == ("warning", "busy")
    assert run.result("look", "n2")["ready"]
