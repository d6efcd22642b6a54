# SPDX-License-Identifier: GPL-3.0-or-later
"""node_health_info with the real ansible on lab nodes: round trips, what comes right in time, and what never will."""

from __future__ import annotations

import itertools
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import greenboot, images
from lab.authority import Authority
from lab.endpoint import Endpoint
from lab.fixtures import MakeNode, RunPlaybook
from lab.node import Node
from lab.playbook_run import PlaybookRun
from lab.registry import Registry

TASK = "Wait for health"
AGENT = "lab-agent.service"
# The machine's curl, run in the node's own file system: nodes have none.
LIBRARIES = f"/usr/lib/{platform.machine()}-linux-gnu"
LOADER = next(Path(LIBRARIES).glob("ld-linux*.so.?"), None)
CURL = f"""#!/bin/sh
exec /.lab/host{LOADER} --library-path /.lab/host{LIBRARIES} /.lab/host/usr/bin/curl "$@"
"""
HAS_CURL = pytest.mark.skipif(
    not Path("/usr/bin/curl").exists() or LOADER is None, reason="this machine has no curl that could run on a node"
)


@pytest.fixture(scope="module")
def curl_image(registry: Registry, base_image: str) -> str:
    assert base_image
    return images.build_base(registry.address, "with-curl", extra_files={"/usr/bin/curl": CURL})


@pytest.fixture
def node(make_node: MakeNode) -> Node:
    return make_node("n1")


@pytest.fixture
def endpoint(node: Node) -> Iterator[Endpoint]:
    with Endpoint.start(node) as running:
        yield running


def play(checks: list[Any], hosts: str = "all", **options: Any) -> list[dict[str, Any]]:
    task = {"name": TASK, "imagemode.nodes.node_health_info": {"checks": checks, "deadline": "30s", **options}}
    return [{"hosts": hosts, "gather_facts": False, "tasks": [task]}]


def trips(node: Node) -> int:
    return sum(entry["event"] == "exec" for entry in node.journal.read())


def words(run: PlaybookRun) -> dict[str, str]:
    """What was told of each check."""
    return {check["name"]: check["told"] for check in run.result(TASK, "n1")["checks"]}


def test_a_healthy_node_costs_one_round_trip(node: Node, endpoint: Endpoint, run_playbook: RunPlaybook) -> None:
    endpoint.answer("/healthz", "ok")
    endpoint.answer("/status", {"database": {"state": "connected"}})
    before = trips(node)
    run = run_playbook(
        play(
            [
                {"failed_units": {}},
                {"unit": "sshd"},
                {"unit": AGENT, "state": "inactive"},
                {"http": endpoint.url("/healthz")},
                {
                    "http": endpoint.url("/status"),
                    "json": "database.state",
                    "equals": "connected",
                    "name": "the database",
                },
                {"command": ["test", "-e", "/etc/os-release"]},
                {"command": ["grep", "-q", "no such words", "/etc/os-release"], "rc": [1]},
            ]
        )
    )
    assert run.rc == 0, run.stdout
    assert trips(node) - before == 1
    result = run.result(TASK, "n1")
    assert result["healthy"]
    assert not result["changed"]
    assert result["boot_id"] == node.boot_id
    assert all(check["ok"] and check["seconds"] < 5 for check in result["checks"])
    assert [check["kind"] for check in result["checks"]] == [
        "failed_units",
        "unit",
        "unit",
        "http",
        "http",
        "command",
        "command",
    ]
    assert words(run)["the database"] == 'answered 200, database.state is "connected"'
    assert result["seconds"] >= 0
    assert abs(result["started_at"] - time.time()) < 300


def test_it_waits_on_the_node_until_all_is_right(node: Node, endpoint: Endpoint, run_playbook: RunPlaybook) -> None:
    """Also for an answer that the controller has to judge: the node asks again only when the answer is another one."""
    turn = itertools.count()
    endpoint.answer_by("/status", lambda: (200, b'{"ready": true}') if next(turn) >= 4 else (200, b'{"ready": false}'))
    before = trips(node)
    run = run_playbook(play([{"unit": "sshd"}, {"http": endpoint.url("/status"), "json": "ready"}], deadline="60s"))
    assert run.rc == 0, run.stdout
    assert len(endpoint.asked) == 5
    assert trips(node) - before == 2  # the first answer, then the other one, which came while the node looped
    unit, status = run.result(TASK, "n1")["checks"]
    assert unit["seconds"] < 2 < status["seconds"]
    assert "n1: waits for its health: answered 200, ready is false, wanted something true" in run.stdout


