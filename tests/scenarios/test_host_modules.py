# SPDX-License-Identifier: GPL-3.0-or-later
"""image_mode_info, bootc_switch and node_reboot on lab nodes: the ordinary ways, then everything that goes wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from journal import count, tools
from lab import images
from lab.fixtures import MakeNode, RunPlaybook
from lab.playbook_run import PlaybookRun
from lab.registry import Registry

VERSIONS = ["1.16.9", "1.1.6"]


@pytest.fixture(scope="module")
def v2(registry: Registry) -> str:
    """A second image, pinned by digest."""
    return images.build_base(registry.address, tag="v2", version="2.0", kargs_d={"10-v2.toml": ["v2=1"]})


def digest_of(image: str) -> str:
    return image.partition("@")[2]


def tag_of(image: str, tag: str) -> str:
    return f"{image.partition('@')[0]}:{tag}"


def task(name: str, module: str, **options: Any) -> dict[str, Any]:
    return {"name": name, f"imagemode.nodes.{module}": options}


def stage(image: str, **options: Any) -> dict[str, Any]:
    return task("stage", "bootc_switch", image=image, **options)


def play(*tasks: dict[str, Any], **keywords: Any) -> list[dict[str, Any]]:
    return [{"hosts": "workers", "gather_facts": False, "tasks": list(tasks), **keywords}]


def failure(run: PlaybookRun, name: str, host: str = "n1") -> str:
    result = run.result(name, host)
    assert result["event"] == "runner_on_failed", run.stdout
    assert "Traceback" not in run.stdout
    return str(result["msg"])


def update(image: str, *, names: Sequence[str] = ("stage", "reboot")) -> list[dict[str, Any]]:
    expected = [digest_of(image)]
    return [
        task(names[0], "bootc_switch", image=image, expected_digests=expected),
        task(names[1], "node_reboot", expected_digests=expected),
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_update_and_its_repetition(version: str, make_node: MakeNode, run_playbook: RunPlaybook, v2: str) -> None:
    node = make_node("n1", versions={"bootc": version, "rpm-ostree": None})
    run = run_playbook(play(*update(v2), *update(v2, names=("stage again", "reboot again"))))
    assert run.rc == 0, run.stdout
    staged, rebooted = run.result("stage", "n1"), run.result("reboot", "n1")
    assert (staged["changed"], staged["digest"], staged["reboot_required"]) == (True, digest_of(v2), True)
    assert (rebooted["changed"], rebooted["booted"]["digest"]) == (True, digest_of(v2))
    assert rebooted["boot_id_before"] != rebooted["boot_id_after"]
    assert "v2=1" in rebooted["after"]["kargs"]["booted"]
    for again in ("stage again", "reboot again"):
        result = run.result(again, "n1")
        assert (result["changed"], result["reboot_required"], result["commands"]) == (False, False, [])
    assert (count(node, "boot"), count(node, "pull")) == (2, 2)


@pytest.mark.parametrize("version", VERSIONS)
def test_check_mode_predicts_and_touches_nothing(
    version: str, make_node: MakeNode, run_playbook: RunPlaybook, v2: str
) -> None:
    node = make_node("n1", versions={"bootc": version, "rpm-ostree": None})
    predicted = run_playbook(play(*update(v2)[:1]), arguments=["--check", "--diff"]).result("stage", "n1")
    assert tools(node) == ["bootc status --json"]
    real = run_playbook(play(*update(v2)[:1]), arguments=["--diff"]).result("stage", "n1")
    for key in ("changed", "digest", "reboot_required", "reboot_kind", "commands", "diff", "before"):
        assert predicted[key] == real[key], key
    rebooting = run_playbook(play(*update(v2)[1:]), arguments=["--check"]).result("reboot", "n1")
    assert (rebooting["changed"], rebooting["booted"]["digest"], count(node, "boot")) == (True, digest_of(v2), 1)


def test_a_no_op_is_one_tool_in_one_round_trip(make_node: MakeNode, run_playbook: RunPlaybook, base_image: str) -> None:
    node = make_node("n1")
    result = run_playbook(play(stage(base_image, expected_digests=[digest_of(base_image)]))).result("stage", "n1")
    assert result["changed"] is False
    assert tools(node) == ["bootc status --json"]
    assert count(node, "exec") == 1


def test_a_moved_tag_is_followed_by_its_digest(
    make_node: MakeNode, run_playbook: RunPlaybook, registry: Registry
) -> None:
    first = images.build_base(registry.address, name="moving", tag="stable", version="1")
    tag = tag_of(first, "stable")
    node = make_node("n1", image=tag)
    second = images.build_base(registry.address, name="moving", tag="stable", version="2")
    run = run_playbook(play(stage(tag)))
    assert run.result("stage", "n1")["changed"] is False, "without a digest nobody asks the registry"
    result = run_playbook(play(stage(tag, expected_digests=[digest_of(second)]))).result("stage", "n1")
    assert (result["changed"], result["digest"]) == (True, digest_of(second))
    assert result["commands"] == [["bootc", "upgrade"]]
    assert any(call.startswith("bootc upgrade ") for call in tools(node))


def test_staged_by_mistake_and_taken_back_without_a_reboot(
    make_node: MakeNode, run_playbook: RunPlaybook, base_image: str, v2: str
) -> None:
    node = make_node("n1")
    result = run_playbook(play(stage(v2), task("back", "bootc_switch", image=base_image))).result("back", "n1")
    assert (result["changed"], result["reboot_required"]) == (True, False)
    assert result["commands"] == [["ostree", "admin", "undeploy", "0"]]
    assert count(node, "pull") == 2, "the base at creation and v2, nothing for going back"


def test_information_about_every_kind_of_host(make_node: MakeNode, run_playbook: RunPlaybook) -> None:
    make_node("n1")
    make_node("n2", versions={"bootc": None, "rpm-ostree": "2026.2"})
    make_node("n3", versions={"bootc": "1.16.9", "rpm-ostree": None}, origin="ostree")
    make_node("n4", versions={"bootc": None, "rpm-ostree": None})
    make_node("n5", versions={"bootc": None, "rpm-ostree": "2026.2"}, origin="none")
    make_node("n6", versions={"bootc": "1.1.6", "rpm-ostree": "2026.2"}, origin="none")
    run = run_playbook(play(task("info", "image_mode_info")))
    assert run.rc == 0, run.stdout
    host = {name: run.result("info", name)["host"] for name in ("n1", "n2", "n3", "n4", "n5", "n6")}
    assert {name: view["tool"] for name, view in host.items()} == {
        "n1": "bootc",
        "n2": "rpm-ostree",
        "n3": "bootc",
        "n4": None,
        "n5": None,
        "n6": None,
    }
    assert host["n1"]["booted"]["digest"] == host["n2"]["booted"]["digest"]
    assert host["n3"]["booted"]["image"] is None
    assert [host[name]["image_mode"] for name in ("n4", "n5", "n6")] == [False, False, False]
    assert all(view.keys() == host["n1"].keys() for view in host.values())


FAILURES: dict[str, tuple[str, dict[str, Any], str]] = {
    "an image that does not exist": ("os:typo", {}, "check repository and tag for a typo"),
    "a reference that is none": ("OS:v2", {}, "is not an image reference"),
    "a digest that is not the expected one": ("os:v2", {"expected_digests": ["sha256:" + "0" * 64]}, "discarded again"),
    "a signature policy that nobody set up": ("os:v2", {"signature_policy": "policy"}, "policy.json"),
}


@pytest.mark.usefixtures("v2")
@pytest.mark.parametrize("mistake", FAILURES)
def test_a_mistake_is_said_and_nothing_is_lost(
    mistake: str, make_node: MakeNode, run_playbook: RunPlaybook, registry: Registry
) -> None:
    name, options, said = FAILURES[mistake]
    make_node("n1")
    run = run_playbook(play(stage(f"{registry.address}/{name}", **options)))
    assert said in failure(run, "stage")
    after = run_playbook(play(task("info", "image_mode_info"))).result("info", "n1")["host"]
    assert (after["next"], after["staged"], after["reboot_required"]) == ("booted", None, False)


def test_wrong_credentials(make_node: MakeNode, run_playbook: RunPlaybook, tmp_path: Any) -> None:
    make_node("n1")
    with Registry.start(tmp_path / "private", username="fleet", password="secret") as private:
        images.build_base(private.address, username="fleet", password="secret")
        run = run_playbook(play(stage(f"{private.address}/os:base")))
        assert "/etc/ostree/auth.json" in failure(run, "stage")


def test_a_registry_that_is_down(make_node: MakeNode, run_playbook: RunPlaybook, tmp_path: Any) -> None:
    make_node("n1")
    with Registry.start(tmp_path / "short-lived") as lost:
        address = lost.address
    message = failure(run_playbook(play(stage(f"{address}/os:base"))), "stage")
    assert "Nothing on the node was changed" in message


def test_a_registry_that_stalls_meets_a_deadline(make_node: MakeNode, run_playbook: RunPlaybook, v2: str) -> None:
    node = make_node("n1")
    node.inject("registry-stalls")
    message = failure(run_playbook(play(stage(v2, stage_timeout=2))), "stage")
    assert "was stopped after 2 s (stage_timeout)" in message
    node.clear("registry-stalls")
    assert run_playbook(play(stage(v2))).result("stage", "n1")["changed"] is True


def test_a_full_disk(make_node: MakeNode, run_playbook: RunPlaybook, v2: str) -> None:
    make_node("n1").inject("disk-full")
    assert "disk is too full" in failure(run_playbook(play(stage(v2))), "stage")


def test_layered_packages_are_named_and_kept(make_node: MakeNode, run_playbook: RunPlaybook, v2: str) -> None:
    node = make_node("n1", versions={"bootc": "1.16.9", "rpm-ostree": "2026.2"})
    node.inject("layered-packages", packages=["htop", "tmux"])
    assert "layered packages htop, tmux" in failure(run_playbook(play(stage(v2))), "stage")
    assert "bootc switch" not in " ".join(tools(node))
    result = run_playbook(play(stage(v2, local_changes="discard"))).result("stage", "n1")
    assert (result["changed"], result["digest"]) == (True, digest_of(v2))


def test_another_transaction_is_waited_for_and_named(
    make_node: MakeNode, run_playbook: RunPlaybook, base_image: str
) -> None:
    node = make_node("n1", versions={"bootc": "1.16.9", "rpm-ostree": "2026.2"})
    node.inject("transaction-stuck")
    run = run_playbook(play(stage(base_image, busy_timeout=2)))
    assert "an rpm-ostree transaction" in failure(run, "stage")
    assert "rpm-ostree cancel" in run.stdout


@pytest.mark.parametrize("bootc", VERSIONS)
def test_a_lock_that_is_given_back_in_time_is_no_failure(
    bootc: str, make_node: MakeNode, run_playbook: RunPlaybook, base_image: str
) -> None:
    """bootc 1.1.6 says on standard output that it waits, in front of its JSON."""
    make_node("n1", versions={"bootc": bootc, "rpm-ostree": None}).inject("lock-held", seconds=2)
    assert run_playbook(play(stage(base_image))).result("stage", "n1")["changed"] is False


def test_a_host_that_is_not_image_mode(make_node: MakeNode, run_playbook: RunPlaybook, base_image: str) -> None:
    make_node("n1", versions={"bootc": None, "rpm-ostree": None})
    assert "no bootc on its PATH" in failure(run_playbook(play(stage(base_image))), "stage")


def test_a_lost_connection_can_be_rescued(make_node: MakeNode, run_playbook: RunPlaybook, base_image: str) -> None:
    make_node("n1").inject("unreachable")
    block = {
        "block": [stage(base_image)],
        "rescue": [
            {"name": "rescued", "ansible.builtin.debug": {"msg": "{{ ansible_failed_result.unreachable_host }}"}}
        ],
    }
    run = run_playbook(play(block))
    assert run.rc == 0, run.stdout
    assert run.result("rescued", "n1")["msg"] in (True, "True")
    assert run.recap("n1")["unreachable"] == 0


def test_a_connection_that_drops_does_not_end_the_staging(
    make_node: MakeNode, run_playbook: RunPlaybook, v2: str
) -> None:
    node = make_node("n1")
    node.inject("slow-pull", seconds=3)
    node.inject("connection-drops", seconds=1, times=1)
    run = run_playbook(play(stage(v2)))
    assert run.result("stage", "n1")["digest"] == digest_of(v2)
    assert "connection-drops" not in node.faults, "it has struck"
    assert sum(call.startswith("bootc switch") for call in tools(node)) == 1
    assert run_playbook(play(*update(v2))).rc == 0
    assert count(node, "boot") == 2


REBOOTS: dict[str, tuple[str, str]] = {
    "boot-hangs": ("boot-hangs", "did not come back within"),
    "boots-old-deployment": ("boots-old-deployment", "the boot loader fell back"),
    "power-cut": ("power-cut", "was not finalized at shutdown"),
    "reboot-ignored": ("reboot-ignored", "still answers in the old boot"),
    "reboot-inhibited": ("reboot-inhibited", "kept from going down by backup"),
}


@pytest.mark.parametrize("fault", REBOOTS)
def test_a_reboot_that_goes_wrong_is_told_and_can_be_tried_again(
    fault: str, make_node: MakeNode, run_playbook: RunPlaybook, v2: str
) -> None:
    name, said = REBOOTS[fault]
    node = make_node("n1")
    node.inject(name)
    expected = [digest_of(v2)]
    reboot = task("reboot", "node_reboot", expected_digests=expected, reboot_timeout=8)
    run = run_playbook(play(stage(v2), reboot))
    assert said in failure(run, "reboot")
    if fault in node.faults:
        node.clear(name)
    if not node.is_up():
        node.boot()
    again = run_playbook(play(*update(v2)))
    assert again.rc == 0, again.stdout
    assert again.result("reboot", "n1")["booted"]["digest"] == digest_of(v2)


def test_a_user_without_rights_becomes_root(make_node: MakeNode, run_playbook: RunPlaybook, v2: str) -> None:
    make_node("n1")
    refused = run_playbook(play(stage(v2), remote_user="core"))
    assert "set become: true" in failure(refused, "stage")
    run = run_playbook(play(*update(v2), remote_user="core", become=True))
    assert run.rc == 0, run.stdout
    assert run.result("reboot", "n1")["booted"]["digest"] == digest_of(v2)


@pytest.mark.parametrize("option", ["busy_timeout", "stage_timeout"])
def test_a_deadline_must_leave_time(option: str, make_node: MakeNode, run_playbook: RunPlaybook, v2: str) -> None:
    node = make_node("n1")
    assert f"{option} is 0" in failure(run_playbook(play(stage(v2, **{option: 0}))), "stage")
    assert tools(node) == []


def test_async_needs_python_and_says_so(make_node: MakeNode, run_playbook: RunPlaybook, base_image: str) -> None:
    make_node("n1")
    run = run_playbook(play({**stage(base_image), "async": 60, "poll": 1}))
    assert "has no Python" in failure(run, "stage")


def test_async_works_where_there_is_python(make_node: MakeNode, run_playbook: RunPlaybook, v2: str) -> None:
    make_node("n1", python=True)
    run = run_playbook(play({**stage(v2, expected_digests=[digest_of(v2)]), "async": 60, "poll": 1}))
    assert run.rc == 0, run.stdout
    final = run.results("stage", "n1")[-1]
    assert (final["changed"], final["digest"]) == (True, digest_of(v2))


def test_two_controllers_reboot_a_node_once(make_node: MakeNode, make_project: Any, v2: str) -> None:
    node = make_node("n1", boot_seconds=3)
    project = make_project()
    assert project.run(play(*update(v2)[:1])).rc == 0
    both = [project.start(play(*update(v2)[1:])) for _unused in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], "\n".join(outputs)
    assert count(node, "boot") == 2


def test_results_hold_no_surprises(make_node: MakeNode, run_playbook: RunPlaybook, v2: str) -> None:
    make_node("n1")
    result = run_playbook(play(stage(v2))).result("stage", "n1")
    documented = {"before", "after", "reboot_required", "reboot_kind", "commands", "digest", "tool"}
    documented |= {"changed", "diff", "msg"}
    ansible_adds = {"node", "task", "event", "_ansible_no_log", "_ansible_parsed", "warnings", "deprecations"}
    assert documented <= result.keys() <= documented | ansible_adds
    assert json.loads(json.dumps(result["before"])) == result["before"]
