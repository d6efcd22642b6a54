# SPDX-License-Identifier: GPL-3.0-or-later
"""The mail that mail_notice makes, and what it says where a mail server does not take it."""

from __future__ import annotations

import smtplib
import ssl
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.modules import mail_notice

PARAMS: dict[str, Any] = {
    "to": ["a@example.com", "b@example.com"],
    "sender": "builds@example.com",
    "subject": "The image\nwas not built",
    "body": "Straße\n",
    "host": "mail.example.com",
    "port": None,
    "secure": "starttls",
    "username": "builds",
}


def test_a_mail_has_what_keeps_it_from_being_answered_and_no_header_of_the_subjects() -> None:
    message = mail_notice.mail(PARAMS)
    assert message["To"] == "a@example.com, b@example.com"
    assert message["Subject"] == "The image was not built"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content() == "Straße\n"


@pytest.mark.parametrize("address", ["a@example.com\nBcc: x@example.com"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"linefeed|newline|header"):
        mail_notice.mail({**PARAMS, "to": [address]})


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (smtplib.SMTPAuthenticationError(535, b"no"), "does not let builds in: 535 no. Check username and password"),
        (smtplib.SMTPNotSupportedError("STARTTLS extension not supported"), "cannot do what is asked: STARTTLS"),
        (
            smtplib.SMTPRecipientsRefused({"a@example.com": (550, b"gone")}),
            "none of the addresses: a@example.com: 550 gone",
        ),
        (smtplib.SMTPSenderRefused(553, b"who?", "x"), "refuses the mail: 553 who?"),
        (ssl.SSLError("certificate verify failed"), "cannot be encrypted"),
        (ConnectionRefusedError(111, "Connection refused"), "could not be handed to mail.example.com:587"),
    ],
)
def test_trouble_is_named_with_what_to_do(error: Exception, says: str) -> None:
    assert says in mail_notice.explained(PARAMS, error)
