# SPDX-License-Identifier: GPL-3.0-or-later
"""What is secret in a file with registry credentials, to search for it in an image."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path


def registry_secrets(authfile: Path) -> dict[str, bytes]:
    """The passwords and tokens of a credentials file, by the registry they are for; empty for one that is not understood."""
    try:
        auths = json.loads(authfile.read_bytes()).get("auths")
    except (OSError, ValueError, AttributeError):
        return {}
    found: dict[str, bytes] = {}
    for registry, entry in auths.items() if isinstance(auths, dict) else ():
        if not isinstance(entry, dict):
            continue
        token = entry.get("identitytoken")
        if isinstance(token, str) and token:
            found[f"the token for {registry}"] = token.encode()
        password = _password(entry.get("auth"))
        if password:
            found[f"the password for {registry}"] = password
    return found


def _password(auth: object) -> bytes:
    try:
        return base64.b64decode(str(auth or ""), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""