def test_a_failed_unit_is_named(node: Node, run_playbook: RunPlaybook) -> None:
    node.inject("units-in-trouble", units=(AGENT, "other.service"))
    run = run_playbook(play([{"failed_units": {"ignore": ["lab-*"]}}, {"unit": AGENT}], deadline=2))
    assert run.rc == 2
    result = run.result(TASK, "n1")
    assert not result["healthy"]
    assert "did not become healthy within the 2 s of the deadline" in result["msg"]
    assert "failed units: other.service has failed. `systemctl status other.service`" in result["msg"]
    assert f"{AGENT} is failed (exit-code), wanted active" in result["msg"]
    assert run.recap("n1")["unreachable"] == 0
    node.inject("units-in-trouble", units=(AGENT,))
    run = run_playbook(play([{"failed_units": {"ignore": ["lab-*"]}}], deadline=2))
    assert run.rc == 0, run.stdout
    assert words(run) == {"failed units": f"no unit has failed but {AGENT}, which may"}


def test_a_boot_that_is_not_finished_is_not_healthy(node: Node, run_playbook: RunPlaybook) -> None:
    """No unit has failed yet in a boot that has only begun."""
    node.inject("boot-unfinished", units=("slow.service",))
    run = run_playbook(play([{"failed_units": {}}], deadline=2))
    assert run.rc == 2
    assert "the boot is not finished, 1 jobs are open, the first for slow.service" in words(run)["failed units"]


NEVER: dict[str, tuple[dict[str, Any], str]] = {
    "a name with a mistake": ({"unit": "kublet"}, "there is no kublet.service on this node"),
    "the same, not to run": ({"unit": "kublet", "state": "inactive"}, "there is no kublet.service on this node"),
    "no such program": ({"command": ["pg_isredy"]}, "there is no program pg_isredy on this node"),
    "no greenboot": ({"greenboot": True}, "greenboot-healthcheck.service is not-found on this node"),
    "no such authority": (
        {"http": "https://localhost/", "ca_file": "/etc/none.pem"},
        "the node has no file /etc/none.pem",
    ),
    "nothing to verify with": ({"http": "https://localhost/"}, "its wget cannot verify a server"),
}


@pytest.mark.usefixtures("node")
def test_what_can_never_be_right_ends_the_wait(run_playbook: RunPlaybook) -> None:
    checks = [{**check, "name": name} for name, (check, _said) in NEVER.items()]
    began = time.monotonic()
    run = run_playbook(play([{"unit": "sshd"}, *checks], deadline="10m"))
    assert time.monotonic() - began < 60
    assert run.rc == 2
    assert "can never be right" in run.result(TASK, "n1")["msg"]
    told = words(run)
    for name, (_check, said) in NEVER.items():
        assert said in told[name]


def test_what_stays_right_for_a_while(endpoint: Endpoint, run_playbook: RunPlaybook) -> None:
    """A break begins the time anew, and an answer that changes is judged anew."""
    began = time.monotonic()

    def answer() -> tuple[int, bytes]:
        return (503 if 2 < time.monotonic() - began - first[0] < 4 else 200, b"{}")

    first = [1e9]

    def answer_and_note() -> tuple[int, bytes]:
        first[0] = min(first[0], time.monotonic() - began)
        return answer()

    endpoint.answer_by("/healthz", answer_and_note)
    run = run_playbook(play([{"http": endpoint.url("/healthz")}], stable_for="5s", deadline="60s"))
    assert run.rc == 0, run.stdout
    (check,) = run.result(TASK, "n1")["checks"]
    assert 2 < check["seconds"] < 15
    assert run.result(TASK, "n1")["seconds"] >= check["seconds"] + 4.5


def test_check_mode_looks_once_and_says_what_is(node: Node, endpoint: Endpoint, run_playbook: RunPlaybook) -> None:
    endpoint.answer("/healthz", "", status=503)
    before = trips(node)
    began = time.monotonic()
    run = run_playbook(
        play([{"http": endpoint.url("/healthz")}, {"unit": "sshd"}], stable_for="5m", deadline="10m"),
        arguments=["--check"],
    )
    assert run.rc == 2
    assert time.monotonic() - began < 60
    assert trips(node) - before == 1
    assert len(endpoint.asked) == 1
    assert words(run)[f"http {endpoint.url('/healthz')}"] == "answered 503, wanted 200"
    endpoint.answer("/healthz", "")
    run = run_playbook(
        play([{"http": endpoint.url("/healthz")}], stable_for="5m", deadline="10m"), arguments=["--check"]
    )
    assert run.rc == 0, run.stdout


