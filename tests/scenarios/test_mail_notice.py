# SPDX-License-Identifier: GPL-3.0-or-later
"""mail_notice against a mail server: logins, addresses that are refused, encryption that is not there, check mode."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from build_project import smtp_sink

PASSWORD = "correct-horse-battery"


def send(port: int, check_mode: bool = False, **options: Any) -> dict[str, Any]:
    """The result of the module, as Ansible runs it."""
    arguments = {
        "to": ["a@example.com", "b@example.com"],
        "sender": "builds@example.com",
        "subject": "No image",
        "body": "Nothing was built.",
        "host": "127.0.0.1",
        "port": port,
        "timeout": 10,
        "_ansible_check_mode": check_mode,
    }
    done = subprocess.run(
        [sys.executable, "-m", "ansible_collections.imagemode.nodes.plugins.modules.mail_notice"],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, **options}}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert PASSWORD not in done.stdout.replace(json.dumps(options), "")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_login_with_a_password_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\nnot this\n")
    with smtp_sink(password=PASSWORD) as sink:
        result = send(sink.port, username="builds", password_file=str(tmp_path / "password"))
    assert (result["changed"], result["msg"], result["refused"]) == (True, "Sent to a@example.com, b@example.com", {})
    assert len(sink.logins) == len(sink.mails) == 1


def test_a_wrong_password() -> None:
    with smtp_sink(password=PASSWORD) as sink:
        result = send(sink.port, username="builds", password="wrong")
    assert result["failed"] is True
    assert "does not let builds in: 535" in result["msg"]
    assert sink.mails == []


@pytest.mark.parametrize(
    ("refuses", "failed", "mails"), [(("a@example.com",), False, 1), (("a@example.com", "b@example.com"), True, 0)]
)
def test_addresses_that_are_refused_are_named(refuses: tuple[str, ...], failed: bool, mails: int) -> None:
    with smtp_sink(refuses=refuses) as sink:
        result = send(sink.port)
    assert result.get("failed", False) is failed
    assert set(result["refused"]) == set(refuses)
    assert result["refused"]["a@example.com"] == "550 No such user here"
    assert len(sink.mails) == mails


def test_nothing_is_said_in_the_clear_where_encryption_was_wanted() -> None:
    with smtp_sink() as sink:
        result = send(sink.port, secure="starttls", username="builds", password=PASSWORD)
    assert result["failed"] is True
    assert "cannot do what is asked" in result["msg"]
    assert (sink.logins, sink.mails) == ([], [])


def test_check_mode_sends_nothing() -> None:
    with smtp_sink() as sink:
        result = send(sink.port, check_mode=True)
    assert (result["changed"], sink.mails) == (True, [])
