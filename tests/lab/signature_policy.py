# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a node's signature policy (policy.json) lets it pull an image, as containers/image decides it.

Every signature is really verified: sigstore ones by openssl, GPG ones by the skopeo of this machine. (Debian's skopeo
has sigstore switched off, so it cannot be asked about those.)
"""

from __future__ import annotations

import json

from lab.pull_error import PullError, UnsuitableImage
from lab.simulators.host import Host

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from lab.registry_client import RegistryClient
    from lab.simulators.image_reference import RegistryReference

SYSTEM_POLICY = "/etc/containers/policy.json"
USER_POLICY = ".config/containers/policy.json"
NO_SIGNATURE = "A signature was required, but no signature exists"
KNOWN_TYPES = ("insecureAcceptAnything", "reject", "signedBy", "signedBaseLayer", "sigstoreSigned")
PERMISSIVE = "insecureAcceptAnything"


class PulledImage:
    """What a requirement looks at: the reference that was asked for, and the manifest that came, from where."""

    def __init__(self, reference: RegistryReference, digest: str, manifest: bytes, client: RegistryClient) -> None:
        self.reference = reference
        self.digest = digest
        self.manifest = manifest
        self.client = client

    @property
    def name(self) -> str:
        """The reference in full, `:latest` added where it has neither tag nor digest."""
        reference = self.reference
        if reference.digest:
            return f"{reference.name}@{reference.digest}"
        return f"{reference.name}:{reference.tag or 'latest'}"


# the check of ostree-ext, before anything is fetched


def refuse_permissive_default(host: Host, tool: str, environment: Mapping[str, str]) -> None:
    """What the enforcing reference adds: a policy whose default accepts anything is refused. Looks at nothing else.

    ``tool`` is ``bootc`` or ``rpm-ostree``. Raises UnsuitableImage (recorded, bootc 1.16.9 and rpm-ostree 2026.2).
    """
    content = None
    searches = tool == "bootc" and host.version("bootc") >= (1, 16, 3)
    for path in _places(environment) if searches else (SYSTEM_POLICY,):
        content = host.read(path)
        if content is not None:
            break
    if content is None:
        raise UnsuitableImage(
            "Resolving containers policy path: No containers policy.json found; checked $CONTAINERS_POLICY_JSON, "
            "user config dir, and system paths"
            if searches
            else "No such file or directory (os error 2)"
        )
    try:
        document = json.loads(content)
    except ValueError as error:
        raise UnsuitableImage(_serde_error(content.decode(errors="replace"), error)) from error
    default = document.get("default") if isinstance(document, dict) else None
    if not isinstance(default, list):
        raise UnsuitableImage("missing field `default`")
    if default and default[0].get("type") == PERMISSIVE:
        raise UnsuitableImage("containers-policy.json specifies a default of `insecureAcceptAnything`; refusing usage")


def _places(environment: Mapping[str, str]) -> list[str]:
    """Where bootc since 1.16.3 looks for the policy (ostree-ext, container/skopeo.rs)."""
    named = environment.get("CONTAINERS_POLICY_JSON")
    if named:
        return [named]
    configuration = environment.get("XDG_CONFIG_HOME")
    user = f"{configuration}/containers/policy.json" if configuration else f"{_home(environment)}/{USER_POLICY}"
    return [user, SYSTEM_POLICY, "/usr/share/containers/policy.json"]


def _home(environment: Mapping[str, str]) -> str:
    home = environment.get("HOME") or "/root"
    return "/root" if home == "/var/roothome" else home  # where the link leads, which is how the lab logs in


def _serde_error(text: str, error: ValueError) -> str:
    position = error.pos if isinstance(error, json.JSONDecodeError) else 0
    if not text[position:].strip():
        lines = text.split("\n")
        kind = "an object" if text.lstrip().startswith("{") else "a value"
        return f"EOF while parsing {kind} at line {len(lines)} column {len(lines[-1])}"
    before = text[:position]
    line, column = before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1
    return f"{'key must be a string' if '{' in before else 'expected value'} at line {line} column {column}"


# the policy itself


def check(host: Host, image: PulledImage, environment: Mapping[str, str]) -> None:
    """Raise PullError, with the text of containers/image, unless every requirement of the policy is met."""
    from lab import signature_check

    path, document = _read_policy(host, environment)
    requirements = requirements_for(document, image.reference)
    for requirement in requirements:
        kind = requirement.get("type")
        if kind not in KNOWN_TYPES:
            raise PullError(f'invalid policy in "{path}": unknown policy requirement type "{kind}"')
        if kind == "reject":
            raise PullError(f"Running image docker://{image.name} is rejected by policy.")
        if kind == "signedBy":
            signature_check.gpg(host, image, requirement)
        elif kind == "sigstoreSigned":
            signature_check.sigstore(host, image, requirement)
        elif kind == "signedBaseLayer":
            raise PullError("signedBaseLayer not implemented yet!")


def _read_policy(host: Host, environment: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    places = [f"{_home(environment)}/{USER_POLICY}", SYSTEM_POLICY]
    for path in places:
        content = host.read(path)
        if content is None:
            continue
        try:
            document = json.loads(content)
        except ValueError as error:
            raise PullError(f'invalid policy in "{path}": {_go_error(content.decode(errors="replace"), error)}') from (
                error
            )
        if not isinstance(document, dict) or not document.get("default"):
            raise PullError(f'invalid policy in "{path}": Default policy is missing')
        return path, document
    listing = ", ".join(f'"{path}"' for path in places)
    raise PullError(f"no policy.json file found at any of the following: {listing}")


def _go_error(text: str, error: ValueError) -> str:
    position = error.pos if isinstance(error, json.JSONDecodeError) else 0
    rest = text[position:].lstrip()
    if not rest:
        return "unexpected end of JSON input"
    kind = "object key string" if "{" in text[:position] else "value"
    return f"invalid character '{rest[0]}' looking for beginning of {kind}"


def requirements_for(document: Mapping[str, Any], reference: RegistryReference) -> list[dict[str, Any]]:
    """The requirements that apply: of the most specific scope of the docker transport, else the default."""
    scopes = (document.get("transports") or {}).get("docker") or {}
    for scope in scopes_of(reference):
        if scope in scopes:
            return list(scopes[scope])
    return list(document["default"])


def scopes_of(reference: RegistryReference) -> list[str]:
    """Keys of a policy (and of registries.d) that cover a reference, most specific first; the last is the transport's."""
    full = (
        f"{reference.name}:{reference.tag or 'latest'}"
        if not reference.digest
        else (f"{reference.name}@{reference.digest}")
    )
    parts = reference.name.split("/")
    namespaces = ["/".join(parts[:length]) for length in range(len(parts), 0, -1)]
    domain = reference.host.split(":")[0].split(".")
    wildcards = [f"*.{'.'.join(domain[index:])}" for index in range(1, len(domain))]
    return [full, *namespaces, *wildcards, ""]
