# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel arguments that a staging repeats, against what bootc 1.1.6 was recorded to do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_state import Deployment, HostState, Tool
from ansible_collections.imagemode.nodes.plugins.module_utils._host.staging_proof import repeated_arguments

BOOTED = HostState(
    Tool.BOOTC, booted=Deployment(None, "old", 0), kargs_booted=("root=LABEL=root", "rw", "lab.one=1", "lab.two=2")
)
STAGED = replace(BOOTED, staged=Deployment(None, "new", 0))


@pytest.mark.parametrize(
    ("following", "said"),
    [
        ("root=LABEL=root rw lab.one=1 lab.two=2 lab.one=1 lab.two=2", "more than once: lab.one=1 lab.two=2."),
        ("root=LABEL=root rw lab.one=1 lab.one=2", None),
        ("root=LABEL=root rw new", None),
    ],
    ids=["repeated", "one key, two values", "changed"],
)
def test_what_is_repeated(following: str, said: str | None) -> None:
    warnings = repeated_arguments(BOOTED, replace(STAGED, kargs_next=tuple(following.split())))
    assert [said is not None and said in warning for warning in warnings] == ([True] if said else [])


def test_what_was_there_twice_before_is_nobodys_new_mistake() -> None:
    twice = (*(BOOTED.kargs_booted or ()), "lab.one=1")
    assert repeated_arguments(replace(BOOTED, kargs_booted=twice), replace(STAGED, kargs_next=twice)) == ()


def test_where_nobody_tells_the_next_arguments_nothing_is_said() -> None:
    assert repeated_arguments(BOOTED, STAGED) == ()
