# SPDX-License-Identifier: GPL-3.0-or-later
"""kargs against a make-believe node: what it runs, what it proves, what it says when a tool fails or lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_plan import Backend
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_wish import KargsWish
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._host.failure import HostFailure
from ansible_collections.imagemode.nodes.plugins.module_utils._host.kargs import Kargs
from ansible_collections.imagemode.nodes.plugins.module_utils._host.observe import HostBusy, ObservationFailed
from kargs_node import CHECKSUM, KargsNode
from node_on_disk import entry

BOOTC = """
case "$1" in
--version) echo bootc 1.16.9 ;;
status) cat "$NODE/status" ;;
loader-entries) [ -f "$NODE/after" ] && mv "$NODE/after" "$NODE/root/boot/loader/entries/ostree-0.conf" ;;
esac
"""

# `rpm-ostree kargs` shows $NODE/pending; with options it becomes $NODE/pending-later, and bootc's status becomes $NODE/later.
RPM_OSTREE = """
case "$*" in
kargs) cat "$NODE/pending" ;;
status*) echo '{"deployments": [], "transaction": null}' ;;
kargs*)
  [ -f "$NODE/fail" ] && { mv "$NODE/fail" "$NODE/failed"; cat "$NODE/failed" >&2; exit 1; }
  [ -f "$NODE/pending-later" ] && mv "$NODE/pending-later" "$NODE/pending"
  [ -f "$NODE/later" ] && mv "$NODE/later" "$NODE/status"
  exit "${CODE:-0}" ;;
