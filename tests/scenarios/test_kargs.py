# SPDX-License-Identifier: GPL-3.0-or-later
"""The module kargs on lab nodes: with each tool that can change kernel arguments, and over whatever waits for a boot."""

from __future__ import annotations

import subprocess
import time
from typing import Any

import pytest
from journal import count, tools
from lab import images
from lab.enter import command
from lab.fixtures import MakeNode, RunPlaybook
from lab.node import Node
from lab.playbook_run import PlaybookRun
from lab.registry import Registry

BOTH = {"bootc": "1.16.9", "rpm-ostree": "2026.2"}
BOOTC_NEW = {"bootc": "1.16.9", "rpm-ostree": None}
BOOTC_OLD = {"bootc": "1.1.6", "rpm-ostree": None}
TOOLS = pytest.mark.parametrize(
    "versions",
    [BOTH, {"bootc": None, "rpm-ostree": "2026.2"}, BOOTC_NEW, BOOTC_OLD],
    ids=["both", "rpm-ostree", "loader-entries", "ostree"],
)


@pytest.fixture(scope="module")
def v2(registry: Registry) -> str:
    """An image that brings arguments of its own."""
    return images.build_base(registry.address, tag="kargs-v2", version="2.0", kargs_d={"10.toml": ["img=1", "quiet"]})


def task(name: str, module: str, **options: Any) -> dict[str, Any]:
    return {"name": name, f"imagemode.nodes.{module}": options}


def kargs(name: str, **options: Any) -> dict[str, Any]:
    return task(name, "kargs", **options)


def play(*tasks: dict[str, Any], **keywords: Any) -> list[dict[str, Any]]:
    return [{"hosts": "workers", "gather_facts": False, "tasks": list(tasks), **keywords}]


