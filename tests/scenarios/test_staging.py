# SPDX-License-Identifier: GPL-3.0-or-later
"""One image, one command line, one reboot: the same on bootc hosts, on rpm-ostree hosts, and on hosts that have both."""

from __future__ import annotations

from typing import Any

import pytest
from journal import count, tools
from lab import images
from lab.fixtures import MakeNode, RunPlaybook
from lab.node import Node
from lab.playbook_run import PlaybookRun
from lab.registry import Registry

BOOTC: dict[str, str | None] = {"rpm-ostree": None}
RPM_OSTREE: dict[str, str | None] = {"bootc": None}
BOTH: dict[str, str | None] = {}
OLD_RPM_OSTREE: dict[str, str | None] = {"bootc": None, "rpm-ostree": "2024.6"}
HOSTS = {
    "bootc": BOOTC,
    "bootc 1.1.6": {"bootc": "1.1.6", "rpm-ostree": None},
    "rpm-ostree": RPM_OSTREE,
    "rpm-ostree 2024.6": OLD_RPM_OSTREE,
    "both": BOTH,
}


@pytest.fixture(scope="module")
def v1(registry: Registry) -> str:
    return images.build_base(registry.address, tag="s1", version="1.0", kargs_d={"10-os.toml": ["os=1", "both=1"]})


@pytest.fixture(scope="module")
def v2(registry: Registry) -> str:
    return images.build_base(registry.address, tag="s2", version="2.0", kargs_d={"10-os.toml": ["os=2", "both=1"]})


@pytest.fixture(scope="module")
def v3(registry: Registry) -> str:
    return images.build_base(registry.address, tag="s3", version="3.0", kargs_d={"10-os.toml": ["os=3"]})


def digest_of(image: str) -> str:
    return image.partition("@")[2]


def task(name: str, module: str, **options: Any) -> dict[str, Any]:
    return {"name": name, f"imagemode.nodes.{module}": options}


def stage(image: str, name: str = "stage", **options: Any) -> dict[str, Any]:
    return task(name, "image_stage", image=image, expected_digests=[digest_of(image)], **options)


def reboot(image: str, name: str = "reboot") -> dict[str, Any]:
    return task(name, "node_reboot", expected_digests=[digest_of(image)])


def play(*tasks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"hosts": "workers", "gather_facts": False, "tasks": list(tasks)}]


def on(node: Node, command: str) -> str:
    from lab import session

    done = session.run(node, command, stdin=b"")
    assert done.rc == 0, done.stderr
    return done.stdout.decode()


def words(node: Node) -> set[str]:
    """What the node runs with, but for the words of its boot loader."""
    return {word for word in on(node, "cat /proc/cmdline").split() if not word.startswith(("ostree=", "BOOT_IMAGE="))}


def failure(run: PlaybookRun, name: str) -> str:
    result = run.result(name, "n1")
    assert result["event"] == "runner_on_failed", run.stdout
    assert "Traceback" not in run.stdout
    return str(result["msg"])


@pytest.mark.parametrize("versions", HOSTS.values(), ids=list(HOSTS))
def test_one_image_gives_one_command_line_on_every_tool(
    versions: dict[str, str | None], make_node: MakeNode, run_playbook: RunPlaybook, v1: str, v2: str
) -> None:
    node = make_node("n1", image=v1, versions=versions)
    before = words(node)
    assert {"os=1", "both=1"} <= before
    run = run_playbook(play(stage(v2), reboot(v2), stage(v2, "again"), reboot(v2, "reboot again")))
    assert run.rc == 0, run.stdout
    assert words(node) == (before - {"os=1"}) | {"os=2"}
    result = run.result("stage", "n1")
    assert (result["changed"], result["digest"], result["reboot_required"]) == (True, digest_of(v2), True)
    for again in ("again", "reboot again"):
        assert (run.result(again, "n1")["changed"], run.result(again, "n1")["commands"]) == (False, [])
    assert count(node, "boot") == 2


