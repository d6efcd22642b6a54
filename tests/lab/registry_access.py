# SPDX-License-Identifier: GPL-3.0-or-later
"""How one node reaches the registry of a reference, read from the node's own files as containers/image reads them.

Mirrors and plain HTTP from registries.conf(.d), credentials from the first auth file, trust from certs.d and the bundle
of authorities, a proxy from the environment of the process that pulls.
"""

from __future__ import annotations

import base64
import json
import os

from lab.pull_error import PullError
from lab.simulators import toml
from lab.simulators.host import Host
from lab.simulators.image_reference import RegistryReference

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

AUTH_FILES = ("/run/ostree/auth.json", "/etc/ostree/auth.json", "/usr/lib/ostree/auth.json")
REGISTRIES_CONF = "/etc/containers/registries.conf"
CERTIFICATE_DIRECTORIES = ("/etc/containers/certs.d", "/etc/docker/certs.d")
# Go's own list, of which the first that exists counts (crypto/x509, root_linux.go)
BUNDLES = (
    *("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"),
    *("/etc/pki/tls/cacert.pem", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem"),
)


class Access:
    """How to talk to one registry.

    ``authorities`` are files (of this machine) with certificates to trust, ``client`` is a certificate and its key, or
    None. ``proxy`` is a URL. ``addresses`` are the names of the node's /etc/hosts.
    """

    def __init__(
        self,
        *,
        insecure: bool,
        authorization: str | None,
        authorities: tuple[str, ...] = (),
        client: tuple[str, str] | None = None,
        proxy: str | None = None,
        addresses: Mapping[str, str] | None = None,
    ) -> None:
        self.insecure = insecure
        self.authorization = authorization
        self.authorities = authorities
        self.client = client
        self.proxy = proxy
        self.addresses = addresses or {}

    @classmethod
    def of_node(
        cls, host: Host, reference: RegistryReference, *, insecure: bool, environment: Mapping[str, str]
    ) -> Access:
        """Raises PullError for an auth file that is no JSON."""
        from lab.proxy_choice import proxy_for

        authorities, client = _trust(host, reference.host, environment)
        return cls(
            insecure=insecure,
            authorization=_authorization(host, reference),
            authorities=authorities,
            client=client,
            proxy=proxy_for("http" if insecure else "https", reference.host, environment),
            addresses=_addresses(host),
        )


class Source:
    """One place where an image can be pulled from: a mirror, or the registry that the reference names."""

    def __init__(self, reference: RegistryReference, *, insecure: bool) -> None:
        self.reference = reference
        self.insecure = insecure


def sources(host: Host, reference: RegistryReference) -> list[Source]:
    """Where to look, in order: the mirrors of the registry, then itself. Raises PullError when it is blocked."""
    entry = registry_entry(host, reference)
    if entry is None:
        return [Source(reference, insecure=False)]
    if entry.get("blocked"):
        raise PullError(f"registry {_prefix(entry)} is blocked in {REGISTRIES_CONF} or {REGISTRIES_CONF}.d")
    found = []
    digest_only = entry.get("mirror-by-digest-only", False)
    for mirror in entry.get("mirror", []):
        wanted = mirror.get("pull-from-mirror") or ("digest-only" if digest_only else "all")
        if (wanted == "digest-only" and not reference.digest) or (wanted == "tag-only" and reference.digest):
            continue
        found.append(_located(reference, entry, mirror))
    return [*found, _located(reference, entry, entry)]


def _located(reference: RegistryReference, entry: Mapping[str, Any], place: Mapping[str, Any]) -> Source:
    """The reference with the registry's prefix replaced by a location."""
    location, prefix = str(place.get("location") or ""), _prefix(entry)
    if not location:
        moved = reference
    else:
        rest = reference.name[len(reference.host) :] if prefix.startswith("*.") else reference.name[len(prefix) :]
        tail = (f":{reference.tag}" if reference.tag else "") + (f"@{reference.digest}" if reference.digest else "")
        moved = RegistryReference(f"{location}{rest}{tail}")
    return Source(moved, insecure=bool(place.get("insecure", False)))


def registry_entry(host: Host, reference: RegistryReference) -> Mapping[str, Any] | None:
    """The `[[registry]]` for a reference: the longest prefix wins, and of equal ones the file read last."""
    chosen: Mapping[str, Any] | None = None
    for content in _registry_files(host):
        try:
            registries = toml.parse(content).get("registry", [])
        except toml.TomlError as error:
            raise PullError(f"loading registries configuration: toml: {error}") from error
        for entry in registries:
            prefix = _prefix(entry)
            if matches(reference.name, prefix) and (chosen is None or len(prefix) >= len(_prefix(chosen))):
                chosen = entry
    return chosen


def _prefix(entry: Mapping[str, Any]) -> str:
    return str(entry.get("prefix") or entry.get("location", ""))


def _registry_files(host: Host) -> list[bytes]:
    found = [host.read(REGISTRIES_CONF)]
    directory = host.resolve(f"{REGISTRIES_CONF}.d")
    if directory is not None and os.path.isdir(directory):
        for name in sorted(os.listdir(directory)):
            if name.endswith(".conf"):
                found.append(host.read(f"{REGISTRIES_CONF}.d/{name}"))
    return [content for content in found if content is not None]


def matches(name: str, prefix: str) -> bool:
    """Whether a prefix of registries.conf covers a name (host and path)."""
    if prefix.startswith("*."):
        return name.split("/")[0].split(":")[0].endswith(prefix[1:])
    return bool(prefix) and (name == prefix or (name.startswith(prefix) and name[len(prefix)] in ":/@"))


# credentials


def _authorization(host: Host, reference: RegistryReference) -> str | None:
    """The credentials in the first auth file that exists; nothing else is ever consulted (bootc 1.16.9, globals.rs)."""
    for path in AUTH_FILES:
        content = host.read(path)
        if content is None:
            continue
        try:
            auths = json.loads(content)["auths"]
        except ValueError as error:
            text = content.decode(errors="replace").lstrip()
            at = text[1:2] if text.startswith("{") else text[:1]
            raise PullError(
                'getting username and password: reading JSON file "/proc/self/fd/100": unmarshaling JSON at '
                f"\"/proc/self/fd/100\": invalid character '{at}' looking for beginning of "
                f"{'object key string' if text.startswith('{') else 'value'}"
            ) from error
        except (KeyError, TypeError):
            return None
        for key in _scopes(reference):
            if key in auths and auths[key].get("auth"):
                return f"Basic {auths[key]['auth']}"
        return None
    return None


def _scopes(reference: RegistryReference) -> list[str]:
    """Keys of an auth file that apply, most specific first: host/path/name, host/path, host."""
    parts = reference.name.split("/")
    return ["/".join(parts[:length]) for length in range(len(parts), 0, -1)]


def basic(username: str, password: str) -> str:
    """The Authorization header for a user name and a password."""
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


# trust


def _trust(host: Host, address: str, environment: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, str] | None]:
    bundles = [environment["SSL_CERT_FILE"]] if environment.get("SSL_CERT_FILE") else BUNDLES
    found = [place for place in map(host.resolve, bundles) if place is not None][:1]
    client = None
    for parent in CERTIFICATE_DIRECTORIES:
        directory = host.resolve(f"{parent}/{address}")
        if directory is None or not os.path.isdir(directory):
            continue
        for name in sorted(os.listdir(directory)):
            place = host.resolve(f"{parent}/{address}/{name}")
            if place is not None and name.endswith(".crt"):
                found.append(place)
            elif place is not None and name.endswith(".cert"):
                key = host.resolve(f"{parent}/{address}/{name[: -len('.cert')]}.key")
                if key is None:
                    raise PullError(f"missing key {name[: -len('.cert')]}.key for client certificate {name}")
                client = (place, key)
        break
    return tuple(found), client


def _addresses(host: Host) -> dict[str, str]:
    """The names in the node's /etc/hosts."""
    found: dict[str, str] = {}
    for line in (host.read("/etc/hosts") or b"").decode(errors="replace").splitlines():
        address, *names = line.split("#")[0].split() or [""]
        for name in names:
            found.setdefault(name, address)
    return found
