# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files of a configuration are secrets, so that no image ever has them. Better one too many: it still gets to the host."""

from __future__ import annotations

import fnmatch
import json
import re

_KNOWN_PATHS = (
    "/var/lib/kubelet/config.json",
    "/etc/ostree/auth.json",
    "/run/ostree/auth.json",
    "/usr/lib/ostree/auth.json",
    "/etc/containers/auth.json",
    "/run/containers/*/auth.json",
    "*/.docker/config.json",
    "*/.dockercfg",
    "*/.config/containers/auth.json",
    "*/.netrc",
    "/etc/shadow",
    "/etc/gshadow",
    "/etc/krb5.keytab",
    "/etc/ssh/ssh_host_*_key",
)

# Their programs insist on a closed mode, or hardening guides do, though nothing in them is a secret.
_CLOSED_BY_CUSTOM = (
    "/etc/sudoers",
    "/etc/sudoers.d/*",
    "/etc/ssh/sshd_config",
    "/etc/ssh/sshd_config.d/*",
    "/etc/audit/*",
    "/etc/cron*",
    "/etc/at.*",
    "/etc/usbguard/*",
    "/etc/modprobe.d/*",
    "/etc/sysctl.d/*",
    "/etc/polkit-1/rules.d/*",
)

# Repetitions are bounded: files can be large, and each pattern is tried at every place of them.
_CONTENTS = (
    (re.compile(rb"-----BEGIN (?:[A-Z0-9]{1,16} ){0,4}PRIVATE KEY(?: BLOCK)?-----"), "it has a private key in it"),
    (
        re.compile(rb"(?m)^[^:\s]{1,64}:(?:\{SHA\}|\$(?:1|2[abxy]|5|6|7|y|gy|apr1)\$)"),
        "it has hashes of passwords in it",
    ),
    (
        re.compile(rb"\bclient-key-data[\"']?[ \t]{0,16}:[ \t]{0,16}[\"']?[A-Za-z0-9+/]"),
        "it has the key of a client in it",
    ),
    (re.compile(rb"\btoken[\"']?[ \t]{0,16}:[ \t]{0,16}[\"']?[A-Za-z0-9_.-]{16}"), "it has a token in it"),
    (
        re.compile(rb"[a-z][a-z0-9+.-]{1,15}://[^\s/:@\"'<>${}]{0,128}:[^\s/@\"'<>${}]{1,256}@"),
        "it has a URL with a password in it",
    ),
)


def secret_reason(path: str, mode: int, content: bytes) -> str | None:
    """Why a file counts as a secret, to complete "secret, because …"; None where it does not."""
    if _matches(path, _KNOWN_PATHS):
        return f"{path} is where credentials are kept"
    found = reason_in_content(content)
    if found:
        return found
    if mode & 0o007 == 0 and not mode & 0o111 and not _matches(path, _CLOSED_BY_CUSTOM):
        return f"its mode {mode:04o} keeps others from reading it, and whoever can pull an image reads all of it"
    return None


def reason_in_content(content: bytes) -> str | None:
    """Why a content counts as a secret; None where it does not."""
    if _has_registry_credentials(content):
        return "it has credentials for registries in it"
    return next((reason for pattern, reason in _CONTENTS if pattern.search(content)), None)


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def _has_registry_credentials(content: bytes) -> bool:
    if b"auth" not in content or content.lstrip()[:1] != b"{":
        return False
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return b'"auths"' in content  # broken, and still not for everybody
    if not isinstance(document, dict):
        return False
    auths = document.get("auths", document)
    entries = auths.values() if isinstance(auths, dict) else [auths]
    return any(
        isinstance(entry, dict)
        and any(entry.get(key) for key in ("auth", "password", "identitytoken", "registrytoken"))
        for entry in entries
    )
