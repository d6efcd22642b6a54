# SPDX-License-Identifier: GPL-3.0-or-later
"""What bootc and rpm-ostree do that nobody expects, and what a task makes of it: each was recorded from the real tools."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest
from by_hand import on, restart
from journal import count, tools
from lab import images
from lab.fixtures import MakeNode, RunPlaybook
from lab.playbook_run import PlaybookRun
from lab.registry import Registry

BOTH: dict[str, str | None] = {"bootc": "1.16.9", "rpm-ostree": "2026.2"}
HOSTS: dict[str, dict[str, str | None]] = {
    "bootc": {"bootc": "1.16.9", "rpm-ostree": None},
    "bootc 1.1.6": {"bootc": "1.1.6", "rpm-ostree": None},
    "rpm-ostree": {"bootc": None, "rpm-ostree": "2026.2"},
    "rpm-ostree 2024.6": {"bootc": None, "rpm-ostree": "2024.6"},
}
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture(scope="module")
def v2(registry: Registry) -> str:
    return images.build_base(registry.address, name="traps", tag="v2", version="2.0")


def digest_of(image: str) -> str:
    return image.partition("@")[2]


def tag_of(image: str, tag: str) -> str:
    return f"{image.partition('@')[0]}:{tag}"


def push_manifest(image: str, tag: str, **annotations: str) -> str:
    """Let a tag of the image's repository point to its manifest, with annotations to another one of the same config.

    The image by the digest of what was pushed.
    """
    repository, _at, digest = image.partition("@")
    address, name = repository.split("/", 1)
    url = f"http://{address}/v2/{name}/manifests"
    with urllib.request.urlopen(urllib.request.Request(f"{url}/{digest}", headers={"Accept": MANIFEST})) as response:
        body = response.read()
    if annotations:
        body = json.dumps({**json.loads(body), "annotations": annotations}).encode()
    request = urllib.request.Request(f"{url}/{tag}", body, {"Content-Type": MANIFEST}, method="PUT")
    with urllib.request.urlopen(request) as response:
        return f"{repository}@{response.headers['Docker-Content-Digest']}"


def stage(image: str, *digests: str, name: str = "stage", **options: Any) -> dict[str, Any]:
    return {"name": name, "imagemode.nodes.image_stage": {"image": image, "expected_digests": list(digests), **options}}


def reboot(*digests: str) -> dict[str, Any]:
    return {"name": "reboot", "imagemode.nodes.node_reboot": {"expected_digests": list(digests)}}


def play(*tasks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"hosts": "workers", "gather_facts": False, "tasks": list(tasks)}]


def failure(run: PlaybookRun, name: str = "stage") -> str:
    result = run.result(name, "n1")
    assert result["event"] == "runner_on_failed", run.stdout
    assert "Traceback" not in run.stdout
    return str(result["msg"])


# content that a tool does not see


@pytest.mark.parametrize("host", HOSTS)
def test_the_same_content_pushed_again_is_never_waited_for(
    host: str, make_node: MakeNode, run_playbook: RunPlaybook, v2: str
) -> None:
    """Under a tag that the host follows neither tool ever picks it up: one try, a way out, no loop. By its digest it works."""
    name = f"again-{host.replace(' ', '-')}"
    tag = tag_of(push_manifest(v2, name), name)
    node = make_node("n1", image=tag, versions=HOSTS[host])
    again = push_manifest(v2, name, pushed="again")
    assert digest_of(again) != digest_of(v2)
    for _attempt in range(2):
        before = len(tools(node))
        run = run_playbook(play(stage(tag, digest_of(again))))
        message = failure(run)
        assert "name the image by its digest" in message
        assert "Nothing on the node was changed" in message
        assert run.result("stage", "n1")["changed"] is False
        assert sum("upgrade" in call for call in tools(node)[before:]) == 1
    run = run_playbook(
        play(stage(again, digest_of(again)), reboot(digest_of(again)), stage(again, digest_of(again), name="again"))
    )
    assert run.rc == 0, run.stdout
    assert run.result("reboot", "n1")["booted"]["digest"] == digest_of(again)
    assert run.result("again", "n1")["changed"] is False


@pytest.mark.parametrize("host", HOSTS)
def test_an_update_that_was_lost_on_the_way_down_is_staged_again(
    host: str, make_node: MakeNode, run_playbook: RunPlaybook, v2: str
) -> None:
    """bootc's own check finds nothing then: it compares with the last pulled image."""
    name = f"lost-{host.replace(' ', '-')}"
    first = images.build_base(v2.partition("/")[0], name="traps", tag=name, version="1.0")
    tag = tag_of(first, name)
    node = make_node("n1", image=tag, versions=HOSTS[host])
    push_manifest(v2, name)
    node.inject("power-cut")
    run = run_playbook(play(stage(tag, digest_of(v2)), reboot(digest_of(v2))))
    message = failure(run, "reboot")
    assert "was not finalized at shutdown" in message
    run = run_playbook(play(stage(tag, digest_of(v2)), reboot(digest_of(v2))))
    assert run.rc == 0, run.stdout
    assert (run.result("stage", "n1")["changed"], run.result("reboot", "n1")["booted"]["digest"]) == (
        True,
        digest_of(v2),
    )


