# SPDX-License-Identifier: GPL-3.0-or-later
"""node_reboot where userspace alone could be restarted, where it was by accident, and where somebody inhibits it."""

from __future__ import annotations

import subprocess
import time
from typing import Any

import pytest
from journal import count
from lab import enter, images
from lab.fixtures import MakeNode, RunPlaybook
from lab.node import Node
from lab.playbook_run import PlaybookRun
from lab.registry import Registry


@pytest.fixture(scope="module")
def v2(registry: Registry) -> str:
    """Differs from the base image in nothing that a running kernel has."""
    return images.build_base(registry.address, tag="soft-v2", version="2.0")


@pytest.fixture(scope="module")
def other_arguments(registry: Registry) -> str:
    """Has a kernel argument of its own, so that it cannot be reached softly."""
    return images.build_base(registry.address, tag="hard", version="3.0", kargs_d={"10-hard.toml": ["hard=1"]})


def digest_of(image: str) -> str:
    return image.partition("@")[2]


def type_on(node: Node, *argv: str) -> str:
    done = subprocess.run(enter.command(node, argv), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def soft_boots(node: Node) -> int:
    return count(node, "soft-boot")


def wait_for_soft_boot(node: Node, number: int) -> None:
    deadline = time.monotonic() + 60
    while not (node.is_up() and soft_boots(node) >= number):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def reboot(image: str, **options: Any) -> dict[str, Any]:
    return {"name": "reboot", "imagemode.nodes.node_reboot": {"expected_digests": [digest_of(image)], **options}}


def play(*tasks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"hosts": "workers", "gather_facts": False, "tasks": list(tasks)}]


def failure(run: PlaybookRun) -> str:
    result = run.result("reboot", "n1")
    assert result["event"] == "runner_on_failed", run.stdout
    return str(result["msg"])


@pytest.mark.parametrize("soft", ["auto", "required"])
def test_a_soft_reboot(soft: str, make_node: MakeNode, run_playbook: RunPlaybook, v2: str) -> None:
    node = make_node("n1", composefs=True)
    type_on(node, "bootc", "switch", v2)
    boot_id = node.boot_id
    run = run_playbook(play(reboot(v2, soft=soft)))
    assert run.rc == 0, run.stdout
    result = run.result("reboot", "n1")
    assert (result["changed"], result["rebooted"], result["usr_proven"]) == (True, "soft", True)
    assert (result["boot_id_before"], result["boot_id_after"], node.boot_id) == (boot_id, boot_id, boot_id)
    assert result["booted"]["digest"] == digest_of(v2)
    assert (soft_boots(node), count(node, "boot")) == (1, 1)


def test_never_soft_unless_asked(make_node: MakeNode, run_playbook: RunPlaybook, v2: str) -> None:
    node = make_node("n1", composefs=True)
    type_on(node, "bootc", "switch", v2)
    result = run_playbook(play(reboot(v2))).result("reboot", "n1")
    assert (result["rebooted"], result["usr_proven"], soft_boots(node)) == ("full", True, 0)


def test_a_root_that_somebody_prepared_does_not_make_it_hang(
    make_node: MakeNode, run_playbook: RunPlaybook, v2: str
) -> None:
    node = make_node("n1", composefs=True)
    type_on(node, "bootc", "switch", "--soft-reboot=required", v2)
    run = run_playbook(play(reboot(v2, reboot_timeout=60)))
    assert run.rc == 0, run.stdout
    result = run.result("reboot", "n1")
    assert (result["rebooted"], soft_boots(node), count(node, "boot")) == ("full", 0, 2)
    assert result["boot_id_before"] != result["boot_id_after"]


def test_not_twice_in_one_boot(make_node: MakeNode, run_playbook: RunPlaybook, base_image: str, v2: str) -> None:
    node = make_node("n1", composefs=True)
    type_on(node, "bootc", "switch", v2)
    assert run_playbook(play(reboot(v2, soft="auto"))).result("reboot", "n1")["rebooted"] == "soft"
    type_on(node, "bootc", "rollback")
    assert "soft reboot already" in failure(run_playbook(play(reboot(base_image, soft="required"))))
    result = run_playbook(play(reboot(base_image, soft="auto"))).result("reboot", "n1")
    assert (result["rebooted"], result["booted"]["digest"]) == ("full", digest_of(base_image))


def test_a_second_one_by_hand_is_found_out_by_the_content_of_usr(
    make_node: MakeNode, run_playbook: RunPlaybook, v2: str
) -> None:
    node = make_node("n1", composefs=True)
    type_on(node, "bootc", "switch", "--soft-reboot=required", v2)
    type_on(node, "systemctl", "soft-reboot")
    wait_for_soft_boot(node, 1)
    type_on(node, "bootc", "rollback", "--soft-reboot=required")
    type_on(node, "systemctl", "soft-reboot")
    wait_for_soft_boot(node, 2)
    # Both tools claim that v2 runs and the rollback is queued; nothing of v2 is mounted any more.
    type_on(node, "bootc", "rollback")
    assert "/usr is not that of its deployment" in failure(run_playbook(play(reboot(v2))))


@pytest.mark.parametrize("composefs", [False, True])
def test_where_it_cannot_be_done(
    composefs: bool, make_node: MakeNode, run_playbook: RunPlaybook, v2: str, other_arguments: str
) -> None:
    node = make_node("n1", composefs=composefs)
    image = other_arguments if composefs else v2
    type_on(node, "bootc", "switch", image)
    said = "not soft-reboot capable" if composefs else "no composefs"
    assert said in failure(run_playbook(play(reboot(image, soft="required"))))
    run = run_playbook(play(reboot(image, soft="auto")))
    assert run.rc == 0, run.stdout
    assert (run.result("reboot", "n1")["rebooted"], soft_boots(node)) == ("full", 0)


def test_on_a_node_with_rpm_ostree_alone(make_node: MakeNode, run_playbook: RunPlaybook, v2: str) -> None:
    node = make_node("n1", composefs=True, versions={"bootc": None, "rpm-ostree": "2026.2"})
    type_on(node, "rpm-ostree", "rebase", f"ostree-unverified-registry:{v2}")
    result = run_playbook(play(reboot(v2, soft="auto"))).result("reboot", "n1")
    assert (result["rebooted"], result["usr_proven"]) == ("full", True)


def test_who_inhibits_is_named_and_can_be_waited_for_or_ignored(
    make_node: MakeNode, run_playbook: RunPlaybook, v2: str
) -> None:
    node = make_node("n1")
    type_on(node, "bootc", "switch", v2)
    node.inject("reboot-inhibited", who="backup")
    said = failure(run_playbook(play(reboot(v2))))
    assert "backup (process 812): backup is running" in said
    assert "inhibitors: ignore" in said
    assert "for 2 s" in failure(run_playbook(play(reboot(v2, inhibitors="wait", inhibitor_timeout=2))))
    assert count(node, "boot") == 1
    run = run_playbook(play(reboot(v2, inhibitors="ignore")))
    assert run.rc == 0, run.stdout
    assert count(node, "boot") == 2


def test_a_full_disk_at_shutdown_is_said_in_the_nodes_own_words(
    make_node: MakeNode, run_playbook: RunPlaybook, v2: str
) -> None:
    node = make_node("n1", versions={"bootc": "1.16.9", "rpm-ostree": "2026.2"})
    type_on(node, "bootc", "switch", v2)
    node.inject("disk-full", at_shutdown=True)
    said = failure(run_playbook(play(reboot(v2))))
    assert "was not finalized at shutdown" in said
    assert "No space left on device" in said
    assert "disk is too full" in said
