# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a node's state with whatever tools it has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Tool
from ansible_collections.imagemode.nodes.plugins.module_utils._host.observe import (
    HostBusy,
    NotImageMode,
    ObservationFailed,
    Observer,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Step
from node_on_disk import BOOTC, NodeOnDisk, entry

RPM_OSTREE = {
    "deployments": [
        {
            "checksum": "commit-1111",
            "serial": 0,
            "booted": True,
            "osname": "fedora",
            "container-image-reference": "ostree-unverified-registry:registry.example.com/os:v1",
        }
    ],
    "transaction": None,
    "update-driver": {"driver-name": "Zincati", "driver-sd-unit": "zincati.service"},
}
RPM_OSTREE_TOOL = f"""
case "$1" in
status) echo '{json.dumps(RPM_OSTREE)}' ;;
kargs) echo 'root=LABEL=root rw quiet' ;;
--version) printf "rpm-ostree:\\n Version: '2026.2'\\n Git: abc\\n" ;;
esac
"""


@pytest.fixture
def node(tmp_path: Path) -> NodeOnDisk:
    return NodeOnDisk(tmp_path)


def test_both_tools_make_one_view(node: NodeOnDisk) -> None:
    node.tool("bootc", '[ "$1" = --version ] && echo "bootc 1.16.9" && exit; ' + BOOTC)
    node.tool("rpm-ostree", RPM_OSTREE_TOOL)
    node.status(entry())
    host = Observer(node, 30).completely().as_dict()
    assert node.trips == 1
    assert (host["tool"], host["update_driver"]) == ("bootc", "Zincati")
    assert host["versions"] == {"bootc": "1.16.9", "rpm_ostree": "2026.2"}
    assert host["booted"]["stateroot"] == "fedora"
    assert host["kargs"]["next"] == ["root=LABEL=root", "rw", "quiet"]
    assert host["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_rpm_ostree_alone_will_do(node: NodeOnDisk) -> None:
    node.tool("rpm-ostree", RPM_OSTREE_TOOL)
    host = Observer(node, 30).completely().as_dict()
    assert (host["tool"], host["image_mode"]) == ("rpm-ostree", True)
    assert host["booted"]["image"]["reference"] == "registry.example.com/os:v1"
    assert host["versions"] == {"bootc": None, "rpm_ostree": "2026.2"}
    assert node.journal.count("rpm-ostree status --json") == 1


def test_without_privileges_rpm_ostree_still_tells(node: NodeOnDisk) -> None:
    node.tool("bootc", "echo 'error: This command must be executed as the root user' >&2; exit 1")
    node.tool("rpm-ostree", RPM_OSTREE_TOOL)
    assert Observer(node, 30).completely().tool == "rpm-ostree"


def test_a_host_that_is_not_image_mode_is_no_error_for_information(node: NodeOnDisk) -> None:
    host = Observer(node, 30).completely().as_dict()
    assert (host["image_mode"], host["tool"], host["booted"], host["reboot_required"]) == (False, None, None, False)
    assert host["boot_id"]


def test_a_failing_status_is_explained(node: NodeOnDisk) -> None:
    node.tool("bootc", "echo 'error: This command must be executed as the root user' >&2; exit 1")
    with pytest.raises(ObservationFailed, match="set become: true"):
        Observer(node, 30).completely()


def test_an_odd_second_opinion_does_not_hide_the_first(node: NodeOnDisk) -> None:
    node.tool("bootc", BOOTC)
    node.tool("rpm-ostree", """[ "$1" = status ] && echo '{"deployments": []}'""")
    node.status(entry())
    said: list[str] = []
    assert Observer(node, 30, said.append).completely().tool == "bootc"
    assert "no booted deployment" in said[0]


def test_rpm_ostree_that_is_only_installed_is_no_image_mode(node: NodeOnDisk) -> None:
    """A host where images are composed has rpm-ostree, and is an ordinary one."""
    node.tool("rpm-ostree", "echo 'error: This system was not booted via libostree.' >&2; exit 1")
    host = Observer(node, 30).completely().as_dict()
    assert (host["image_mode"], host["tool"]) == (False, None)
    with pytest.raises(NotImageMode, match="rpm-ostree is installed, but"):
        Observer(node, 30).with_any_tool()


def test_a_daemon_that_is_slow_to_start_is_waited_for(node: NodeOnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends when it is idle for a minute, and the next question starts it again."""
    monkeypatch.setattr("ansible_collections.imagemode.nodes.plugins.module_utils._host.observe._PATIENCE_SECONDS", 1)
    node.tool("rpm-ostree", '[ -e "$NODE/up" ] || { touch "$NODE/up"; exec sleep 60; }' + RPM_OSTREE_TOOL)
    state, _outcomes = Observer(node, 30).with_any_tool()
    assert state.tool == "rpm-ostree"


def test_a_daemon_that_never_answers_is_named(node: NodeOnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible_collections.imagemode.nodes.plugins.module_utils._host.observe._PATIENCE_SECONDS", 1)
    node.tool("rpm-ostree", "exec sleep 60")
    with pytest.raises(HostBusy, match="rpm-ostreed, which does not answer"):
        Observer(node, 2).with_any_tool()


def test_a_second_opinion_that_does_not_come_holds_nobody_up(node: NodeOnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible_collections.imagemode.nodes.plugins.module_utils._host.observe._PATIENCE_SECONDS", 1)
    node.tool("bootc", BOOTC)
    node.tool("rpm-ostree", "exec sleep 60")
    node.status(entry())
    assert Observer(node, 30).completely().tool == "bootc"
    assert node.trips == 1


def test_what_belongs_to_the_answer_is_read_behind_it(node: NodeOnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A status waits for whoever holds the lock, and what was read before the wait is what was there before their work."""
    monkeypatch.setattr("ansible_collections.imagemode.nodes.plugins.module_utils._host.observe._PATIENCE_SECONDS", 2)
    node.tool("bootc", '[ -e "$NODE/up" ] || { touch "$NODE/up"; exec sleep 60; }\necho after >"$NODE/word"\n' + BOOTC)
    node.status(entry())
    word = node.directory / "word"
    word.write_text("before\n")
    read = Step(("cat", str(word)), timeout=10)
    _state, (early, late) = Observer(node, 30).with_tool(Tool.BOOTC, [read], [read])
    assert (early.stdout, late.stdout) == ("before\n", "after\n")