def test_mistakes_are_told_before_anything_is_looked_at(node: Node, run_playbook: RunPlaybook) -> None:
    before = trips(node)
    run = run_playbook(play([{"unit": "a b"}, {"http": "x"}, {"command": "true"}]))
    assert "There are 3 mistakes in the health checks, so nothing was looked at" in run.result(TASK, "n1")["msg"]
    run = run_playbook(play([{"http": "http://localhost/", "json": "a[", "name": "status"}]))
    assert "The json of 'status' is no JMESPath expression" in run.result(TASK, "n1")["msg"]
    run = run_playbook(play([{"unit": "sshd"}], deadline="soon"))
    assert "deadline is 'soon'" in run.result(TASK, "n1")["msg"]
    run = run_playbook(play([{"unit": "sshd"}], deadline="1m", stable_for="2m"))
    assert "nothing can stay right for longer than it is looked at" in run.result(TASK, "n1")["msg"]
    assert trips(node) == before


def test_a_lost_connection_is_made_again(node: Node, run_playbook: RunPlaybook) -> None:
    node.inject("units-in-trouble", units=(AGENT,), state="activating")
    node.inject("connection-drops", seconds=1.0, times=1)
    run = run_playbook(play([{"unit": AGENT}], deadline="8s"))
    assert run.rc == 2
    assert "n1: lost the node while its health was looked at" in run.stdout
    assert words(run)[AGENT].startswith(f"{AGENT} is activating (auto-restart), wanted active")
    assert "unreachable_host" not in run.result(TASK, "n1")


def test_a_node_that_is_away_is_failed_and_not_unreachable(node: Node, run_playbook: RunPlaybook) -> None:
    node.inject("unreachable")
    run = run_playbook(play([{"unit": "sshd"}], deadline="4s"))
    assert run.recap("n1")["unreachable"] == 0
    assert run.recap("n1")["failed"] == 1
    result = run.result(TASK, "n1")
    assert result["unreachable_host"]
    assert result["healthy"] is False
    assert result["boot_id"] is None
    assert [check["told"] for check in result["checks"]] == ["was not looked at"]
    assert 3 < result["seconds"] < 60


def test_another_boot_is_not_the_one_that_was_to_be_healthy(node: Node, run_playbook: RunPlaybook) -> None:
    run = run_playbook(play([{"unit": "sshd"}], boot_id="11111111-2222-3333-4444-555555555555"))
    assert run.rc == 2
    result = run.result(TASK, "n1")
    assert f"it runs boot {node.boot_id}, and the boot that was to be healthy is 11111111" in result["msg"]
    assert result["boot_id"] == node.boot_id


def test_no_secret_and_no_body_in_the_result(endpoint: Endpoint, run_playbook: RunPlaybook) -> None:
    endpoint.answer("/status", {"token": "tr0ub4dor", "state": "x" * 500})
    checks = [{"http": endpoint.url("/status?key=opensesame"), "json": "state", "equals": "y"}]
    run = run_playbook(play(checks, deadline=1), arguments=["-vv"])
    assert run.rc == 2
    (check,) = run.result(TASK, "n1")["checks"]
    assert "tr0ub4dor" not in run.stdout
    assert "opensesame" not in str(run.result(TASK, "n1")["checks"]) + run.result(TASK, "n1")["msg"]
    assert check["told"].count("x") < 210


