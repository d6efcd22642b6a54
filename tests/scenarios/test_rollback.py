# SPDX-License-Identifier: GPL-3.0-or-later
"""deployment_rollback on lab nodes of both tools: there, back again, and never to the wrong place."""

from __future__ import annotations

import subprocess
import time
from typing import Any

import pytest
from journal import count, tools
from lab import enter, images
from lab.fixtures import MakeNode, RunPlaybook
from lab.node import Node
from lab.playbook_run import PlaybookRun
from lab.registry import Registry

BOTH = {
    "bootc 1.16.9": {"bootc": "1.16.9", "rpm-ostree": None},
    "bootc 1.1.6": {"bootc": "1.1.6", "rpm-ostree": None},
    "rpm-ostree": {"bootc": None, "rpm-ostree": "2026.2"},
}
TOGETHER = {"bootc": "1.16.9", "rpm-ostree": "2026.2"}


@pytest.fixture(scope="module")
def v2(registry: Registry) -> str:
    return images.build_base(registry.address, tag="v2", version="2.0", kargs_d={"10-v2.toml": ["v2=1"]})


@pytest.fixture(scope="module")
def v3(registry: Registry) -> str:
    return images.build_base(registry.address, tag="v3", version="3.0")


def digest_of(image: str) -> str:
    return image.partition("@")[2]


