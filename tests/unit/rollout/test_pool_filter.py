# SPDX-License-Identifier: GPL-3.0-or-later
"""A play over a pool that does not exist is an error, not a play over nothing."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.imagemode.nodes.plugins.filter.pool import pool

GROUPS = {
    "all": ["n1"],
    "ungrouped": [],
    "workers": ["n1"],
    "masters": ["m1"],
    "empty": [],
    "imagemode_queue_workers": ["n1"],
}


def test_a_group_is_itself() -> None:
    assert pool("workers", GROUPS) == "workers"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (None, "imagemode_pool is not set"),
        ("", "imagemode_pool is not set"),
        (["workers"], "imagemode_pool is not set"),
        ("wrokers", "Did you mean workers?"),
        ("zzz", "no such group. Groups: "),
        ("all", "is no pool"),
        ("ungrouped", "is no pool"),
        ("empty", "no hosts"),
        ("n1", "no such group"),
        ("workers:masters", "no such group"),
    ],
)
def test_anything_else_is_an_error(name: object, told: str) -> None:
    for queue in (False, True):
        with pytest.raises(AnsibleFilterError) as caught:
            pool(name, GROUPS, queue=queue)
        assert told in str(caught.value)


def test_the_queue_of_a_pool() -> None:
    assert pool("workers", GROUPS, queue=True) == "imagemode_queue_workers"
    assert pool("masters", GROUPS, queue=True) == "all:!all"


def test_a_name_from_another_variable_is_called_by_it() -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        pool("wrokers", GROUPS, variable="imagemode_build_hosts")
    assert "imagemode_build_hosts is 'wrokers'" in str(caught.value)