@pytest.mark.parametrize("versions", [BOTH, RPM_OSTREE], ids=["bootc", "rpm-ostree"])
def test_image_and_arguments_boot_together(
    versions: dict[str, str | None], make_node: MakeNode, run_playbook: RunPlaybook, v1: str, v2: str
) -> None:
    node = make_node("n1", image=v1, versions=versions)
    wish = {"present": ["nosmt", 'dyndbg="file a +p"'], "absent": ["both"], "exact": {"console": ["tty0", "ttyS0"]}}
    wanted = stage(v2, kargs=wish)
    run = run_playbook(play(wanted, {**wanted, "name": "again"}, reboot(v2), {**wanted, "name": "booted"}))
    assert run.rc == 0, run.stdout
    assert [run.result(name, "n1")["changed"] for name in ("stage", "again", "booted")] == [True, False, False]
    line = on(node, "cat /proc/cmdline")
    assert 'nosmt dyndbg="file a +p" console=tty0 console=ttyS0' in line
    assert "both" not in line
    assert "os=2" in line
    assert count(node, "boot") == 2


@pytest.mark.parametrize("versions", [BOTH, RPM_OSTREE], ids=["bootc", "rpm-ostree"])
def test_arguments_that_somebody_else_staged_are_not_lost(
    versions: dict[str, str | None], make_node: MakeNode, run_playbook: RunPlaybook, v1: str, v2: str
) -> None:
    node = make_node("n1", image=v1, versions=versions)
    on(node, "rpm-ostree kargs --append=theirs=1 --delete=both=1")
    run = run_playbook(play(stage(v2), stage(v2, "again"), reboot(v2)))
    assert run.rc == 0, run.stdout
    assert run.result("again", "n1")["changed"] is False
    assert {"theirs=1", "os=2"} <= words(node)
    assert "both=1" not in words(node)


def test_arguments_survive_a_controller_that_dies_between_image_and_arguments(
    make_node: MakeNode, run_playbook: RunPlaybook, v1: str, v2: str, v3: str
) -> None:
    """The image is staged and the note is there, but nobody put the arguments on top."""
    node = make_node("n1", image=v1)
    on(node, f"bootc switch {v3}")
    note = "/run/imagemode/carried-arguments"
    on(node, f"bootc switch {v2} && mkdir -p /run/imagemode && printf '%s\\n+ theirs=1\\n' '{shown(v2)}' > {note}")
    run = run_playbook(play(stage(v2), stage(v2, "again"), reboot(v2)))
    assert run.rc == 0, run.stdout
    assert [run.result(name, "n1")["changed"] for name in ("stage", "again")] == [True, False]
    assert "theirs=1" in words(node)


def shown(image: str) -> str:
    repository, _at, digest = image.partition("@")
    return f"{repository} ({digest[:19]})"


def test_check_mode_predicts_image_and_arguments(
    make_node: MakeNode, run_playbook: RunPlaybook, v1: str, v2: str
) -> None:
    node = make_node("n1", image=v1, versions=RPM_OSTREE)
    predicted = run_playbook(play({**stage(v2, kargs={"present": ["nosmt"]}), "check_mode": True}))
    assert not any(call.startswith(("rpm-ostree rebase", "rpm-ostree kargs --")) for call in tools(node))
    result = predicted.result("stage", "n1")
    assert (result["changed"], result["reboot_required"], result["digest"]) == (True, True, digest_of(v2))
    assert result["commands"][0][:2] == ["rpm-ostree", "rebase"]
    assert result["commands"][1] == ["rpm-ostree", "kargs", "--append=nosmt", "--unchanged-exit-77"]


@pytest.mark.parametrize("versions", [BOTH, RPM_OSTREE], ids=["bootc", "rpm-ostree"])
def test_arguments_for_an_image_that_runs_already(
    versions: dict[str, str | None], make_node: MakeNode, run_playbook: RunPlaybook, v1: str
) -> None:
    node = make_node("n1", image=v1, versions=versions)
    wanted = stage(v1, kargs={"present": ["nosmt"]})
    run = run_playbook(play({**wanted, "name": "predicted", "check_mode": True}, wanted))
    assert run.rc == 0, run.stdout
    predicted, real = run.result("predicted", "n1"), run.result("stage", "n1")
    for key in ("changed", "reboot_required", "reboot_kind", "commands", "digest", "msg"):
        assert predicted[key] == real[key], key
    assert (real["changed"], real["reboot_required"], real["digest"]) == (True, True, digest_of(v1))
    assert "already booted" in real["msg"]
    assert "kernel arguments changed" in real["msg"]
    assert count(node, "pull") == 1


