# SPDX-License-Identifier: GPL-3.0-or-later
"""A process in a few words, from the texts of /proc."""

from __future__ import annotations

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.process_sketch import sketch, unit_of
from hypothesis import given
from hypothesis import strategies as st


def stat(name: str, started: int) -> str:
    return f"812 ({name}) S " + " ".join(["1"] * 18) + f" {started} 16879616"


@pytest.mark.parametrize(
    ("name", "uptime", "cgroup", "words"),
    [
        ("bootc", "1040.5 9", "0::/system.slice/bootc-fetch-apply-updates.service", "40 s, in bootc-fetch-apply-updates.service"),
        ("bootc", "1240.5 9", "0::/user.slice/user-0.slice/session-3.scope", "4 min, in session-3.scope"),
        ("a) (b", "9000 9", "0::/", "2 h"),
        ("ostree", "1000 9", "9:name=systemd:/system.slice/x.service\n0::/", "0 s, in x.service"),
    ],
)  # fmt: skip
def test_sentence(name: str, uptime: str, cgroup: str, words: str) -> None:
    found = sketch(812, stat(name, 100_000), uptime, cgroup)
    assert found is not None
    assert found.describe() == f"{name} (process 812, running for {words})"


@pytest.mark.parametrize("text", ["", "812", "812 bootc S 1", "812 () S 1"])
def test_a_process_that_has_ended(text: str) -> None:
    assert sketch(812, text, "1 1", "") is None


@given(st.text(), st.text(), st.text())
def test_foreign_texts_do_no_harm(one: str, two: str, three: str) -> None:
    found = sketch(1, one, two, three)
    assert found is None or found.describe().startswith(found.name)
    unit_of(three)