def on(node: Node, *argv: str) -> str:
    done = subprocess.run(command(node, argv), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def reboot(node: Node) -> None:
    """Reboot whether or not anybody sees a reason, and wait until the node is back."""
    before = node.boot_id
    subprocess.run(command(node, ["systemctl", "reboot"]), capture_output=True, check=False)
    deadline = time.monotonic() + 60
    while not (node.is_up() and node.boot_id != before):
        assert time.monotonic() < deadline, "the node did not come back"
        time.sleep(0.1)


def failure(run: PlaybookRun, name: str) -> str:
    result = run.result(name, "n1")
    assert result["event"] == "runner_on_failed", run.stdout
    assert "Traceback" not in run.stdout
    return str(result["msg"])


def changes(node: Node) -> list[str]:
    """The calls that change something."""
    return [
        call for call in tools(node) if "--" in call and ("kargs" in call or "loader-entries" in call) and "=" in call
    ]


@TOOLS
def test_arguments_are_added_once_and_boot(
    versions: dict[str, str | None], make_node: MakeNode, run_playbook: RunPlaybook
) -> None:
    node = make_node("n1", versions=versions)
    wish = {"present": ["nosmt", 'dyndbg="file a.c +p"'], "exact": {"mitigations": ["auto"]}, "owner": "me"}
    run = run_playbook(play(kargs("set", **wish), kargs("again", **wish)))
    assert run.rc == 0, run.stdout
    first, again = run.result("set", "n1"), run.result("again", "n1")
    added = ["nosmt", 'dyndbg="file a.c +p"', "mitigations=auto"]
    assert (first["changed"], first["reboot_required"]) == (True, True)
    assert first["after"]["next"][-3:] == added
    assert first["after"]["owned"] == added
    assert (again["changed"], again["commands"], again["reboot_required"]) == (False, [], True)
    assert again["after"] == again["before"]
    assert len(changes(node)) == 1
    reboot(node)
    run = run_playbook(play(kargs("after the reboot", **wish)))
    result = run.result("after the reboot", "n1")
    assert (result["changed"], result["reboot_required"]) == (False, False)
    assert result["before"]["booted"][-3:] == added


def test_round_trips(make_node: MakeNode, run_playbook: RunPlaybook) -> None:
    node = make_node("n1", versions=BOTH)
    run_playbook(play(kargs("set", present=["a=1"], owner="me")))
    assert count(node, "exec") == 2
    run_playbook(play(kargs("set", present=["a=1"], owner="me")))
    assert count(node, "exec") == 3


@TOOLS
def test_check_mode_predicts_and_touches_nothing(
    versions: dict[str, str | None], make_node: MakeNode, run_playbook: RunPlaybook
) -> None:
    node = make_node("n1", versions=versions)
    wish = kargs("predicted", present=["a=1"], owner="me")
    predicted = run_playbook(play({**wish, "check_mode": True, "diff": True})).result("predicted", "n1")
    assert changes(node) == []
    real = run_playbook(play({**wish, "diff": True})).result("predicted", "n1")
    for key in ("changed", "reboot_required", "commands", "diff", "msg", "before", "after", "backend"):
        assert predicted[key] == real[key], key
    assert real["diff"]["after"] == real["diff"]["before"] + "a=1\n"


def test_what_an_owner_no_longer_lists_goes_and_what_others_need_stays(
    make_node: MakeNode, run_playbook: RunPlaybook, v2: str
) -> None:
    make_node("n1", v2, versions=BOTH)
    run = run_playbook(
        play(
            kargs("one", present=["a=1", "shared", "quiet"], owner="one", exclusive=True),
            kargs("other", present=["shared"], owner="other"),
            kargs("less", present=["b=1"], owner="one", exclusive=True),
            kargs("again", present=["b=1"], owner="one", exclusive=True),
        )
    )
    assert run.rc == 0, run.stdout
    less = run.result("less", "n1")
    assert less["after"]["next"][-2:] == ["shared", "b=1"]
    assert {"quiet", "img=1"} <= set(less["after"]["image"])
    assert "a=1" not in less["after"]["next"]
    assert run.result("again", "n1")["changed"] is False


def test_a_rollback_brings_back_the_list_that_goes_with_it(make_node: MakeNode, run_playbook: RunPlaybook) -> None:
    node = make_node("n1", versions=BOTH)
    run_playbook(play(kargs("old", present=["old=1"], owner="me", exclusive=True)))
    reboot(node)
    run_playbook(play(kargs("new", present=["new=1"], owner="me", exclusive=True)))
    reboot(node)
    on(node, "rpm-ostree", "rollback")
    reboot(node)
    run = run_playbook(play(kargs("new", present=["new=1"], owner="me", exclusive=True)))
    result = run.result("new", "n1")
    assert "old=1" in result["before"]["booted"]
    assert (result["changed"], result["after"]["next"][-1]) == (True, "new=1")
    assert "old=1" not in result["after"]["next"]


def test_over_a_staged_image_one_reboot_brings_both(make_node: MakeNode, run_playbook: RunPlaybook, v2: str) -> None:
    node = make_node("n1", versions=BOTH)
    expected = [v2.partition("@")[2]]
    run = run_playbook(
        play(
            task("stage", "bootc_switch", image=v2, expected_digests=expected),
            kargs("arguments", present=["mine=1"]),
            task("reboot", "node_reboot", expected_digests=expected),
            kargs("after", present=["mine=1"]),
        )
    )
    assert run.rc == 0, run.stdout
    assert {"img=1", "quiet"} <= set(run.result("arguments", "n1")["after"]["image"])
    after = run.result("after", "n1")
    assert (after["changed"], after["reboot_required"]) == (False, False)
    assert {"img=1", "quiet", "mine=1"} <= set(after["after"]["booted"])
    assert count(node, "boot") == 2


def test_over_a_staged_image_in_place(make_node: MakeNode, run_playbook: RunPlaybook, v2: str) -> None:
    make_node("n1", versions=BOOTC_OLD)
    run = run_playbook(
        play(
            task("stage", "bootc_switch", image=v2),
            kargs("arguments", present=["mine=1"]),
            task("reboot", "node_reboot"),
            kargs("after", present=["mine=1"]),
        )
    )
    assert run.rc == 0, run.stdout
    assert run.result("arguments", "n1")["backend"] == "ostree"
    assert {"img=1", "mine=1"} <= set(run.result("after", "n1")["after"]["booted"])


def test_sources_take_back_their_own_and_nothing_else(make_node: MakeNode, run_playbook: RunPlaybook) -> None:
    node = make_node("n1", versions=BOOTC_NEW)
    run = run_playbook(
        play(
            kargs("one", present=["a=1", "shared", "rw"], owner="one", exclusive=True),
            kargs("other", present=["shared", "b=1"], owner="other", exclusive=True),
        )
    )
    assert run.rc == 0, run.stdout
    reboot(node)
    run = run_playbook(
        play(
            kargs("less", present=["c=1"], owner="one", exclusive=True),
            kargs("other again", present=["shared", "b=1"], owner="other", exclusive=True),
            kargs("nothing", owner="one", exclusive=True),
            {**kargs("foreign", absent=["rw"], owner="one"), "ignore_errors": True},
        )
    )
    assert run.result("less", "n1")["backend"] == "loader-entries"
    assert "a=1" not in run.result("less", "n1")["after"]["next"]
    assert {"rw", "shared", "b=1", "c=1"} <= set(run.result("other again", "n1")["after"]["next"])
    after = run.result("nothing", "n1")["after"]
    assert {"rw", "shared", "b=1"} <= set(after["next"])
    assert (after["owned"], "c=1" in after["next"]) == ([], False)
    assert "kargs.d" in failure(run, "foreign")


def test_sources_build_on_a_staged_image(make_node: MakeNode, run_playbook: RunPlaybook, v2: str) -> None:
    make_node("n1", versions=BOOTC_NEW)
    run = run_playbook(
        play(
            task("stage", "bootc_switch", image=v2),
            kargs("set", present=["mine=1"], owner="me"),
            task("reboot", "node_reboot"),
            kargs("again", present=["mine=1"], owner="me"),
        )
    )
    assert run.rc == 0, run.stdout
    again = run.result("again", "n1")
    assert (again["changed"], again["before"]["owned"]) == (False, ["mine=1"])
    assert {"img=1", "quiet", "mine=1"} <= set(again["before"]["booted"])


def test_an_ostree_with_a_regression_is_not_trusted_with_sources(
    make_node: MakeNode, run_playbook: RunPlaybook
) -> None:
    make_node("n1", versions={**BOOTC_NEW, "ostree": "2026.2"})
    run = run_playbook(play(kargs("set", present=["a=1"]), kargs("asked", present=["b"], backend="loader-entries")))
    assert run.result("set", "n1")["backend"] == "ostree"
    assert "known regression" in failure(run, "asked")


def test_in_place_can_only_add_and_says_what_remains(make_node: MakeNode, run_playbook: RunPlaybook) -> None:
    node = make_node("n1", versions=BOOTC_OLD)
    asked = {"take away": {"absent": ["rw"]}, "second value": {"present": ["console=tty0"]}}
    run = run_playbook(play(*({**kargs(name, **wish), "ignore_errors": True} for name, wish in asked.items())))
    for name in asked:
        message = failure(run, name)
        assert "edit-in-place" in message
        assert "kargs.d" in message
    assert changes(node) == []


def test_a_locked_staging_stays_locked(make_node: MakeNode, run_playbook: RunPlaybook, v2: str) -> None:
    node = make_node("n1", versions=BOTH)
    on(node, "rpm-ostree", "rebase", "--lock-finalization", f"ostree-unverified-registry:{v2}")
    run = run_playbook(play(kargs("set", present=["a=1"])))
    assert "locked" in failure(run, "set")
    assert changes(node) == []


def test_a_queued_rollback_is_not_risked(make_node: MakeNode, run_playbook: RunPlaybook, v2: str) -> None:
    node = make_node("n1", versions=BOTH)
    run_playbook(play(task("stage", "bootc_switch", image=v2), task("reboot", "node_reboot")))
    on(node, "rpm-ostree", "rollback")
    run = run_playbook(play(kargs("set", present=["a=1"])))
    assert "rollback" in failure(run, "set")
    assert changes(node) == []


def test_taking_away_what_the_image_brings_is_warned_of(
    make_node: MakeNode, run_playbook: RunPlaybook, v2: str
) -> None:
    make_node("n1", v2, versions=BOTH)
    run = run_playbook(play(kargs("set", absent=["img"])))
    result = run.result("set", "n1")
    assert result["changed"] is True
    assert "img=1 is brought by the image" in run.stdout


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"present": ["a b"]}, "is 2 arguments"),
        ({"present": ["a=$(touch /var/pwned)\n"]}, "cannot be printed"),
        ({"present": ["a"], "absent": ["a"]}, "present, and absent"),
        ({"present": ["a"], "owner": "../../x"}, "letters, digits"),
        ({"absent": ["ostree"]}, "cannot be managed"),
        ({}, "Nothing is asked for"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(
    options: dict[str, Any], named: str, make_node: MakeNode, run_playbook: RunPlaybook
) -> None:
    node = make_node("n1", versions=BOTH)
    run = run_playbook(play(kargs("set", **options)))
    assert named in failure(run, "set")
    assert tools(node) == []


def test_hostile_words_reach_no_shell(make_node: MakeNode, run_playbook: RunPlaybook) -> None:
    make_node("n1", versions=BOTH)
    words = ["a=$(touch${IFS}/var/pwned)", "b=`touch${IFS}/var/pwned`;reboot", "--delete=rw", "c='\"x y\"'"]
    run = run_playbook(
        play(
            kargs("set", present=words, owner="me"),
            kargs("again", present=words, owner="me"),
            {"name": "look", "ansible.builtin.raw": "ls /var/pwned"},
        )
    )
    assert run.result("set", "n1")["after"]["next"][-4:] == words
    assert run.result("again", "n1")["changed"] is False
    assert run.result("look", "n1")["rc"] != 0


def test_the_module_entry_does_the_same(make_node: MakeNode, run_playbook: RunPlaybook) -> None:
    make_node("n1", versions=BOTH, python=True)
    wish = kargs("set", present=["a=1"], owner="me")
    run = run_playbook(play({**wish, "async": 120, "poll": 1}, kargs("again", present=["a=1"], owner="me")))
    assert run.rc == 0, run.stdout
    assert run.results("set", "n1")[-1]["changed"] is True
    assert run.result("again", "n1")["changed"] is False