@HAS_CURL
def test_curl_where_there_is_one(
    make_node: MakeNode, curl_image: str, run_playbook: RunPlaybook, tmp_path: Path
) -> None:
    authority = Authority.create(tmp_path / "ca")
    make_node("n1", curl_image)
    with Endpoint.start(authority=authority) as secure, Endpoint.start() as plain:
        node = Node.load(tmp_path / "lab", "n1")
        (node.mounts().etc / "shop.pem").write_bytes(authority.certificate.read_bytes())
        others = node.mounts().etc / "ssl/certs/ca-certificates.crt"
        others.parent.mkdir(parents=True)
        others.write_bytes(Authority.create(tmp_path / "other").certificate.read_bytes())
        secure.answer("/status", {"up": 1})
        plain.answer("/moved", "", status=302)
        plain.answer("/large", "x" * 2_000_000)
        plain.answer("/not-json", "<html>")
        checks = [
            {"name": "trusted", "http": secure.url("/status"), "ca_file": "/etc/shop.pem", "json": "up", "equals": 1},
            {"name": "not asked who", "http": secure.url("/status"), "validate_certs": False},
            {"name": "moved", "http": plain.url("/moved"), "status": [301, 302]},
            {"name": "missing", "http": plain.url("/nothing"), "status": 404},
            {"name": "large, but who looks", "http": plain.url("/large")},
            {"name": "not trusted", "http": secure.url("/status")},
            {"name": "too large", "http": plain.url("/large"), "json": "a"},
            {"name": "not JSON", "http": plain.url("/not-json"), "json": "a"},
            {"name": "nobody there", "http": "http://127.0.0.1:1/"},
        ]
        # A proxy that nobody has must not matter to a node that asks itself.
        plays = play(checks, deadline=2)
        plays[0]["environment"] = {"http_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
        run = run_playbook(plays)
    told = words(run)
    right = {check["name"] for check in run.result(TASK, "n1")["checks"] if check["ok"]}
    assert right == {"trusted", "not asked who", "moved", "missing", "large, but who looks"}
    assert told["trusted"] == "answered 200, up is 1"
    assert told["not trusted"].startswith("no answer (curl: (60) ")
    assert told["too large"] == "answered 200 with more than 1 MiB, which is too much to look into"
    assert told["not JSON"] == "answered 200, but not with JSON"
    assert told["nobody there"].startswith("no answer (curl: (7) ")


@pytest.mark.usefixtures("node")
def test_a_command_is_stopped_in_time(run_playbook: RunPlaybook) -> None:
    checks = [
        {"name": "slow", "command": ["sleep", "600"], "timeout": 1},
        {"name": "loud", "command": ["sh", "-c", "echo out; echo 'no route to db' >&2; exit 4"]},
    ]
    run = run_playbook(play(checks, deadline=3))
    assert words(run) == {"slow": "was not done after 1 s", "loud": "exited with 4, wanted 0 (no route to db)"}


@pytest.fixture(scope="module")
def greenboot_images(registry: Registry, base_image: str) -> tuple[str, str]:
    """A good one, and a bad one."""
    assert base_image
    build = images.build_base
    good, bad = (
        build(
            registry.address,
            f"greenboot-{version}",
            version=version,
            extra_files=greenboot.files(good=good),
            enabled_units=[greenboot.UNIT],
        )
        for good, version in ((True, "1.0"), (False, "2.0"))
    )
    return good, bad


def test_greenboot_calls_a_boot_good(
    make_node: MakeNode, greenboot_images: tuple[str, str], run_playbook: RunPlaybook
) -> None:
    make_node("n1", greenboot_images[0])
    run = run_playbook(play([{"greenboot": True}]))
    assert run.rc == 0, run.stdout
    assert words(run) == {"greenboot": "greenboot called this boot good"}


def test_greenboot_takes_a_bad_image_back_and_the_gate_is_not_fooled(
    make_node: MakeNode, greenboot_images: tuple[str, str], run_playbook: RunPlaybook
) -> None:
    """The node is healthy in the end, on its old image; but not in the boot that was proven."""
    good, bad = greenboot_images
    node = make_node("n1", good)
    tasks = [
        {"name": "Stage", "imagemode.nodes.bootc_switch": {"image": bad}},
        {"name": "Reboot", "imagemode.nodes.node_reboot": {}, "register": "reboot"},
        {
            "name": TASK,
            "imagemode.nodes.node_health_info": {
                "checks": [{"greenboot": True}],
                "boot_id": "{{ reboot.boot_id_after }}",
                "deadline": "2m",
            },
        },
    ]
    run = run_playbook([{"hosts": "all", "gather_facts": False, "tasks": tasks}])
    assert run.rc == 2, run.stdout
    assert run.recap("n1")["failed"] == 1
    message = run.result(TASK, "n1")["msg"]
    assert "greenboot called this boot bad" in message or "The node was started anew" in message
    until = time.monotonic() + 120
    while time.monotonic() < until:
        node.is_up()
        if any(entry["event"] == "greenboot" and entry["rolled_back"] for entry in node.journal.read()):
            break
        time.sleep(0.2)
    while not (node.is_up() and greenboot_state(node) == "active") and time.monotonic() < until:
        time.sleep(0.2)
    run = run_playbook(play([{"greenboot": True}], deadline="30s"))
    assert words(run) == {
        "greenboot": "greenboot called this boot good. It has gone back to the previous deployment by itself"
    }


def greenboot_state(node: Node) -> str:
    units = [entry for entry in node.journal.read() if entry["event"] == "unit" and entry["unit"] == greenboot.UNIT]
    return str(units[-1]["state"])