@pytest.mark.parametrize("versions", HOSTS.values(), ids=list(HOSTS))
def test_downloaded_then_staged_without_asking_the_registry(
    versions: dict[str, str | None], make_node: MakeNode, run_playbook: RunPlaybook, v1: str, v2: str
) -> None:
    node = make_node("n1", image=v1, versions=versions)
    run = run_playbook(play(stage(v2, "download", state="downloaded"), stage(v2, "again", state="downloaded")))
    assert run.rc == 0, run.stdout
    result = run.result("download", "n1")
    assert (result["changed"], result["digest"], result["reboot_required"]) == (True, digest_of(v2), False)
    assert result["after"]["staged"]["download_only"] is True
    assert run.result("again", "n1")["changed"] is False
    pulls = count(node, "pull")
    run = run_playbook(play(stage(v2), reboot(v2)))
    assert run.rc == 0, run.stdout
    commands = run.result("stage", "n1")["commands"]
    assert commands[0] == ["ostree", "admin", "lock-finalization", "--unlock"]
    assert all(argv[:2] == ["rpm-ostree", "kargs"] for argv in commands[1:]), (
        "rpm-ostree left the image's arguments out"
    )
    assert run.result("stage", "n1")["changed"] is True, "what boots next is another deployment now"
    assert count(node, "pull") == pulls
    assert "os=2" in words(node)


@pytest.mark.parametrize("versions", HOSTS.values(), ids=list(HOSTS))
def test_unstaged(
    versions: dict[str, str | None], make_node: MakeNode, run_playbook: RunPlaybook, v1: str, v2: str, v3: str
) -> None:
    node = make_node("n1", image=v1, versions=versions)
    other = task("other", "image_stage", image=v3, state="unstaged")
    gone = task("gone", "image_stage", state="unstaged")
    run = run_playbook(play(stage(v2), other, gone, {**gone, "name": "again"}))
    assert run.rc == 0, run.stdout
    assert [run.result(name, "n1")["changed"] for name in ("other", "gone", "again")] == [False, True, False]
    assert "left alone" in run.result("other", "n1")["msg"]
    assert run.result("gone", "n1")["reboot_required"] is False
    assert "os=1" in words(node)


def test_a_rebase_waits_for_a_transaction_and_for_the_lock(
    make_node: MakeNode, run_playbook: RunPlaybook, v1: str, v2: str
) -> None:
    node = make_node("n1", image=v1, versions=BOTH)
    node.inject("lock-held", seconds=8)
    run = run_playbook(play(task("stage", "rpmostree_rebase", image=v2, expected_digests=[digest_of(v2)])))
    assert run.rc == 0, run.stdout
    assert "waits: " in run.stdout


def test_a_busy_host_is_given_up_on_with_the_holder_named(
    make_node: MakeNode, run_playbook: RunPlaybook, v1: str, v2: str
) -> None:
    node = make_node("n1", image=v1, versions=BOTH)
    node.inject("lock-held", seconds=60)
    run = run_playbook(play(task("stage", "rpmostree_rebase", image=v2, busy_timeout=6)))
    message = failure(run, "stage")
    assert "Nothing on the node was changed" in message
    assert "System transaction in progress" in message


def test_an_update_driver_is_named_and_can_be_bypassed(
    make_node: MakeNode, run_playbook: RunPlaybook, v1: str, v2: str
) -> None:
    node = make_node("n1", image=v1, versions=RPM_OSTREE)
    node.inject("update-driver", driver="zincati")
    run = run_playbook(play(stage(v2)))
    assert "driven by zincati" in failure(run, "stage").lower()
    assert "bypass_driver" in failure(run, "stage")
    run = run_playbook(play(stage(v2, bypass_driver=True)))
    assert run.rc == 0, run.stdout
    assert any("zincati" in warning for warning in run.result("stage", "n1")["warnings"])


def test_the_same_warning_is_shown_for_each_node(
    make_node: MakeNode, run_playbook: RunPlaybook, v1: str, v2: str
) -> None:
    for name in ("n1", "n2"):
        make_node(name, image=v1, versions=RPM_OSTREE).inject("update-driver", driver="zincati")
    shown = run_playbook(play(stage(v2, bypass_driver=True))).stdout
    warned = [line for line in shown.splitlines() if line.startswith("[WARNING]: n")]
    assert sorted(line.split()[1] for line in warned) == ["n1:", "n2:"], shown