# failures that leave something behind


def test_an_image_whose_bound_images_cannot_be_had_is_never_left_staged(
    make_node: MakeNode, run_playbook: RunPlaybook, registry: Registry
) -> None:
    """bootc stages first and pulls them then: exit 1, and the right digest would boot without its containers."""
    files = {"/usr/lib/bootc/bound-images.d/app.container": "[Container]\nImage=registry.invalid/app:1\n"}
    image = images.build_base(registry.address, name="traps", tag="bound", version="5.0", extra_files=files)
    node = make_node("n1", versions=BOTH)
    for _attempt in range(2):
        run = run_playbook(play(stage(image, digest_of(image))))
        message = failure(run)
        assert "app.container" in message
        assert "discarded again" in message
        assert run.result("stage", "n1")["reboot_required"] is False
    restart(node)
    assert "1.0" in on(node, "cat /etc/os-release")


def test_old_images_that_cannot_be_removed_are_a_warning(
    make_node: MakeNode, run_playbook: RunPlaybook, v2: str
) -> None:
    node = make_node("n1", versions=HOSTS["bootc"])
    node.inject("podman-prune-fails")
    run = run_playbook(play(stage(v2, digest_of(v2)), reboot(digest_of(v2))))
    assert run.rc == 0, run.stdout
    assert any("Pruning images" in warning for warning in run.result("stage", "n1")["warnings"])


@pytest.mark.parametrize("host", ["bootc", "bootc 1.1.6", "rpm-ostree"])
def test_a_full_disk(host: str, make_node: MakeNode, run_playbook: RunPlaybook, v2: str) -> None:
    node = make_node("n1", versions=HOSTS[host])
    node.inject("disk-full")
    message = failure(run_playbook(play(stage(v2, digest_of(v2)))))
    assert "disk is too full" in message
    assert "Nothing on the node was changed" in message
    assert "\x1b" not in message
    node.clear("disk-full")
    assert run_playbook(play(stage(v2, digest_of(v2)), reboot(digest_of(v2)))).rc == 0


@pytest.mark.parametrize("host", ["bootc", "bootc 1.1.6", "rpm-ostree 2024.6"])
def test_a_registry_that_stalls_is_given_up_and_tried_again(
    host: str, make_node: MakeNode, run_playbook: RunPlaybook, v2: str
) -> None:
    node = make_node("n1", versions=HOSTS[host])
    node.inject("registry-stalls")
    run = run_playbook(play(stage(v2, digest_of(v2), stage_timeout=3)))
    assert "was stopped after 3 s (stage_timeout)" in failure(run)
    node.clear("registry-stalls")
    assert run_playbook(play(stage(v2, digest_of(v2)), reboot(digest_of(v2)))).rc == 0


@pytest.mark.parametrize("host", HOSTS)
def test_a_policy_that_enforces_nothing_is_refused_in_plain_words(
    host: str, make_node: MakeNode, run_playbook: RunPlaybook, v2: str
) -> None:
    """The tools look at the default only; a rule for this very repository beside a permissive default does not count."""
    node = make_node("n1", versions=HOSTS[host])
    accept = [{"type": "insecureAcceptAnything"}]
    scoped = {"default": accept, "transports": {"docker": {v2.partition("@")[0]: [{"type": "reject"}]}}}
    on(node, f"printf '%s' '{json.dumps(scoped)}' > /etc/containers/policy.json")
    message = failure(run_playbook(play(stage(v2, digest_of(v2), signature_policy="policy"))))
    assert "whose default is not insecureAcceptAnything" in message
    assert "Nothing on the node was changed" in message
    assert "\x1b" not in message
    # Without the flag the scoped rule does hold.
    assert "rejected by policy" in failure(run_playbook(play(stage(v2, digest_of(v2)))))


