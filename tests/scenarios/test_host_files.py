# SPDX-License-Identifier: GPL-3.0-or-later
"""host_files on lab nodes: without Python, with it, as another user, and where nothing may be written."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from journal import count
from lab import images
from lab.fixtures import MakeNode, RunPlaybook
from lab.node import Node
from lab.playbook_run import PlaybookRun
from lab.registry import Registry
from lab.session import run as on_node

SECRET = "correct horse\nbattery staple\n"  # two lines: a log shows the line break in another form
WORD = "battery"


def play(*files: dict[str, Any], task: dict[str, Any] | None = None, **keywords: Any) -> list[dict[str, Any]]:
    """One task that gets its secret from a variable, as it should."""
    files_task = {"name": "files", "imagemode.nodes.host_files": {"files": list(files)}, **(task or {})}
    variables = {"token": SECRET}
    return [{"hosts": "workers", "gather_facts": False, "vars": variables, "tasks": [files_task], **keywords}]


PLAIN = {"path": "/etc/fleet/agent.conf", "content": "one\n"}
TOKEN = {"path": "/etc/fleet/token", "content": "{{ token }}", "secret": True}
GONE = {"path": "/etc/lab.conf", "state": "absent"}


def shell(node: Node, command: str) -> str:
    return on_node(node, command, stdin=b"").stdout.decode()


def message(run: PlaybookRun) -> str:
    result = run.result("files", "n1")
    assert result["event"] == "runner_on_failed", run.stdout
    return str(result["msg"])


def test_files_are_there_after_two_round_trips_and_stay_for_one(make_node: MakeNode, run_playbook: RunPlaybook) -> None:
    node = make_node("n1")
    predicted = run_playbook(play(PLAIN, TOKEN, GONE), arguments=["--check", "--diff"]).result("files", "n1")
    assert count(node, "exec") == 1
    real = run_playbook(play(PLAIN, TOKEN, GONE), arguments=["--diff"]).result("files", "n1")
    assert count(node, "exec") == 3
    for key in ("changed", "files", "diff", "msg"):
        assert predicted[key] == real[key], key
    assert shell(node, "cat /etc/fleet/agent.conf /etc/fleet/token; ls /etc/lab.conf") == f"one\n{SECRET}"
    assert shell(node, "stat -c %a:%U:%G /etc/fleet /etc/fleet/token").split() == ["755:root:root", "600:root:root"]
    before = count(node, "exec")
    again = run_playbook(play(PLAIN, TOKEN, GONE)).result("files", "n1")
    assert (again["changed"], count(node, "exec") - before) == (False, 1)


def test_a_secret_is_in_no_output_artifact_or_journal(
    make_node: MakeNode, run_playbook: RunPlaybook, tmp_path: Path
) -> None:
    node = make_node("n1")
    run = run_playbook(play(TOKEN), arguments=["-vvv", "--diff"])
    assert (run.result("files", "n1")["changed"], run.rc) == (True, 0)
    assert WORD not in run.stdout
    needles = (WORD.encode(), base64.b64encode(SECRET.encode())[4:-4])
    looked_at = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    found = [str(path) for path in looked_at if any(needle in path.read_bytes() for needle in needles)]
    written = [path for path in found if path.endswith("/etc/fleet/token")]
    playbooks = [path for path in found if Path(path).name.startswith("playbook-")]
    assert (len(written), len(playbooks)) == (1, 1), "the search finds it where it has to be"
    assert sorted(found) == sorted([*written, *playbooks])
    assert WORD not in json.dumps(list(node.journal.read()))


def test_no_process_on_the_node_shows_a_secret(
    make_node: MakeNode, run_playbook: RunPlaybook, registry: Registry
) -> None:
    """The spy is called as restorecon while the content is on its way, as the directory is made then."""
    spy = "#!/bin/sh\ncat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' ' ' >>/var/seen\n"
    image = images.build_base(registry.address, name="spied", extra_files={"/usr/bin/restorecon": spy})
    node = make_node("n1", image=image)
    run = run_playbook(play(TOKEN))
    assert run.rc == 0, run.stdout
    seen = shell(node, "cat /var/seen")
    assert "/etc/fleet/token" in seen, "the spy looks while the module works"
    assert WORD not in seen
    assert base64.b64encode(SECRET.encode()).decode()[4:-4] not in seen


@pytest.mark.parametrize("python", [False, True])
def test_both_entries_give_the_same(python: bool, make_node: MakeNode, run_playbook: RunPlaybook) -> None:
    node = make_node("n1", python=python)
    keywords = {"async": 60, "poll": 1} if python else {}
    run = run_playbook(play(PLAIN, TOKEN, GONE, task=keywords), arguments=["-vvv", "--diff"])
    assert run.rc == 0, run.stdout
    assert WORD not in run.stdout
    result = run.results("files", "n1")[-1]
    assert result["changed"] is True
    assert [(file["path"], file["changed"], file["state"], file["mode"]) for file in result["files"]] == [
        ("/etc/fleet/agent.conf", True, "present", "0644"),
        ("/etc/fleet/token", True, "present", "0600"),
        ("/etc/lab.conf", True, "absent", None),
    ]
    assert [diff["before_header"] for diff in result["diff"]] == [PLAIN["path"], TOKEN["path"], GONE["path"]]
    assert shell(node, "cat /etc/fleet/token") == SECRET
    assert WORD not in shell(node, "cat /root/.ansible_async/* 2>/dev/null")


def test_async_needs_python_and_says_so(make_node: MakeNode, run_playbook: RunPlaybook) -> None:
    make_node("n1")
    assert "has no Python" in message(run_playbook(play(PLAIN, task={"async": 60, "poll": 1})))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "the image's /usr": ({"path": "/usr/lib/fleet.conf", "content": ""}, "belongs to the image"),
    "a link into it": ({"path": "/etc/ssl-of-image/fleet.conf", "content": ""}, "leads to /usr/share/, which belongs"),
    "a device": ({"path": "/dev/null", "content": ""}, "neither a file nor a link"),
    "a place that takes no files": ({"path": "/sys/fleet.conf", "content": ""}, "/sys/fleet.conf could not be written"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_written_is_said_and_nothing_is(
    case: str, make_node: MakeNode, run_playbook: RunPlaybook
) -> None:
    wanted, said = REFUSED[case]
    node = make_node("n1")
    shell(node, "ln -s /usr/share /etc/ssl-of-image")
    run = run_playbook(play(PLAIN, wanted))
    assert said in message(run)
    assert "Traceback" not in run.stdout
    assert shell(node, "ls /etc/fleet/agent.conf") == ""


def test_a_user_without_rights_is_told_and_becomes_root(make_node: MakeNode, run_playbook: RunPlaybook) -> None:
    node = make_node("n1")
    assert "become: true" in message(run_playbook(play(PLAIN, remote_user="core")))
    assert run_playbook(play(PLAIN, TOKEN, remote_user="core", become=True)).rc == 0
    assert "become: true" in message(run_playbook(play(TOKEN, remote_user="core"))), "it may not even be read"
    assert shell(node, "stat -c %U /etc/fleet/token").strip() == "root"


def test_a_connection_that_drops_leaves_what_the_next_run_mends(make_node: MakeNode, run_playbook: RunPlaybook) -> None:
    node = make_node("n1")
    node.inject("unreachable")
    assert run_playbook(play(PLAIN)).result("files", "n1")["unreachable_host"] is True
    node.clear("unreachable")
    assert run_playbook(play(PLAIN)).rc == 0
    assert shell(node, "ls -A /etc/fleet").split() == ["agent.conf"]