def type_on(node: Node, *argv: str) -> str:
    """What a person would do on the node, without Ansible."""
    done = subprocess.run(enter.command(node, argv), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def stage(node: Node, image: str) -> None:
    if node.versions["bootc"]:
        type_on(node, "bootc", "switch", image)
    else:
        type_on(node, "rpm-ostree", "rebase", f"ostree-unverified-registry:{image}")


def boot_into(node: Node, image: str) -> None:
    stage(node, image)
    restart(node)


def restart(node: Node) -> None:
    before = node.boot_id
    type_on(node, "systemctl", "reboot")
    deadline = time.monotonic() + 60
    while not (node.is_up() and node.boot_id != before):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def rollback(name: str = "back", **options: Any) -> dict[str, Any]:
    return {"name": name, "imagemode.nodes.deployment_rollback": options}


def reboot(*digests: str, name: str = "reboot") -> dict[str, Any]:
    return {"name": name, "imagemode.nodes.node_reboot": {"expected_digests": list(digests)}}


def play(*tasks: dict[str, Any], **keywords: Any) -> list[dict[str, Any]]:
    return [{"hosts": "workers", "gather_facts": False, "tasks": list(tasks), **keywords}]


def failure(run: PlaybookRun, name: str = "back") -> str:
    result = run.result(name, "n1")
    assert result["event"] == "runner_on_failed", run.stdout
    assert "Traceback" not in run.stdout
    return str(result["msg"])


def changing(node: Node) -> list[str]:
    """The commands of the tools that change something, since the last boot."""
    calls = [entry for entry in node.journal.read() if entry["event"] in ("tool", "boot")]
    last = max(index for index, entry in enumerate(calls) if entry["event"] == "boot")
    words = [" ".join([entry["tool"], *entry["argv"]]) for entry in calls[last + 1 :]]
    return [text for text in words if "rollback" in text or "undeploy" in text or "cleanup" in text]


@pytest.mark.parametrize("tool", BOTH)
def test_there_once_and_back_to_what_ran_before(
    tool: str, make_node: MakeNode, run_playbook: RunPlaybook, base_image: str, v2: str
) -> None:
    node = make_node("n1", versions=BOTH[tool])
    boot_into(node, v2)
    expected = digest_of(base_image)
    run = run_playbook(
        play(rollback(expected_digests=[expected]), rollback("again", expected_digests=[expected]), reboot(expected))
    )
    assert run.rc == 0, run.stdout
    first, second, rebooted = (run.result(name, "n1") for name in ("back", "again", "reboot"))
    assert (first["changed"], first["digest"], first["reboot_required"]) == (True, expected, True)
    assert (second["changed"], second["commands"], second["reboot_required"]) == (False, [], True)
    assert rebooted["booted"]["digest"] == expected
    assert "v2=1" not in rebooted["after"]["kargs"]["booted"], "kernel arguments come back with their deployment"


@pytest.mark.parametrize("tool", BOTH)
def test_taken_back_before_it_boots(tool: str, make_node: MakeNode, run_playbook: RunPlaybook, v2: str) -> None:
    node = make_node("n1", versions=BOTH[tool])
    boot_into(node, v2)
    unqueue = rollback("stay", state="unqueued", expected_digests=[digest_of(v2)])
    run = run_playbook(play(rollback(), unqueue, {**unqueue, "name": "still"}))
    assert run.rc == 0, run.stdout
    stay, still = run.result("stay", "n1"), run.result("still", "n1")
    assert (stay["changed"], stay["digest"], stay["reboot_required"]) == (True, digest_of(v2), False)
    assert (still["changed"], still["commands"]) == (False, [])
    assert len(changing(node)) == 2


@pytest.mark.parametrize("tool", BOTH)
def test_check_mode_predicts_and_touches_nothing(
    tool: str, make_node: MakeNode, run_playbook: RunPlaybook, v2: str
) -> None:
    node = make_node("n1", versions=BOTH[tool])
    boot_into(node, v2)
    predicted = run_playbook(play(rollback()), arguments=["--check", "--diff"]).result("back", "n1")
    assert changing(node) == []
    real = run_playbook(play(rollback()), arguments=["--diff"]).result("back", "n1")
    for key in ("changed", "digest", "checksum", "reboot_required", "reboot_kind", "commands", "diff", "before", "msg"):
        assert predicted[key] == real[key], key


def test_a_no_op_is_one_round_trip(make_node: MakeNode, run_playbook: RunPlaybook, v2: str) -> None:
    node = make_node("n1", versions=BOTH["bootc 1.16.9"])
    boot_into(node, v2)
    before = count(node, "exec")
    run_playbook(play(rollback(state="unqueued")))
    assert (count(node, "exec") - before, tools(node)[-1]) == (1, "bootc status --json")
    run_playbook(play(rollback()))
    assert count(node, "exec") - before == 3, "one to look, one to act and to look again"


@pytest.mark.parametrize("tool", BOTH)
def test_a_wrong_expectation_changes_nothing_and_lists_what_is_there(
    tool: str, make_node: MakeNode, run_playbook: RunPlaybook, base_image: str, v2: str, v3: str
) -> None:
    node = make_node("n1", versions=BOTH[tool])
    boot_into(node, v2)
    said = failure(run_playbook(play(rollback(expected_digests=[digest_of(v3)]))))
    assert digest_of(base_image) in said
    assert digest_of(v2) in said
    assert changing(node) == []


@pytest.mark.parametrize("tool", BOTH)
def test_what_is_staged_is_not_discarded_by_accident(
    tool: str, make_node: MakeNode, run_playbook: RunPlaybook, base_image: str, v2: str, v3: str
) -> None:
    node = make_node("n1", versions=BOTH[tool])
    boot_into(node, v2)
    stage(node, v3)
    assert "staged: discard" in failure(run_playbook(play(rollback())))
    assert changing(node) == []
    run = run_playbook(play(rollback(staged="discard"), reboot(digest_of(base_image))))
    assert run.rc == 0, run.stdout
    assert run.result("back", "n1")["digest"] == digest_of(base_image)


@pytest.mark.parametrize("tool", ["bootc 1.16.9", "rpm-ostree"])
def test_staged_over_a_queued_rollback(
    tool: str, make_node: MakeNode, run_playbook: RunPlaybook, base_image: str, v2: str, v3: str
) -> None:
    node = make_node("n1", versions=BOTH[tool])
    boot_into(node, v2)
    type_on(node, "bootc" if node.versions["bootc"] else "rpm-ostree", "rollback")
    stage(node, v3)
    run = run_playbook(play(rollback(staged="discard"), reboot(digest_of(base_image))))
    assert run.rc == 0, run.stdout
    assert run.result("back", "n1")["commands"] == [["ostree", "admin", "undeploy", "0"]]


def test_from_the_first_image_back_to_the_ostree_commit(
    make_node: MakeNode, run_playbook: RunPlaybook, v2: str
) -> None:
    node = make_node("n1", origin="ostree", versions=TOGETHER)
    boot_into(node, v2)
    info = {"name": "info", "imagemode.nodes.image_mode_info": {}}
    commit = run_playbook(play(info)).result("info", "n1")["host"]["rollback"]["checksum"]
    assert commit in failure(run_playbook(play(rollback(expected_checksum="0" * 64))))
    run = run_playbook(play(rollback(expected_checksum=commit), rollback("again", expected_checksum=commit), reboot()))
    assert run.rc == 0, run.stdout
    assert run.result("back", "n1")["commands"] == [["rpm-ostree", "rollback"]]
    assert run.result("again", "n1")["changed"] is False
    booted = run.result("reboot", "n1")["booted"]
    assert (booted["image"], booted["checksum"]) == (None, commit)


def test_without_rpm_ostree_there_is_no_way_back_to_an_ostree_commit(
    make_node: MakeNode, run_playbook: RunPlaybook, v2: str
) -> None:
    node = make_node("n1", origin="ostree", versions=BOTH["bootc 1.16.9"])
    boot_into(node, v2)
    assert "no rpm-ostree here" in failure(run_playbook(play(rollback())))
    assert changing(node) == []


def test_nothing_to_go_back_to(make_node: MakeNode, run_playbook: RunPlaybook) -> None:
    make_node("n1")
    assert "no rollback deployment" in failure(run_playbook(play(rollback())))


def test_a_pinned_deployment_must_be_named(
    make_node: MakeNode, run_playbook: RunPlaybook, base_image: str, v2: str
) -> None:
    node = make_node("n1", versions=BOTH["bootc 1.16.9"])
    type_on(node, "ostree", "admin", "pin", "booted")
    boot_into(node, v2)
    assert "is pinned" in failure(run_playbook(play(rollback())))
    run = run_playbook(play(rollback(expected_digests=[digest_of(base_image)])))
    assert run.result("back", "n1")["changed"] is True


def test_another_transaction_is_waited_for(make_node: MakeNode, run_playbook: RunPlaybook, v2: str) -> None:
    node = make_node("n1", versions=BOTH["rpm-ostree"])
    boot_into(node, v2)
    node.inject("lock-held", seconds=6)
    run = run_playbook(play(rollback(busy_timeout=60)))
    assert run.rc == 0, run.stdout
    node.inject("transaction-stuck")
    assert "ransaction in progress" in failure(run_playbook(play(rollback(state="unqueued", busy_timeout=2))))
    assert run_playbook(play(rollback())).result("back", "n1")["changed"] is False, "still queued, not toggled"


def test_two_at_once_do_not_undo_each_other(make_node: MakeNode, make_project: Any, v2: str) -> None:
    node = make_node("n1", versions=BOTH["bootc 1.16.9"])
    boot_into(node, v2)
    project = make_project()
    both = [project.start(play(rollback(), rollback("again"))) for _unused in range(2)]
    outputs = [process.communicate(timeout=180)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], "\n".join(outputs)
    assert len(changing(node)) % 2 == 1, "given in the same moment, they undo each other, and are given again"


def test_on_the_node_itself_with_async(make_node: MakeNode, run_playbook: RunPlaybook, v2: str) -> None:
    node = make_node("n1", python=True)
    boot_into(node, v2)
    run = run_playbook(play({**rollback(), "async": 60, "poll": 1}))
    assert run.rc == 0, run.stdout
    assert run.results("back", "n1")[-1]["reboot_required"] is True
