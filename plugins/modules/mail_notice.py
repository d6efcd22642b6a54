#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module entry of mail_notice."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mail_notice
short_description: Send a notice by mail
version_added: 0.2.0
description:
  - Hands a short mail of plain text to a mail server, over SMTP.
  - Runs on the controller with C(delegate_to=localhost), or on whichever host reaches the mail server.
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
attributes:
  check_mode:
    support: full
    details: Sends nothing, and does not ask the mail server.
  diff_mode:
    support: none
  idempotent:
    support: none
    details: Every run sends a mail.
  async:
    support: full
  platform:
    support: full
    platforms: posix
options:
  to:
    description: Addresses to send it to.
    type: list
    elements: str
    required: true
  sender:
    description: The address that it comes from.
    type: str
    required: true
  subject:
    description: The subject. Line breaks become spaces.
    type: str
    required: true
  body:
    description: The text.
    type: str
    required: true
  host:
    description: The mail server.
    type: str
    default: localhost
  port:
    description: Its port. If not set, that is 465 with O(secure=tls), 587 with O(secure=starttls), else 25.
    type: int
  secure:
    description:
      - How the connection is encrypted. V(tls) from its first byte, V(starttls) before anything is said, and it fails where the server
        cannot, V(none) not at all.
    type: str
    choices: [none, starttls, tls]
    default: none
  ca_file:
    description: A file with the certificates to check the server against, instead of those of the system.
    type: path
  validate_certs:
    description: Whether to check the certificate of the server.
    type: bool
    default: true
  username:
    description: The account, for a server that wants a login.
    type: str
  password:
    description: Its password. Use O(password_file) for one that is in a file.
    type: str
  password_file:
    description: A file on the host that runs the module, whose first line is the password.
    type: path
  timeout:
    description: Seconds to wait for each answer of the mail server.
    type: int
    default: 30
seealso:
  - module: imagemode.nodes.layered_image_build
"""

EXAMPLES = r"""
- name: Tell the team
  imagemode.nodes.mail_notice:
    to: [os-team@example.com]
    sender: builds@example.com
    subject: The image of the workers was not built
    body: "{{ ansible_failed_result.msg }}"
    host: mail.example.com
    secure: starttls
    username: builds
    password_file: /etc/imagemode/mail-password
  delegate_to: localhost
"""

RETURN = r"""
msg:
  description: What came of it in a line for people, or what went wrong and what to do about it.
  returned: always
  type: str
  sample: Sent to os-team@example.com
refused:
  description: The addresses that the mail server did not take, each with its reason. The others have got it.
  returned: always
  type: dict
  sample: {"nobody@example.com": "550 No such user here"}
"""

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

SPEC: dict[str, Any] = {
    "to": {"type": "list", "elements": "str", "required": True},
    "sender": {"type": "str", "required": True},
    "subject": {"type": "str", "required": True},
    "body": {"type": "str", "required": True},
    "host": {"type": "str", "default": "localhost"},
    "port": {"type": "int"},
    "secure": {"type": "str", "choices": ["none", "starttls", "tls"], "default": "none"},
    "ca_file": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "password_file": {"type": "path", "no_log": False},  # a path, never the password
    "timeout": {"type": "int", "default": 30},
}
PORTS = {"none": 25, "starttls": 587, "tls": 465}


def mail(params: dict[str, Any]) -> EmailMessage:
    """The mail. Raises ValueError for an address that is none."""
    message = EmailMessage()
    message["From"] = params["sender"]
    message["To"] = ", ".join(params["to"])
    message["Subject"] = " ".join(params["subject"].split())
    message["Date"] = formatdate(localtime=True)
    message["Message-ID"] = make_msgid()
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: keeps answering machines silent
    message.set_content(params["body"])
    return message


def trust(params: dict[str, Any]) -> ssl.SSLContext:
    """How the certificate of the server is checked. Raises OSError for a file that is none."""
    context = ssl.create_default_context(cafile=params["ca_file"])
    if not params["validate_certs"]:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def password(params: dict[str, Any]) -> str:
    """The password. Raises OSError where its file cannot be read."""
    if params["password_file"]:
        return Path(params["password_file"]).read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    return str(params["password"] or "")


def send(params: dict[str, Any]) -> dict[str, str]:
    """Hand the mail over; the addresses that were refused. Raises OSError (SMTPException is one) and ValueError."""
    message = mail(params)
    port = params["port"] or PORTS[params["secure"]]
    secret = password(params) if params["username"] else ""
    if params["secure"] == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(params["host"], port, timeout=params["timeout"], context=trust(params))
    else:
        server = smtplib.SMTP(params["host"], port, timeout=params["timeout"])
    with server:
        if params["secure"] == "starttls":
            server.starttls(context=trust(params))
        if params["username"]:
            server.login(params["username"], secret)
        refused = server.send_message(message)
    return {address: words(*answer) for address, answer in refused.items()}


def words(code: int, said: bytes) -> str:
    """An answer of a mail server as text."""
    return f"{code} {said.decode('utf-8', 'replace')}"


def explained(params: dict[str, Any], error: Exception) -> str:
    """What went wrong, and what to do about it."""
    place = f"{params['host']}:{params['port'] or PORTS[params['secure']]}"
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return (
            f"The mail server {place} does not let {params['username']} in: {words(error.smtp_code, _bytes(error.smtp_error))}. "
            "Check username and password."
        )
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return f"The mail server {place} cannot do what is asked: {error}. Check secure, and username for a server without logins."
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        answers = "; ".join(f"{address}: {words(*answer)}" for address, answer in error.recipients.items())
        return f"The mail server {place} takes mail for none of the addresses: {answers}"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"The mail server {place} refuses the mail: {words(error.smtp_code, _bytes(error.smtp_error))}"
    if isinstance(error, ssl.SSLError):
        return (
            f"The connection to the mail server {place} cannot be encrypted: {error}. Check secure, port and ca_file."
        )
    return f"The mail could not be handed to {place}: {error}. Check host, port and secure."


def _bytes(said: bytes | str) -> bytes:
    return said if isinstance(said, bytes) else said.encode()


def main() -> None:
    """Run where the mail server can be reached."""
    module = AnsibleModule(
        argument_spec=SPEC,
        mutually_exclusive=[("password", "password_file")],
        supports_check_mode=True,
    )
    everybody = ", ".join(module.params["to"])
    if module.check_mode:
        module.exit_json(changed=True, msg=f"Would be sent to {everybody}", refused={})
    try:
        refused = send(module.params)
    except (OSError, ValueError) as error:
        answers = error.recipients if isinstance(error, smtplib.SMTPRecipientsRefused) else {}
        refused = {address: words(*answer) for address, answer in answers.items()}
        module.fail_json(msg=explained(module.params, error), refused=refused)
    taken = ", ".join(address for address in module.params["to"] if address not in refused)
    missed = f", not to {', '.join(refused)}" if refused else ""
    module.exit_json(changed=True, msg=f"Sent to {taken}{missed}", refused=refused)


if __name__ == "__main__":
    main()
