# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node shows of its deployments as files: loader entries, ``ostree=`` paths, trees, origins, in-place arguments."""

from __future__ import annotations

import json
from collections.abc import Callable

from recorded import Reducer, row
from recorded_world import HostUnderTest

MakeHost = Callable[..., HostUnderTest]
ENTRIES = 'for f in /boot/loader/entries/*.conf; do echo "## $f"; cat $f; done'


def options(host: HostUnderTest) -> list[list[str]]:
    """Arguments of each loader entry, the one that boots next last."""
    return [
        line.split()[1:] for line in host.ok("cat /boot/loader/entries/*.conf").splitlines() if line[:7] == "options"
    ]


def argument(words: list[str], key: str) -> str:
    return next(word for word in words if word.startswith(f"{key}=")).split("=", 1)[1]


def test_loader_entries_and_command_line_are_shaped_as_recorded(make_host: MakeHost) -> None:
    recorded = row("34-loader-entries", "00-before")
    host = make_host(
        kargs=[
            "root=LABEL=root",
            "rw",
            "ostree=",
            "quiet",
            "lab.dup=2",
            "lab.dup=1",
            "lab.a=1",
            "lab.b=2",
            "lab.x=1",
            "lab.y=2",
        ]
    )
    host.ok("rpm-ostree kargs --append=local.karg=1 --append=staged.karg=2 --append=staged.karg=3")
    host.reboot()
    host.ok("rpm-ostree kargs --append=staged.karg=4")
    host.reboot()
    host.ok("rpm-ostree cleanup -p -m")
    ours, theirs = Reducer(), Reducer()
    expected = [
        line.replace("title Debian GNU/Linux forky/sid", "title NAME") for line in theirs.output(recorded.stdout)
    ]
    found = [line.replace("title Linux", "title NAME") for line in ours.output(host.ok(recorded.command))]
    assert found == expected


def test_the_ostree_argument_of_every_entry_leads_to_its_deployment(make_host: MakeHost) -> None:
    host = make_host()
    host.ok(f"bootc switch {host.world.open}/os:v2")
    host.reboot()
    for words in options(host):
        assert "/usr/bin/ostree" in host.ok(f"ls {argument(words, 'ostree')}/usr/bin/ostree")
    booted = json.loads(host.ok("rpm-ostree status --json -b"))["deployments"][0]
    path = argument(host.ok("cat /proc/cmdline").split(), "ostree")
    tree = f"/sysroot/ostree/deploy/debian/deploy/{booted['checksum']}.{booted['serial']}"
    assert host.ok(f"readlink -f {path}").strip() == tree
    host.ok("echo local > /etc/lab-local.conf")
    assert host.ok(f"cat {tree}/etc/lab-local.conf") == "local\n"


def test_kargs_d_of_the_staged_deployment_is_readable_before_it_is_booted(make_host: MakeHost) -> None:
    host = make_host("os:k-a")
    host.ok(f"rpm-ostree rebase ostree-unverified-registry:{host.world.open}/os:k-b")
    texts = []
    for one in json.loads(host.ok("rpm-ostree status --json"))["deployments"]:
        tree = f"/ostree/deploy/{one['osname']}/deploy/{one['checksum']}.{one['serial']}"
        texts.append(host.ok(f"cat {tree}/usr/lib/bootc/kargs.d/*.toml"))
        assert f"os:k-{'b' if one['staged'] else 'a'}" in host.ok(f"cat {tree}.origin")
    assert ["lab.two=22" in text for text in texts] == [True, False]
    host.ok("rpm-ostree cleanup -p")
    assert host.ok("ls /ostree/deploy/debian/deploy").split() == [
        tree.rpartition("/")[2],
        f"{tree.rpartition('/')[2]}.origin",
    ]


def test_arguments_edited_in_place_reach_every_deployment_and_stage_nothing(make_host: MakeHost) -> None:
    host = make_host()
    host.ok("rpm-ostree kargs --append=first=1")
    host.reboot()
    before = host.ok("ls /boot/loader/entries; readlink /boot/loader /ostree/boot.0 /ostree/boot.1; true")
    host.ok("ostree admin kargs edit-in-place --append-if-missing=here=1 --append-if-missing=rw")
    assert host.ok("ls /boot/loader/entries; readlink /boot/loader /ostree/boot.0 /ostree/boot.1; true") == before
    assert [words.count("here=1") for words in options(host)] == [1, 1]
    assert [words.count("rw") for words in options(host)] == [1, 1]
    assert "here=1" not in host.ok("cat /proc/cmdline")
    assert "staged" not in host.ok("ostree admin status")
    host.ok("ostree admin kargs edit-in-place --append-if-missing=here=1")
    host.reboot()
    assert host.ok("cat /proc/cmdline").split().count("here=1") == 1


def test_a_staged_deployment_is_edited_in_place_too_and_keeps_its_lock(make_host: MakeHost) -> None:
    host = make_host()
    host.ok(f"rpm-ostree rebase --lock-finalization ostree-unverified-registry:{host.world.open}/os:v2")
    host.ok("ostree admin kargs edit-in-place --append-if-missing=here=1")
    assert "here=1" in host.ok("rpm-ostree kargs").split()
    assert "(finalization locked)" in host.ok("ostree admin status")
