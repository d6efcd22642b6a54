# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be written as a health check, and every mistake in a list told at once."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.health_checks import (
    Check,
    ClusterNode,
    Command,
    FailedUnits,
    Greenboot,
    HealthCheckError,
    Http,
    Unit,
    UnitState,
    Value,
    parse_checks,
)

URL = "http://127.0.0.1:10248/healthz"

UNDERSTOOD: dict[str, tuple[Any, Check]] = {
    "no failed units": ({"failed_units": {}}, FailedUnits("failed units")),
    "no failed units, in short": ({"failed_units": None}, FailedUnits("failed units")),
    "some may fail": (
        {"failed_units": {"ignore": ["fwupd", "getty@*.service", "dnf-*"]}},
        FailedUnits("failed units", ("fwupd.service", "getty@*.service", "dnf-*.service")),
    ),
    "a unit": ({"unit": "kubelet"}, Unit("kubelet.service", "kubelet.service")),
    "a unit with dots in its name": ({"unit": "app.v2"}, Unit("app.v2.service", "app.v2.service")),
    "a unit that is not to run": (
        {"unit": "debug.socket", "state": "inactive", "name": "no debugging"},
        Unit("no debugging", "debug.socket", UnitState.INACTIVE),
    ),
    "an answer": ({"http": URL}, Http(f"http {URL}", URL)),
    "an answer with one of two statuses": ({"http": URL, "status": [200, "204"]}, Http(f"http {URL}", URL, (200, 204))),
    "something true in the answer": (
        {"http": URL, "json": "ready"},
        Http(f"http {URL}", URL, value=Value("ready")),
    ),
    "nothing at some place in the answer": (
        {"http": URL, "json": "error", "equals": None},
        Http(f"http {URL}", URL, value=Value("error", None, any_true=False)),
    ),
    "a server of one's own authority": (
        {"http": "https://localhost:1/", "ca_file": "/etc/ca.pem", "timeout": "1m"},
        Http("http https://localhost:1/", "https://localhost:1/", ca_file="/etc/ca.pem", timeout=60),
    ),
    "the query is not in the name": ({"http": f"{URL}?token=s3cret"}, Http(f"http {URL}", f"{URL}?token=s3cret")),
    "a command": (
        {"command": ["/usr/bin/pg_isready", "-p", 5432]},
        Command("pg_isready", ("/usr/bin/pg_isready", "-p", "5432")),
    ),
    "a command with another code": (
        {"command": ["grep", "x", "/etc/y"], "rc": [0, 1], "timeout": 3},
        Command("grep", ("grep", "x", "/etc/y"), (0, 1), 3),
    ),
    "greenboot": ({"greenboot": True}, Greenboot("greenboot")),
    "the cluster": ({"node": "ready"}, ClusterNode("node")),
}


@pytest.mark.parametrize("case", UNDERSTOOD)
def test_understood(case: str) -> None:
    given, wanted = UNDERSTOOD[case]
    assert parse_checks([given]) == (wanted,)


MISTAKES: dict[str, tuple[Any, str]] = {
    "not a dictionary": ("kubelet", "Check 1 is 'kubelet', and wanted is a dictionary"),
    "no kind": ({"units": "kubelet"}, "and has none of them, only units"),
    "an empty one": ({}, "and has none of them, only nothing"),
    "two kinds": ({"unit": "kubelet", "http": URL}, "and has unit and http"),
    "an unknown option": (
        {"unit": "kubelet", "status": 200},
        "Check 1 (unit) has status, which it does not know; it knows name, state",
    ),
    "a name of two lines": ({"greenboot": True, "name": "a\nb"}, "needs a name of 1 to 100 characters in one line"),
    "an option where there is none": ({"failed_units": {"except": []}}, "has except in it; it knows only ignore"),
    "ignore is text": ({"failed_units": {"ignore": "x.service"}}, "has ignore 'x.service'; wanted is a list of words"),
    "ignore is a command": (
        {"failed_units": {"ignore": ["$(reboot)"]}},
        "ignores '$(reboot)', which is not the name of a unit",
    ),
    "not a unit": ({"unit": "kubelet.service; reboot"}, "which is not the name of a unit"),
    "an option for a unit": ({"unit": "--now"}, "which is not the name of a unit"),
    "another state": ({"unit": "a", "state": "running"}, "wants the state 'running'; it can be active or inactive"),
    "not a URL": ({"http": "localhost:80"}, "needs the URL to ask"),
    "another scheme": ({"http": "file:///etc/shadow"}, "needs the URL to ask"),
    "a port that is none": ({"http": "http://a:x/"}, "needs the URL to ask"),
    "a space in a URL": ({"http": "http://a/ b"}, "needs the URL to ask"),
    "a password in a URL": ({"http": "http://u:hush@a/"}, "has a user in its URL"),
    "not a status": ({"http": URL, "status": "ok"}, "has status 'ok'; wanted is a number from 100 to 599"),
    "a status that does not exist": ({"http": URL, "status": 20}, "has status 20; wanted"),
    "no status at all": ({"http": URL, "status": []}, "has status []; wanted"),
    "equals what": ({"http": URL, "equals": 1}, "has equals but no json"),
    "a path that is none": ({"http": URL, "ca_file": "ca.pem"}, "has the ca_file 'ca.pem'; wanted is the path"),
    "neither true nor false": ({"http": URL, "validate_certs": "maybe"}, "has validate_certs 'maybe'"),
    "a timeout that is none": ({"http": URL, "timeout": "soon"}, "has a timeout that cannot be understood"),
    "a timeout of nothing": (
        {"command": ["true"], "timeout": 0},
        "has the timeout 0; it can be from 1 second to an hour",
    ),
    "a shell's command": ({"command": "systemctl is-active x"}, "is text; wanted is a list of words such as"),
    "no command": ({"command": []}, "needs a list with the program and its arguments"),
    "no exit code": ({"command": ["true"], "rc": 256}, "has rc 256; wanted is a number from 0 to 255"),
    "no greenboot": ({"greenboot": False}, "it can only be true"),
    "not ready": ({"node": "NotReady"}, "it can only be ready"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistake(case: str) -> None:
    given, said = MISTAKES[case]
    with pytest.raises(HealthCheckError) as caught:
        parse_checks([given])
    (mistake,) = caught.value.mistakes
    assert said in mistake
    assert "hush" not in mistake


def test_all_mistakes_are_told_at_once() -> None:
    given = [given for given, _said in MISTAKES.values()]
    with pytest.raises(HealthCheckError) as caught:
        parse_checks([{"greenboot": True}, *given])
    assert len(caught.value.mistakes) == len(given)
    assert all(f"Check {number} " in str(caught.value) for number in range(2, len(given) + 2))


@pytest.mark.parametrize("given", [None, "kubelet", {"unit": "kubelet"}, 1])
def test_not_a_list(given: object) -> None:
    with pytest.raises(HealthCheckError, match="wanted is a list of dictionaries"):
        parse_checks(given)


def test_the_order_is_kept() -> None:
    given = [given for given, _check in UNDERSTOOD.values()]
    assert parse_checks(given) == tuple(check for _given, check in UNDERSTOOD.values())
    assert parse_checks(()) == ()


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://localhost:80/", True),
        ("https://127.0.0.53/", True),
        ("http://[::1]:8080/x", True),
        ("http://localhost.example.com/", False),
        ("http://127.example.com/", False),
    ],
)
def test_the_node_asks_itself(url: str, loopback: bool) -> None:
    (check,) = parse_checks([{"http": url}])
    assert isinstance(check, Http)
    assert check.loopback is loopback