def test_who_else_updates_the_node_is_named(make_node: MakeNode, run_playbook: RunPlaybook, v2: str) -> None:
    """bootc's timer ends in `--apply`: it reboots the node at any time, into whatever it found."""
    node = make_node("n1", versions=HOSTS["bootc"])
    on(node, "systemctl start bootc-fetch-apply-updates.timer")
    warnings = run_playbook(play(stage(v2, digest_of(v2)))).result("stage", "n1")["warnings"]
    assert any("systemctl disable --now bootc-fetch-apply-updates.timer" in warning for warning in warnings)


# order of boots


@pytest.mark.parametrize("host", ["bootc", "rpm-ostree"])
def test_an_image_is_staged_over_a_queued_rollback_and_boots(
    host: str, make_node: MakeNode, run_playbook: RunPlaybook, registry: Registry, v2: str
) -> None:
    third = images.build_base(registry.address, name="traps", tag="v3", version="3.0")
    node = make_node("n1", versions=HOSTS[host])
    assert run_playbook(play(stage(v2, digest_of(v2)), reboot(digest_of(v2)))).rc == 0
    on(node, f"{host} rollback")
    run = run_playbook(play(stage(third, digest_of(third)), reboot(digest_of(third))))
    assert run.rc == 0, run.stdout
    assert run.result("reboot", "n1")["booted"]["digest"] == digest_of(third)
    again = run_playbook(play(stage(third, digest_of(third)))).result("stage", "n1")
    assert (again["changed"], again["reboot_required"]) == (False, False)


def test_a_queued_rollback_to_a_plain_commit_is_taken_back(
    make_node: MakeNode, run_playbook: RunPlaybook, v2: str
) -> None:
    """bootc would refuse: its rollback knows images only."""
    node = make_node("n1", versions=BOTH, origin="ostree")
    assert run_playbook(play(stage(v2, digest_of(v2)), reboot(digest_of(v2)))).rc == 0
    on(node, "rpm-ostree rollback")
    run = run_playbook(play(stage(v2, digest_of(v2))))
    assert run.rc == 0, run.stdout
    result = run.result("stage", "n1")
    assert (result["commands"], result["reboot_required"]) == ([["rpm-ostree", "rollback"]], False)


# what differs from the image


def test_what_was_applied_live_and_discarded_is_said(
    make_node: MakeNode, run_playbook: RunPlaybook, base_image: str
) -> None:
    """bootc calls such a host clean; the package stays in /usr until the next reboot."""
    node = make_node("n1", versions=BOTH, repository={"htop": ["3.2-1"]})
    on(node, "rpm-ostree install --apply-live htop && rpm-ostree cleanup -p")
    wanted = stage(base_image, digest_of(base_image))
    run = run_playbook(play(wanted, reboot(digest_of(base_image))))
    assert run.rc == 0, run.stdout
    for name, said in (("stage", "applied live"), ("reboot", "/usr is unlocked (transient)")):
        result = run.result(name, "n1")
        assert result["changed"] is False
        assert any(said in warning for warning in result["warnings"]), result["warnings"]
    restart(node)
    assert run_playbook(play(wanted)).result("stage", "n1").get("warnings", []) == []


@pytest.mark.parametrize(("version", "repeats"), [("1.1.6", True), ("1.16.9", False)])
def test_arguments_that_an_old_bootc_repeats_are_named(
    version: str, repeats: bool, make_node: MakeNode, run_playbook: RunPlaybook, registry: Registry
) -> None:
    first = images.build_base(
        registry.address, name="traps", tag="kargs", version="1.0", kargs_d={"10.toml": ["lab.one=1", "lab.two=2"]}
    )
    make_node("n1", image=first, versions={"bootc": version, "rpm-ostree": None})
    bare = images.build_base(registry.address, name="traps", tag="bare", version="2.0", kargs_directory=False)
    result = run_playbook(play(stage(bare, digest_of(bare)))).result("stage", "n1")
    said = [warning for warning in result.get("warnings", []) if "more than once: lab.one=1 lab.two=2" in warning]
    assert (result["changed"], len(said)) == (True, 1 if repeats else 0), result


def test_a_composefs_host_is_served_though_bootc_says_no_word_of_success(
    make_node: MakeNode, run_playbook: RunPlaybook, v2: str
) -> None:
    node = make_node("n1", backend="composefs")
    run = run_playbook(play(stage(v2, digest_of(v2)), reboot(digest_of(v2)), stage(v2, digest_of(v2), name="again")))
    assert run.rc == 0, run.stdout
    assert [run.result(name, "n1")["changed"] for name in ("stage", "reboot", "again")] == [True, True, False]
    assert count(node, "boot") == 2
