# SPDX-License-Identifier: GPL-3.0-or-later
"""`bootc loader-entries set-options-for-source` held to what real boot entries looked like after each step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from recorded import Reducer, row, rows
from recorded_world import HostUnderTest
from test_recordings import repeat

MakeHost = Callable[..., HostUnderTest]
FILE = "34-options-for-source"
BASE = (
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
)
LOCAL = (*BASE, "local.karg=1", "staged.karg=2", "staged.karg=3", "staged.karg=4")
Entry = tuple[list[str], dict[str, str]]


def entries(text: str) -> list[Entry]:
    """Arguments and sources of each boot entry in the output of the recording's command, the first to boot first."""
    found: list[Entry] = []
    for line in text.splitlines():
        if line.startswith("title "):
            found.append(([], {}))
        elif line.startswith("options "):
            arguments = line.split()[1:]
            found[-1][0].extend("ostree=" if word.startswith("ostree=") else word for word in arguments)
        elif line.startswith("x-options-source-"):
            name, _separator, options = line.removeprefix("x-options-source-").partition(" ")
            found[-1][1][name] = options
    return found[::-1]


def shows_entries(command: str) -> bool:
    return "/boot/loader/entries" in command


@pytest.mark.parametrize(
    ("situation", "kargs", "rebooted_before", "not_compared"),
    [
        ("34-loader-entries", LOCAL, {"04", "07", "09", "11", "13", "16"}, {"00", "02", "05b"}),
        # 19: what is stored under a tag depends on what was there before; 21: so does its --deploy-index
        ("34b-loader-entries-edge", BASE, {"03", "06", "08", "10", "12", "16", "18", "20", "22"}, {"19", "21"}),
    ],
)
def test_sources_of_arguments_leave_the_recorded_boot_entries(
    make_host: MakeHost, situation: str, kargs: tuple[str, ...], rebooted_before: set[str], not_compared: set[str]
) -> None:
    host = make_host(kargs=kargs)
    ours, theirs = Reducer(), Reducer()
    for recorded in rows(FILE):
        number = recorded.name.partition("-")[0]
        if recorded.situation != situation:
            continue
        if number in rebooted_before:
            host.reboot()
        if shows_entries(recorded.command):
            found, expected = entries(host.ok("cat /boot/loader/entries/*.conf")), entries(recorded.stdout)
            count = 1 if number in not_compared else len(expected)
            assert found[:count] == expected[:count], recorded.name
        elif number in not_compared:
            host.sh(host.world.translate(recorded.command))
        else:
            repeat(host, recorded, ours, theirs)


def test_setting_again_what_a_source_already_asks_for_stages_nothing(make_host: MakeHost) -> None:
    host = make_host()
    host.ok("bootc loader-entries set-options-for-source --source a --options 'x=1'")
    host.reboot()
    host.ok("bootc loader-entries set-options-for-source --source a --options 'x=1'")
    assert '"staged":null' in host.ok("bootc status --json")


@pytest.mark.parametrize(
    ("bootc", "ostree", "rc", "words"),
    [
        ("1.15.1", "2026.4", 2, "unrecognized subcommand 'loader-entries'"),
        ("1.15.2", "2025.7", 1, "libostree 2026.1"),
        ("1.15.2", "2026.1", 0, ""),
    ],
)
def test_sources_of_arguments_need_a_new_bootc_and_a_new_ostree(
    make_host: MakeHost, bootc: str, ostree: str, rc: int, words: str
) -> None:
    host = make_host(versions={"bootc": bootc, "ostree": ostree})
    done = host.sh("bootc loader-entries set-options-for-source --source a --options x=1")
    assert (done.returncode, words in done.stderr) == (rc, True)


def test_the_source_must_be_named(make_host: MakeHost) -> None:
    assert make_host().sh("bootc loader-entries set-options-for-source --options x=1").returncode == 2


def test_the_recorded_words_for_a_bad_name(make_host: MakeHost) -> None:
    repeat(make_host(), row(FILE, "14-bad-source"), Reducer(), Reducer())
