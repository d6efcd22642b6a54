# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything about a node's kernel arguments, read in one step from a make-believe root."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Deployment, HostState, Tool
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kernel_arguments import KernelArguments
from ansible_collections.imagemode.nodes.plugins.module_utils._host.kargs_view import (
    STEP,
    STEP_WITH_VERSIONS,
    parse,
    parse_boot_entry,
    step_if_staged,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._host.observe import ObservationFailed
from ansible_collections.imagemode.nodes.plugins.module_utils._host.runner import Outcome
from hypothesis import given
from hypothesis import strategies as st
from kargs_node import KargsNode
from lab.simulators.staged_record import as_bytes

RECORDINGS = Path(__file__).parents[2] / "recordings"


@pytest.fixture
def node(tmp_path: Path) -> KargsNode:
    return KargsNode(tmp_path)


def deployment(serial: int) -> Deployment:
    return Deployment(None, "c" * 64, serial)


def state(booted: int = 0, staged: int | None = None, rollback: int | None = None, queued: bool = False) -> HostState:
    return HostState(
        Tool.BOOTC,
        booted=deployment(booted),
        staged=None if staged is None else deployment(staged),
        rollback=None if rollback is None else deployment(rollback),
        rollback_queued=queued,
    )


def test_everything_at_once(node: KargsNode) -> None:
    node.cmdline("BOOT_IMAGE=/vmlinuz root=x quiet img=1 ostree=/ostree/boot.0/default/abc/0")
    node.deploy(0, "root=x quiet img=1 local=1", files={"10.toml": "kargs = ['img=1']", "note.txt": "kargs = 7"})
    node.deploy(1, "root=x old=1", sources={"tuned": "old=1", "gone": ""})
    node.owner("me", ["local=1", 'dyndbg="a b"'])
    node.tool("rpm-ostree", 'echo "root=x quiet img=1 local=1 next=1"')
    node.tool("ostree", "printf \"libostree:\\n Version: '2026.4'\\n\"")
    node.tool("bootc", "echo bootc 1.16.9")
    view = parse(node.run_one(STEP))
    assert view.running.words[:2] == ("BOOT_IMAGE=/vmlinuz", "root=x")
    assert view.pending == KernelArguments.parse("root=x quiet img=1 local=1 next=1")
    assert view.booted(state()).without_machine_words.text() == "root=x quiet img=1 local=1"
    assert view.image(deployment(0)) == ("img=1",)
    assert view.image(deployment(1)) is None
    assert view.owned("me") == ("local=1", 'dyndbg="a b"')
    assert (view.owned("other"), view.owned(None)) == ((), ())
    assert view.sources(state(booted=1)) == {"tuned": ("old=1",)}
    assert (view.rpm_ostree, view.bootc_version, view.ostree_version) == (True, None, None)
    assert node.journal == ["rpm-ostree kargs"]
    view = parse(node.run_one(STEP_WITH_VERSIONS))
    assert (view.rpm_ostree, view.bootc_version, view.ostree_version) == (True, (1, 16, 9), (2026, 4))


def test_without_rpm_ostree_the_versions_of_the_others_decide(node: KargsNode) -> None:
    node.cmdline("root=x")
    node.tool("ostree", "printf \"libostree:\\n Version: '2026.4'\\n\"")
    node.tool("bootc", "echo bootc 1.16.9")
    view = parse(node.run_one(STEP))
    assert (view.rpm_ostree, view.bootc_version, view.ostree_version) == (False, (1, 16, 9), (2026, 4))


@pytest.mark.parametrize(
    ("tool", "has_bootc", "staged", "read"),
    [
        (Tool.RPM_OSTREE, True, True, True),
        (Tool.RPM_OSTREE, True, False, False),
        (None, False, True, True),
        (None, False, False, False),
        (None, True, True, False),
    ],
)
def test_what_a_staged_image_needs_is_read_only_where_there_is_one(
    node: KargsNode, tool: Tool | None, has_bootc: bool, staged: bool, read: bool
) -> None:
    node.cmdline("root=x")
    node.tool("rpm-ostree", "echo root=x")
    if has_bootc:
        node.tool("bootc", "exit 1")
    if staged:
        node.staged(b"")
    outcome = node.run_one(step_if_staged(tool))
    assert (outcome.ok, bool(outcome.stdout), node.journal) == (True, read, ["rpm-ostree kargs"] if read else [])


def test_a_node_with_nothing_but_a_kernel(node: KargsNode) -> None:
    node.cmdline("BOOT_IMAGE=/vmlinuz root=x composefs=abc")
    view = parse(node.run_one(STEP))
    assert (view.rpm_ostree, view.bootc_version, view.ostree_version, view.pending) == (False, None, None, None)
    assert view.next(HostState(Tool.BOOTC, booted=Deployment(None, "v", None, composefs=True))) == KernelArguments(
        ("root=x",)
    )


def test_next_without_rpm_ostree(node: KargsNode) -> None:
    node.cmdline("root=x")
    node.deploy(0, "root=x")
    node.deploy(1, "root=x old=1")
    assert parse(node.run_one(STEP)).next(state(staged=2)) is None, "nothing tells the arguments of what is staged"
    node.staged(as_bytes(False, ["root=x", 's="1', '2"'], {"x-options-source-tuned": "s=1"}))
    view = parse(node.run_one(STEP))
    assert view.next(state(staged=2)) == KernelArguments(("root=x", 's="1 2"'))
    assert view.sources(state(staged=2)) == {"tuned": ("s=1",)}
    following = view.next(state(rollback=1, queued=True))
    assert following is not None
    assert following.without_machine_words.text() == "root=x old=1"
    node.staged(b"rubbish")
    assert parse(node.run_one(STEP)).next(state(staged=2)) is None


def test_what_others_staged_leaving_images_aside(node: KargsNode) -> None:
    node.cmdline("root=x")
    node.deploy(0, "root=x img=1 gone=1", files={"1.toml": "kargs = ['img=1']"})
    node.tree(1, {"1.toml": "kargs = ['img=2']"})
    node.tool("rpm-ostree", "echo root=x img=2 staged=1")
    change = parse(node.run_one(STEP)).carried(state(staged=1))
    assert change is not None
    assert (change.removed, change.added) == (("gone=1",), ("staged=1",))
    node.tool("rpm-ostree", "echo root=x gone=1 img=2")
    assert parse(node.run_one(STEP)).carried(state(staged=1)) is None


def test_arguments_added_in_place_wait_for_a_reboot(node: KargsNode) -> None:
    node.cmdline("BOOT_IMAGE=/vmlinuz root=x tuned.word=1")
    node.deploy(0, "root=x $tuned_params a=1")
    assert parse(node.run_one(STEP)).waiting(state()) == ("a=1",)


@pytest.mark.parametrize(
    ("entry", "running"),
    [('dyndbg="file a +p"', '"dyndbg=file a +p"'), ('a="b"', "a=b"), ('"a b"', '"a b"')],
)
def test_quotes_that_grub_sets_otherwise_seemed_to_wait_for_a_reboot(node: KargsNode, entry: str, running: str) -> None:
    node.cmdline(f"root=x {running}")
    node.deploy(0, f"root=x {entry}")
    assert parse(node.run_one(STEP)).waiting(state()) == ()


def test_a_broken_kargs_file_matters_only_where_it_is_needed(node: KargsNode) -> None:
    node.cmdline("root=x")
    node.deploy(0, "root=x", files={"1.toml": "kargs = [1]"})
    node.deploy(1, "root=x", files={})
    view = parse(node.run_one(STEP))
    assert view.image(deployment(1)) == ()
    with pytest.raises(ObservationFailed, match=r"/usr/lib/bootc/kargs\.d/1\.toml: line 1"):
        view.image(deployment(0))


def test_hostile_files_pass_for_nothing_else(node: KargsNode) -> None:
    node.cmdline("root=x")
    text = "kargs = ['a']\n#\ncomplete\nowner bWU= YQ==\n#\n"
    node.deploy(0, "root=x", files={"1 $(touch pwned)\n.toml": text})
    node.owner("we ird; reboot", ["a"])
    view = parse(node.run_one(STEP))
    assert set(view.owners) == {"we ird; reboot"}
    with pytest.raises(ObservationFailed):
        view.image(deployment(0))


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("cmdline", "/proc/cmdline on this node is no kernel command line"),
        ("entry", r"boot/loader/entries/ostree-0\.conf on this node"),
        ("owner", "imagemode/kargs/me on this node"),
        ("rpm-ostree", "`rpm-ostree kargs` fails on this node with code 3"),
    ],
)
def test_what_cannot_be_understood_is_named(node: KargsNode, what: str, named: str) -> None:
    node.cmdline('root="x' if what == "cmdline" else "root=x")
    node.deploy(0, 'root="x' if what == "entry" else "root=x")
    node.owner("me", ['a="b' if what == "owner" else "a"])
    if what == "rpm-ostree":
        node.tool("rpm-ostree", "exit 3")
    with pytest.raises(ObservationFailed, match=named):
        parse(node.run_one(STEP))