@pytest.mark.parametrize("versions", [BOTH, RPM_OSTREE], ids=["both", "rpm-ostree"])
def test_layered_packages_are_refused_kept_or_dropped(
    versions: dict[str, str | None], make_node: MakeNode, run_playbook: RunPlaybook, v1: str, v2: str
) -> None:
    node = make_node("n1", image=v1, versions=versions, repository={"htop": ["3.2-1"]})
    on(node, "rpm-ostree install htop")
    run = run_playbook(play(stage(v2)))
    assert "layered packages htop" in failure(run, "stage")
    run = run_playbook(play(stage(v2, local_changes="keep"), stage(v2, "again", local_changes="keep")))
    assert run.rc == 0, run.stdout
    assert run.result("stage", "n1")["tool"] == "rpm-ostree"
    assert run.result("stage", "n1")["after"]["staged"]["local_changes"]["packages"] == ["htop"]
    assert run.result("again", "n1")["changed"] is False
    run = run_playbook(play(stage(v2, local_changes="discard"), stage(v2, "again", local_changes="discard")))
    assert run.rc == 0, run.stdout
    assert run.result("stage", "n1")["after"]["staged"]["local_changes"]["packages"] == []
    assert run.result("again", "n1")["changed"] is False


def test_from_a_branch_to_an_image_and_back(make_node: MakeNode, run_playbook: RunPlaybook, v1: str, v2: str) -> None:
    node = make_node("n1", image=v1, versions=RPM_OSTREE, origin="ostree")
    origin = node.settings["refspec"]
    to_branch = task("back", "rpmostree_rebase", ref=origin)
    run = run_playbook(play(stage(v2), reboot(v2), to_branch, task("reboot back", "node_reboot")))
    assert run.rc == 0, run.stdout
    assert run.result("back", "n1")["commands"] == [["rpm-ostree", "rebase", origin]]
    again = run_playbook(play({**to_branch, "name": "again"}))
    assert run.rc == 0
    assert again.result("again", "n1")["changed"] is False


def test_a_staging_that_was_cancelled_by_its_deadline_leaves_no_transaction(
    make_node: MakeNode, run_playbook: RunPlaybook, v1: str, v2: str
) -> None:
    node = make_node("n1", image=v1, versions=RPM_OSTREE)
    node.inject("registry-stalls")
    run = run_playbook(play(stage(v2, stage_timeout=4)))
    assert "stage_timeout" in failure(run, "stage")
    assert '"transaction" : null' in on(node, "rpm-ostree status --json")
    node.clear("registry-stalls")
    assert run_playbook(play(stage(v2), reboot(v2))).rc == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "needs image"),
        ({"image": "registry.example.com/os:1", "state": "downloaded", "kargs": {"present": ["a"]}}, "state: staged"),
        ({"image": "registry.example.com/os:1", "kargs": {"present": ["a"], "absent": ["a"]}}, "present, and absent"),
        ({"image": "registry.example.com/os:1", "kargs": {"present": ["a b"]}}, "2 arguments"),
        ({"image": "os:1"}, "does not name its registry"),
        ({"image": "registry.example.com/os:1", "stage_timeout": 0}, "1 or more"),
    ],
)
def test_mistakes_are_told_before_the_node_is_asked(
    options: dict[str, Any], said: str, make_node: MakeNode, run_playbook: RunPlaybook
) -> None:
    node = make_node("n1")
    run = run_playbook(play(task("stage", "image_stage", **options)))
    assert said in failure(run, "stage")
    assert tools(node) == []


def test_without_rights_on_a_node_with_rpm_ostree(
    make_node: MakeNode, run_playbook: RunPlaybook, v1: str, v2: str
) -> None:
    """Everybody may read rpm-ostree's status, so that rights are first missing where something is to be changed."""
    make_node("n1", image=v1, versions=RPM_OSTREE)
    arguments = task("arguments", "kargs", present=["nosmt"])
    for name, wanted in (
        ("stage", stage(v2)),
        ("arguments", arguments),
        ("both", stage(v2, "both", kargs={"present": ["a"]})),
    ):
        run = run_playbook([{**play(wanted)[0], "remote_user": "core"}])
        assert "set become: true" in failure(run, name)
        assert run.result(name, "n1")["changed"] is False
    run = run_playbook([{**play(stage(v2), arguments)[0], "remote_user": "core", "become": True}])
    assert run.rc == 0, run.stdout


def test_the_journal_of_a_no_op(make_node: MakeNode, run_playbook: RunPlaybook, v1: str) -> None:
    """One status, and nothing else of any tool."""
    node = make_node("n1", image=v1, versions=RPM_OSTREE)
    assert run_playbook(play(stage(v1))).rc == 0
    assert [call for call in tools(node) if call.startswith("rpm-ostree")] == ["rpm-ostree status --json"]
