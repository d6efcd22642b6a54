# SPDX-License-Identifier: GPL-3.0-or-later
"""passwd of an Ignition config: the SSH keys of users. Everything else about accounts cannot be honoured by an image."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_config import UserEntry
from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_fields import (
    Fields,
    require_no_duplicates,
    shown,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config import Origin, Unsupported

_NOT_HONOURED = {
    "passwordHash": "a password hash is a secret and belongs to the host; set it there",
    "uid": "accounts are made in the Containerfile or by sysusers.d",
    "gecos": "accounts are made in the Containerfile or by sysusers.d",
    "groups": "memberships are made in the Containerfile or by sysusers.d",
    "primaryGroup": "memberships are made in the Containerfile or by sysusers.d",
    "homeDir": "accounts are made in the Containerfile or by sysusers.d",
    "noCreateHome": "accounts are made in the Containerfile or by sysusers.d",
    "noUserGroup": "accounts are made in the Containerfile or by sysusers.d",
    "noLogInit": "accounts are made in the Containerfile or by sysusers.d",
    "shell": "accounts are made in the Containerfile or by sysusers.d",
    "system": "accounts are made in the Containerfile or by sysusers.d",
    "shouldExist": "accounts are removed in the Containerfile",
}
_USER = {"name": 0, "sshAuthorizedKeys": 0, **dict.fromkeys(_NOT_HONOURED, 0), "shouldExist": 2}
_ALWAYS_THERE = ("core", "root")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\Z")


def read_passwd(passwd: Fields) -> tuple[tuple[UserEntry, ...], list[Unsupported]]:
    """The users with their SSH keys, and what cannot be honoured. Raises InvalidConfig."""
    unsupported: list[Unsupported] = []
    users = []
    for fields in passwd.objects("users", _USER):
        name = fields.required_text("name")
        if not _NAME.match(name):
            raise fields.origin.below("name").error(f"{shown(name)} is not the name of a user")
        users.append(UserEntry(name, _read_keys(fields), fields.origin))
        refused = [
            Unsupported(fields.origin.below(field), reason, accepted=False)
            for field, reason in _NOT_HONOURED.items()
            if _asks_for_something(field, fields.value(field))
        ]
        if not users[-1].keys and not refused and name not in _ALWAYS_THERE:
            reason = f"Ignition would make the user {name}; accounts are made in the Containerfile or by sysusers.d"
            refused = [Unsupported(fields.origin, reason, accepted=False)]
        unsupported += refused
    require_no_duplicates((user.name, user.origin.below("name")) for user in users)
    for origin, _value in passwd.entries("groups"):
        unsupported.append(Unsupported(origin, "groups are made in the Containerfile or by sysusers.d", accepted=False))
    return tuple(users), unsupported


def _read_keys(fields: Fields) -> tuple[str, ...]:
    """The keys, one a line: people do put several lines into one entry, and sshd reads lines."""
    entries = fields.texts("sshAuthorizedKeys")
    _require_distinct_keys(entries)
    keys: dict[str, None] = {}
    for origin, text in entries:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if not lines or not all(line.isprintable() for line in lines):
            raise origin.error("this is not an SSH public key: it is empty or contains control characters")
        if any("PRIVATE KEY" in line for line in lines):
            raise origin.error("this is a PRIVATE key; it has to be a public one, the content of the .pub file")
        keys.update(dict.fromkeys(lines))
    return tuple(keys)


def _require_distinct_keys(entries: list[tuple[Origin, str]]) -> None:
    """As require_no_duplicates, without showing the key."""
    seen: dict[str, Origin] = {}
    for origin, text in entries:
        if text in seen:
            raise origin.error(f"this key is there already, in {seen[text].field}; keep one of the two")
        seen[text] = origin


def _asks_for_something(field: str, value: Any) -> bool:
    """Whether a field says more than its default."""
    if field == "shouldExist":
        return value is False
    return value is not None and value is not False and value not in ("", [], {})