def test_a_refusal_says_why(node: KargsNode) -> None:
    node.cmdline("root=x")
    node.deploy(0, "root=x")
    node.tool("rpm-ostree", "echo 'error: rpmostreed OS operation KernelArgs not allowed for user' >&2; exit 1")
    with pytest.raises(ObservationFailed, match=r"not allowed for user.*set become: true"):
        parse(node.run_one(STEP))


@given(st.integers(0, 400), st.binary(max_size=3))
def test_a_garbled_answer_is_never_a_traceback(cut: int, rubbish: bytes) -> None:
    code = base64.b64encode(b"root=x").decode()
    zero = base64.b64encode(b"0").decode()
    lines = [f"{kind} {zero} -" for kind in ("machine", "rpm-ostree", "ostree", "bootc")] + [f"cmdline {code} {code}"]
    text = "\n".join([*lines, "complete"])
    garbled = text[:cut] + rubbish.decode("latin-1") + text[cut + len(rubbish) :]
    try:
        parse(Outcome(("sh",), 0, garbled))
    except ObservationFailed:
        return


def entries(name: str) -> list[tuple[str, str]]:
    """The boot entries in a recording, as path and text."""
    rows = json.loads((RECORDINGS / "34-loader-entries.json").read_text())
    text = next(row["stdout"] for row in rows if row["name"] == name)
    parts = re.split(r"^## (.*)\n", text, flags=re.MULTILINE)[1:]
    return [(path, body) for path, body in zip(parts[::2], parts[1::2], strict=True) if path.endswith(".conf")]


def test_recorded_boot_entries() -> None:
    [(_old, before), (path, after)] = entries("07-booted-changed")
    assert parse_boot_entry(before, path).sources == {"labtuned": ("le.a=1", "le.b=2")}
    entry = parse_boot_entry(after, path)
    assert entry.sources == {"other": ("le.a=9", "le.z=1"), "labtuned": ("le.a=9",)}
    assert entry.options.words[-2:] == ("le.a=9", "le.z=1")
    [_first, (path, after)] = entries("13-removed")
    assert parse_boot_entry(after, path).sources == {"labtuned": (), "other": ("le.a=9", "le.z=1")}
