# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node says of its units, and what follows for releasing them."""

from __future__ import annotations

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.held_units import (
    HeldUnit,
    UnitsView,
    check_units,
    parse_units,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._core.status_json import StatusNotUnderstood

ANSWER = """held kubelet.service
held crio.service
unit kubelet.service
LoadState=loaded
ActiveState=inactive
ConditionResult=no

unit crio.service
LoadState=not-found
ActiveState=inactive
complete
"""


def test_an_answer() -> None:
    view = parse_units(ANSWER)
    assert view == UnitsView(
        (
            HeldUnit("kubelet.service", "loaded", "inactive", "no", True),
            HeldUnit("crio.service", "not-found", "inactive", "", True),
        )
    )
    assert (view.held, view.to_start) == (("kubelet.service", "crio.service"), ("kubelet.service",))


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "complete\nmore",
        ANSWER[: -len("complete\n")],
        "unit a.service\ncomplete\n",
        ANSWER.replace("LoadState", "X"),
    ],
)
def test_an_answer_that_is_not_all_there_is_no_answer(answer: str) -> None:
    with pytest.raises(StatusNotUnderstood):
        parse_units(answer)


@pytest.mark.parametrize(
    ("load", "active", "held", "starts"),
    [
        ("loaded", "inactive", True, True),
        ("loaded", "inactive", False, False),  # somebody has stopped it
        ("loaded", "failed", False, True),  # an earlier release could not start it
        ("loaded", "active", True, False),
        ("loaded", "activating", True, False),
        ("masked", "inactive", True, False),
        ("not-found", "inactive", True, False),
    ],
)
def test_what_a_release_starts(load: str, active: str, held: bool, starts: bool) -> None:
    view = UnitsView((HeldUnit("kubelet.service", load, active, "", held),))
    assert bool(view.to_start) == starts


@pytest.mark.parametrize(
    "name",
    [
        "kubelet",
        "",
        "../x.service",
        "a b.service",
        "-x",
        "x.mount",
        "x.slice",
        "x.service\n",
        "$(x).service",
        "é.service",
    ],
)
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(Refusal, match=r"such as kubelet\.service"):
        check_units([name])


def test_names_count_once() -> None:
    assert check_units(["a@1.service", "a@1.service", "b.timer"]) == ("a@1.service", "b.timer")
