# SPDX-License-Identifier: GPL-3.0-or-later
"""The tools' own words, and the advice that goes with them."""

from __future__ import annotations

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.tool_failure import error_text, explain

RECORDED = [
    (
        "error: Switching: Switching (ostree): Preparing import: Fetching manifest: failed to invoke method OpenImage: reading manifest "
        "nosuch in 10.77.0.1:5000/os: manifest unknown",
        "check repository and tag for a typo",
    ),
    (
        "error: Switching: Switching (ostree): Preparing import: Fetching manifest: failed to invoke method OpenImage: unable to retrieve "
        "auth token: invalid username/password: unauthorized: authentication required",
        "/etc/ostree/auth.json",
    ),
    (
        'error: Switching: pinging container registry 10.77.0.1:5002: Get "https://10.77.0.1:5002/v2/": http: server gave HTTP response to '
        "HTTPS client",
        "registries.conf.d",
    ),
    (
        'error: Switching: pinging container registry 10.77.0.1:5009: Get "http://10.77.0.1:5009/v2/": dial tcp 10.77.0.1:5009: connect: '
        "connection refused",
        "cannot reach the registry",
    ),
    ("error: Switching: Insufficient free space for os:v2 (available: 10 MB required: 300 MB)", "disk is too full"),
    ("\x1b[31mERROR\x1b[0m Switching: Pulling: Image has architecture arm64; expected amd64", "another architecture"),
    (
        "error: Transaction in progress: rebase os:v2\n You can cancel the current transaction with `rpm-ostree cancel`",
        "rpm-ostree cancel",
    ),
    ("error: System transaction in progress", "works on this node"),
    ("error: Status: This command must be executed as the root user", "become: true"),
]


@pytest.mark.parametrize(("stderr", "advice"), RECORDED)
def test_recorded_errors_come_with_advice(stderr: str, advice: str) -> None:
    assert advice in explain(stderr)


def test_colours_and_progress_are_left_out() -> None:
    assert error_text("Deploying...\n\x1b[31mERROR\x1b[0m Switching: no\n") == "Switching: no"


def test_an_unmarked_error_is_shown_by_its_last_lines() -> None:
    assert error_text("a\nb\nc\nd\n") == "b / c / d"


def test_no_error_text_is_said() -> None:
    assert explain("") == "it printed no error message"
