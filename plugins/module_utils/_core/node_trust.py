# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that a node is told about registries, as the files that say it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.host_file import FileState, LiveLink, WantedFile
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._core.proxy import (
    PROXY_FILE,
    PULLING_UNITS,
    Proxy,
    drop_in,
    drop_in_path,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.public_material import (
    KeyKind,
    certificates,
    key_kind,
    short_name,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.registries_conf import (
    REGISTRIES_CONF,
    RegistryRule,
    parse_registries,
    render_registries,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.registry_auth import OUR_AUTH_FILE, render_auth
from ansible_collections.imagemode.nodes.plugins.module_utils._core.signature_policy import (
    POLICY_FILE,
    SignaturePolicyFile,
    TrustedScope,
    render_policy,
    render_registries_d,
    split_scope,
)

ANCHORS = "/etc/pki/ca-trust/source/anchors"
CERTS_D = "/etc/containers/certs.d"
KEYS = "/etc/pki/containers"
REGISTRIES_D = "/etc/containers/registries.d/imagemode.yaml"

_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
_SCOPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*\Z")
# What is managed as soon as the role runs: a file of these that is not wanted any more goes away. Credentials and the
# signature policy are not among them: to lose one of those is a step down that somebody has to say.
_ALWAYS = (
    f"{CERTS_D}/*/imagemode.crt",
    f"{ANCHORS}/imagemode-*.crt",
    REGISTRIES_CONF,
    PROXY_FILE,
    *(drop_in_path(unit) for unit in PULLING_UNITS),
)


@dataclass(frozen=True)
class NodeTrust:
    """The wanted files of a node, and the patterns of those that go away when they are not wanted.

    `auth` is the content of the credentials, None if they are not managed; `policy` is the same for the signature policy.
    """

    files: tuple[WantedFile, ...]
    patterns: tuple[str, ...]
    auth: str | None = field(default=None, repr=False)
    policy: str | None = None

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> NodeTrust:
        """The options of the module node_trust, contents of files on the controller already read. Raises Refusal."""
        rules = parse_registries(options["registries"])
        policy = _signatures(options, rules)
        auth = _credentials(options)
        files = [
            *_registry_cas(options["registry_cas"]),
            *_anchors(options["ca_anchors"]),
            *_registries(rules),
            *_proxy(options),
            *policy,  # keys first, the policy that names them last
        ]
        anonymous = options["registry_anonymous"]
        if auth is not None or anonymous:
            state = FileState.ABSENT if anonymous else FileState.PRESENT
            content = (auth or "").encode()
            files.append(WantedFile(OUR_AUTH_FILE, content, state, "0600", secret=True, live_link=LiveLink.REPLACE))
        patterns = (*_ALWAYS, f"{KEYS}/imagemode-*.pub", REGISTRIES_D) if policy else _ALWAYS
        text = policy[-1].content.decode() if policy else None
        _require_coverage(options["image"], text)
        return cls(tuple(files), patterns, auth, text)


def _credentials(options: Mapping[str, Any]) -> str | None:
    sources, anonymous = options["registry_auth"], options["registry_anonymous"]
    if sources is None:
        return None
    if anonymous:
        raise Refusal(
            "imagemode_registry_auth gives credentials, and imagemode_registry_anonymous takes them away. Drop one of the two."
        )
    return render_auth(sources)


def _registry_cas(cas: Mapping[str, bytes]) -> list[WantedFile]:
    for registry in cas:
        if not _HOST.match(registry):
            raise Refusal(
                f"imagemode_registry_cas: {registry!r} is no registry. Write its host, and its port if it has one."
            )
    return [
        WantedFile(f"{CERTS_D}/{registry}/imagemode.crt", certificates(content, f"imagemode_registry_cas, {registry}"))
        for registry, content in sorted(cas.items())
    ]


def _anchors(anchors: Mapping[str, bytes]) -> list[WantedFile]:
    for name in anchors:
        if not _NAME.match(name):
            raise Refusal(f"imagemode_ca_anchors: {name!r} is no name of a file. Use letters, digits, dots and dashes.")
    return [
        WantedFile(f"{ANCHORS}/imagemode-{name}.crt", certificates(content, f"imagemode_ca_anchors, {name}"))
        for name, content in sorted(anchors.items())
    ]


def _registries(rules: Sequence[RegistryRule]) -> list[WantedFile]:
    return [WantedFile(REGISTRIES_CONF, render_registries(rules).encode())] if rules else []


def _proxy(options: Mapping[str, Any]) -> list[WantedFile]:
    proxy = Proxy.from_options(options["http_proxy"], options["https_proxy"], options["no_proxy"])
    if proxy is None:
        return []
    environment = WantedFile(PROXY_FILE, proxy.environment_file().encode(), mode="0600", secret=True)
    return [environment, *(WantedFile(drop_in_path(unit), drop_in().encode()) for unit in PULLING_UNITS)]


def _signatures(options: Mapping[str, Any], rules: Sequence[RegistryRule]) -> list[WantedFile]:
    """Keys, places of signatures, and the policy, in this order. Nothing if no images are to be signed."""
    if not options["trusted_images"]:
        if options["trust_also"]:
            raise Refusal(
                "imagemode_trust_also is set, but imagemode_trusted_images is not: there is no policy for it to widen."
            )
        return []
    keys: dict[str, bytes] = {}
    trusted = [_trusted_scope(option, keys) for option in options["trusted_images"]]
    for text in options["trust_also"]:
        split_scope(text)
    places = {scope.scope: sorted({place for rule in rules for place in rule.places(scope.scope)}) for scope in trusted}
    policy = render_policy(trusted, options["trust_also"])
    return [
        *(WantedFile(path, content) for path, content in sorted(keys.items())),
        WantedFile(REGISTRIES_D, render_registries_d(trusted, places).encode()),
        WantedFile(POLICY_FILE, policy.encode()),
    ]


def _trusted_scope(option: Mapping[str, Any], keys: dict[str, bytes]) -> TrustedScope:
    scope, where = option["scope"], f"imagemode_trusted_images, {option['scope']}"
    if not _SCOPE.match(scope):
        raise Refusal(
            f"{where}: write a registry or a repository in it, such as registry.example.com/fleet, without https:// and tag."
        )
    if not option["keys"]:
        raise Refusal(f"{where}: no key. Give the public key, or several of which any may have signed.")
    kinds = {key_kind(key, where) for key in option["keys"]}
    if len(kinds) > 1:
        raise Refusal(f"{where}: sigstore and GPG keys cannot stand in for each other. Give keys of one sort.")
    sigstore = kinds == {KeyKind.SIGSTORE}
    if sigstore and option["lookaside"]:
        raise Refusal(
            f"{where}: lookaside is for GPG signatures. Sigstore signatures are beside the image in its registry."
        )
    paths = []
    for key in option["keys"]:
        path = f"{KEYS}/imagemode-{short_name(key)}.pub"
        keys[path] = key
        paths.append(path)
    return TrustedScope(scope, tuple(paths), sigstore, option["identity"], option["lookaside"])


def _require_coverage(image: str | None, policy: str | None) -> None:
    """Raises Refusal if the nodes' own image would not have to be signed: such a policy is not what was meant."""
    if not image or policy is None:
        return
    reference = ImageReference.parse(image).require_registry()
    judgement = SignaturePolicyFile.parse(policy).judge(reference)
    if not judgement.signed_only:
        raise Refusal(
            f"With these variables the policy would not do for the nodes' own image: {judgement.reason}. "
            f"Name {reference.name}, or what it is in, in imagemode_trusted_images."
        )
