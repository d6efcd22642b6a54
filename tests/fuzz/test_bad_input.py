# SPDX-License-Identifier: GPL-3.0-or-later
"""Every target under Hypothesis, the same examples in every run. `make fuzz` looks further."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz import recorded_status
from fuzz.targets import TARGETS, Target
from fuzz.unchanged_target import boots_next


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_only_documented_errors(target: Target) -> None:
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]

    @settings(
        max_examples=target.examples, deadline=None, derandomize=True, database=None, suppress_health_check=checks
    )
    @given(st.binary(max_size=400))
    def search(data: bytes) -> None:
        target.run(data)

    search()


def test_there_is_something_to_mutate() -> None:
    assert len(recorded_status.texts("bootc")) > 20
    assert len(recorded_status.texts("rpm-ostree")) > 20


@pytest.mark.parametrize(
    ("status", "name"),
    [
        ({"booted": {"n": "b"}, "staged": {"n": "s"}, "rollback": {"n": "r"}}, "s"),
        ({"booted": {"n": "b"}, "staged": {"n": "s", "downloadOnly": True}}, "b"),
        ({"booted": {"n": "b"}, "staged": None, "rollback": {"n": "r"}, "rollbackQueued": True}, "r"),
    ],
)
def test_the_oracle_knows_what_boots_next(status: dict[str, object], name: str) -> None:
    following = boots_next(status)
    assert following is not None
    assert following["n"] == name
