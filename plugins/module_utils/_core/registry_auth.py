# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials of registries as one file. No message here ever repeats a value: it may be a password."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal

AUTH_FILES = ("/run/ostree/auth.json", "/etc/ostree/auth.json", "/usr/lib/ostree/auth.json")
"""Where bootc and rpm-ostree both look. The first that exists is the only one (bootc 1.16.9 crates/ostree-ext/src/globals.rs)."""

OUR_AUTH_FILE = AUTH_FILES[1]

_REGISTRY = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?(?:/[a-z0-9][a-z0-9._/-]*)?\Z")


def render_auth(sources: Sequence[object]) -> str:
    """The auth file of several sources; of two credentials for one registry the later source's count.

    A source is `{registry: {username, password}}`, or an auth file as a mapping or as its text. The same credentials give the
    same text, whatever their order. Raises Refusal, also when nothing is left: both tools take an empty file for
    "needs no credentials".
    """
    auths: dict[str, dict[str, Any]] = {}
    for number, source in enumerate(sources, 1):
        auths.update(_entries(source, f"imagemode_registry_auth, source {number}"))
    if not auths:
        raise Refusal(
            "imagemode_registry_auth holds no credentials, and with such a file every pull would be anonymous. Give at least one registry; "
            "or leave imagemode_registry_auth out, and say imagemode_registry_anonymous: true, to remove what is on the nodes."
        )
    return json.dumps({"auths": dict(sorted(auths.items()))}, indent=2, sort_keys=True) + "\n"


def _entries(source: object, where: str) -> dict[str, dict[str, Any]]:
    document = _document(source, where)
    for key in ("credHelpers", "credsStore"):
        if document.get(key):
            raise Refusal(
                f"{where}: the file leaves its passwords to a helper program ({key}) that the nodes do not have. "
                "Log in with `podman login --authfile FILE`, which writes them into the file, or give user names and passwords."
            )
    if "auths" in document:
        auths = document["auths"]
        if not isinstance(auths, Mapping):
            raise Refusal(f"{where}: 'auths' is no mapping of registries.")
        return {str(registry): _entry(entry, f"{where}, {registry}") for registry, entry in auths.items()}
    return {_registry(registry, where): _login(login, f"{where}, {registry}") for registry, login in document.items()}


def _document(source: object, where: str) -> Mapping[str, Any]:
    if isinstance(source, Mapping):
        return source
    if isinstance(source, (str, bytes)):
        try:
            document = json.loads(source)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, Mapping):
            return document
        raise Refusal(f"{where}: the text is no JSON object, as an auth file is.")
    raise Refusal(f"{where}: neither a mapping of registries, nor the text or the path of an auth file.")


def _registry(registry: object, where: str) -> str:
    if not isinstance(registry, str) or not _REGISTRY.match(registry):
        raise Refusal(
            f"{where}: {registry!r} is no registry. Write its host and port, such as registry.example.com:5000."
        )
    return registry


def _login(login: object, where: str) -> dict[str, str]:
    if not isinstance(login, Mapping) or not login.keys() <= {"username", "password"}:
        raise Refusal(f"{where}: give username and password, and nothing else.")
    username, password = login.get("username"), login.get("password")
    if not isinstance(username, str) or not isinstance(password, str) or not username or not password:
        raise Refusal(f"{where}: username and password must both be there, as texts.")
    if ":" in username:
        raise Refusal(f"{where}: a user name cannot hold a colon.")
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode("ascii")}


def _entry(entry: object, where: str) -> dict[str, Any]:
    """An entry of an auth file as it is, if there is something in it that a registry would take."""
    if not isinstance(entry, Mapping):
        raise Refusal(f"{where}: the entry is no mapping.")
    if entry.get("username") and entry.get("password") and not entry.get("auth"):
        return _login({key: entry[key] for key in ("username", "password")}, where)
    try:
        decoded = base64.b64decode(str(entry.get("auth") or ""), validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    user, _colon, password = decoded.partition(b":")
    if not user or not (password or entry.get("identitytoken")):
        raise Refusal(f"{where}: no credentials in the entry, so this registry would be asked anonymously.")
    return {str(key): value for key, value in entry.items()}