esac
"""

PENDING = "root=x rw ostree=/ostree/boot.0/default/abc/0"


def deployed(serial: int, **fields: Any) -> dict[str, Any]:
    return entry(ostree={"checksum": CHECKSUM, "deploySerial": serial}, **fields)


@pytest.fixture
def node(tmp_path: Path) -> KargsNode:
    machine = KargsNode(tmp_path)
    machine.tool("bootc", BOOTC)
    machine.tool("rpm-ostree", RPM_OSTREE)
    machine.cmdline(f"BOOT_IMAGE=/vmlinuz {PENDING}")
    machine.deploy(0, "root=x rw")
    machine.status(deployed(0))
    (tmp_path / "pending").write_text(PENDING)
    return machine


def will_have(node: KargsNode, text: str) -> None:
    """Set what the next change leads to."""
    (node.directory / "pending-later").write_text(text)
    node.later(deployed(0), deployed(1))


def run(node: KargsNode, check: bool = False, backend: Backend = Backend.AUTO, **wish: Any) -> dict[str, Any]:
    kargs = Kargs(node, KargsWish.of(**wish), backend, busy_timeout=30, stage_timeout=20, sleep=lambda _seconds: None)
    return kargs.run(check)


def written(node: KargsNode) -> list[str]:
    """The calls that change something."""
    return [call for call in node.journal if "=" in call or "loader-entries" in call]


def test_a_change_costs_two_round_trips_and_its_repetition_one(node: KargsNode) -> None:
    will_have(node, f"{PENDING} a=1")
    result = run(node, present=["a=1"], owner="me")
    assert written(node) == ["rpm-ostree kargs --append=a=1 --unchanged-exit-77"]
    assert (result["changed"], result["reboot_required"], node.trips) == (True, True, 2)
    assert result["msg"] == "+a=1: staged with rpm-ostree; the next reboot makes it so"
    assert node.owned("me") == ["a=1"]
    again = run(node, present=["a=1"], owner="me")
    assert (again["changed"], again["reboot_required"], again["commands"], node.trips) == (False, True, [], 3)


def test_the_diff_shows_order_and_what_the_image_brings(node: KargsNode) -> None:
    node.tree(0, {"1.toml": "kargs = ['rw']"})
    node.tree(1, {"1.toml": "kargs = ['rw']"})
    will_have(node, f"{PENDING} a=1")
    diff = run(node, check=True, present=["a=1"])["diff"]
    assert (diff["before"], diff["after"]) == ("root=x\nrw  (image)\n", "root=x\nrw  (image)\na=1\n")


def test_success_without_effect_is_a_failure(node: KargsNode) -> None:
    with pytest.raises(
        HostFailure, match="reported success, but the next boot's arguments are not as wished"
    ) as caught:
        run(node, present=["a=1"])
    assert "No kernel argument was changed" in str(caught.value)
    assert caught.value.result["changed"] is False


def test_a_failure_that_had_its_effect_is_a_success(node: KargsNode) -> None:
    """Exit 1 can leave something staged: the state decides."""
    node.tool("rpm-ostree", RPM_OSTREE.replace("CODE:-0", "CODE:-1"))
    will_have(node, f"{PENDING} a=1")
    assert run(node, present=["a=1"])["changed"] is True


def test_a_failing_tool_is_explained(node: KargsNode) -> None:
    (node.directory / "fail").write_text("error: No space left on device\n")
    with pytest.raises(HostFailure, match=r"failed with code 1: No space left.*No kernel argument was changed"):
        run(node, present=["a=1"])


def test_something_else_than_wished_is_said_to_have_changed(node: KargsNode) -> None:
    will_have(node, f"{PENDING} other=1")
    with pytest.raises(HostFailure) as caught:
        run(node, present=["a=1"])
    assert caught.value.result["changed"] is True
    assert "other=1" in str(caught.value)


def test_a_busy_node_is_waited_for(node: KargsNode) -> None:
    (node.directory / "fail").write_text("error: System transaction in progress\n")
    will_have(node, f"{PENDING} a=1")
    assert run(node, present=["a=1"])["changed"] is True
    assert len(written(node)) == 2


def test_a_node_that_stays_busy(node: KargsNode) -> None:
    node.tool(
        "rpm-ostree", RPM_OSTREE.replace('mv "$NODE/fail" "$NODE/failed"; cat "$NODE/failed"', 'cat "$NODE/fail"')
    )
    (node.directory / "fail").write_text("error: Transaction in progress: upgrade\n")
    with pytest.raises(HostBusy, match="for the 30 s that busy_timeout allows"):
        run(node, present=["a=1"])


def test_nothing_is_changed_if_it_could_not_be_remembered(node: KargsNode) -> None:
    (node.root / "etc").mkdir()
    (node.root / "etc/imagemode").write_text("in the way")
    will_have(node, f"{PENDING} a=1")
    with pytest.raises(HostFailure, match="No kernel argument was changed"):
        run(node, present=["a=1"], owner="me")
    assert written(node) == []


def test_bookkeeping_is_no_change(node: KargsNode) -> None:
    node.owner("me", ["rw", "long.gone=1"])
    result = run(node, present=["rw"], owner="me", exclusive=True)
    assert (result["changed"], result["reboot_required"]) == (False, False)
    assert node.owned("me") == ["rw"]
    node.owner("me", ["rw", "long.gone=1"])
    run(node, check=True, present=["rw"], owner="me", exclusive=True)
    assert node.owned("me") == ["rw", "long.gone=1"]


def test_what_leaves_is_remembered_while_it_is_booted(node: KargsNode) -> None:
    node.cmdline(f"{PENDING} old=1")
    node.deploy(0, "root=x rw old=1")
    (node.directory / "pending").write_text(f"{PENDING} old=1")
    node.owner("me", ["old=1"])
    will_have(node, PENDING)
    assert run(node, owner="me", exclusive=True)["commands"] == [
        ["rpm-ostree", "kargs", "--delete=old=1", "--unchanged-exit-77"]
    ]
    assert node.owned("me") == ["old=1"]
    node.cmdline(PENDING)
    node.deploy(1, "root=x rw")
    node.status(deployed(1))
    assert run(node, owner="me", exclusive=True)["changed"] is False
    assert node.owned("me") is None


def test_an_unreadable_staging_is_not_built_upon(node: KargsNode) -> None:
    (node.directory / "bin/rpm-ostree").unlink()
    node.status(deployed(0), deployed(1))
    with pytest.raises(ObservationFailed, match="nothing on this node tells its kernel arguments"):
        run(node, present=["a=1"])


@pytest.mark.parametrize(
    ("status", "named"),
    [
        ({"staged": deployed(1, downloadOnly=True)}, "locked"),
        ({"rollback": deployed(1), "rollbackQueued": True}, "rollback"),
        ({"staged": deployed(2), "rollback": deployed(1), "rollbackQueued": True}, "rollback"),
    ],
)
def test_what_waits_for_the_next_boot_is_not_harmed(node: KargsNode, status: dict[str, Any], named: str) -> None:
    node.deploy(1, "root=x rw")
    node.status(deployed(0), **status)
    with pytest.raises(Refusal, match=named):
        run(node, present=["a=1"])
    assert written(node) == []
    assert run(node, present=["rw"])["changed"] is False, "what is there already needs no refusal"


def test_a_pinned_rollback_is_safe(node: KargsNode) -> None:
    node.deploy(1, "root=x rw")
    node.status(deployed(0), rollback=deployed(1, pinned=True), rollbackQueued=True)
    assert run(node, check=True, present=["a=1"])["changed"] is True


def test_a_composefs_host_keeps_its_arguments_in_the_image(node: KargsNode) -> None:
    node.status({**entry(), "ostree": None, "composefs": {"verity": "abc"}})
    with pytest.raises(Refusal, match=r"composefs.*kargs\.d"):
        run(node, present=["a=1"])


def test_loader_entries(node: KargsNode) -> None:
    (node.directory / "bin/rpm-ostree").unlink()
    node.tool("ostree", "echo \"Version: '2026.4'\"")
    link = node.root / "ostree/boot.0/default/abc/0"
    (node.directory / "after").write_text(f"options root=x rw ostree={link} a=1\nx-options-source-me a=1\n")
    result = run(node, present=["a=1"], owner="me", exclusive=True)
    assert written(node) == ["bootc loader-entries set-options-for-source --source me --options a=1"]
    assert (result["changed"], result["backend"], result["after"]["owned"]) == (True, "loader-entries", ["a=1"])
    assert node.owned("me") is None, "the boot entry is the memory"
    assert run(node, present=["a=1"], owner="me", exclusive=True)["changed"] is False


@pytest.mark.parametrize(
    ("bootc", "ostree", "named"),
    [
        ("1.15.1", "2026.4", "came with bootc 1.15.2"),
        ("1.16.9", "2025.7", "needs ostree 2026.1"),
        ("1.16.9", "2026.2", "known regression"),
    ],
)
def test_loader_entries_where_they_do_not_work(node: KargsNode, bootc: str, ostree: str, named: str) -> None:
    (node.directory / "bin/rpm-ostree").unlink()
    node.tool("bootc", BOOTC.replace("1.16.9", bootc))
    node.tool("ostree", f"echo \"Version: '{ostree}'\"")
    with pytest.raises(Refusal, match=named):
        run(node, present=["a=1"], backend=Backend.LOADER_ENTRIES)
    assert run(node, check=True, present=["a=1"])["backend"] == "ostree"


def test_a_host_where_nothing_can(node: KargsNode) -> None:
    (node.directory / "bin/rpm-ostree").unlink()
    node.tool("bootc", BOOTC.replace("1.16.9", "1.1.6"))
    with pytest.raises(Refusal, match=r"Nothing on this node can change.*kargs\.d") as caught:
        run(node, present=["a=1"])
    assert "rpm-ostree is not installed" in str(caught.value)
    assert run(node, present=["rw"])["backend"] == "auto"
