# SPDX-License-Identifier: GPL-3.0-or-later
"""What a registry's answer, auth files and signature policies come to."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import (
    POLICY,
    UNVERIFIED,
    ImageReference,
    Signature,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_facts import NodeFacts, RegistryAnswer
from ansible_collections.imagemode.nodes.plugins.module_utils._core.preflight_registry import (
    judge_credentials,
    judge_policy,
    judge_registry,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.trust_facts import TrustFacts
from preflight_examples import ANYTHING, SKOPEO_OK, short

IMAGE = ImageReference.parse("registry.example.com/os:v2")
RUN, ETC, USR = "/run/ostree/auth.json", "/etc/ostree/auth.json", "/usr/lib/ostree/auth.json"
HAS = NodeFacts(auth_registries={ETC: ("registry.example.com",)})
HAS_OTHER = NodeFacts(auth_registries={ETC: ("quay.io",)})
POLICY_FILE = "/etc/containers/policy.json"


def fatal(text: str) -> str:
    """As skopeo 1.9 writes it."""
    quoted = f'Error parsing image name "docker://{IMAGE}": {text}'.replace('"', '\\"').replace("\n", "\\n")
    return f'time="2026-11-21T19:05:16Z" level=fatal msg="{quoted}"\n'


def skopeo(text: str) -> RegistryAnswer:
    return RegistryAnswer(by="skopeo", message=fatal(text), authfile=ETC)


@pytest.mark.parametrize(
    ("answer", "found", "words"),
    [
        (None, None, ""),
        (SKOPEO_OK, None, ""),
        (RegistryAnswer(by=None), "note", "neither skopeo nor curl"),
        (RegistryAnswer(by="skopeo", timed_out=True), "error", "did not answer the node in time"),
        (skopeo("reading manifest v2 in x: manifest unknown: manifest unknown"), "error", "has no such image"),
        (skopeo("reading manifest v2 in x: authentication required"), "error", "refused the node's credentials"),
        (skopeo('Get "https://x/v2/": http: server gave HTTP response to HTTPS client'), "error", "speaks plain HTTP"),
        (skopeo('1 error occurred:\n\t* reading JSON file "/x": unmarshaling JSON'), "error", "is no JSON"),
        (RegistryAnswer(by="curl", ok=True, status=200), None, ""),
        (RegistryAnswer(by="curl", ok=True, status=401), "note", "names no credentials for it"),
        (RegistryAnswer(by="curl", ok=True, status=503), "warning", "HTTP status 503"),
        (RegistryAnswer(by="curl", message="curl: (6) Could not resolve host"), "warning", "Could not resolve host"),
    ],
)
def test_answers(answer: RegistryAnswer | None, found: str | None, words: str) -> None:
    findings = list(judge_registry(IMAGE, answer, NodeFacts(), pulls=True))
    assert short(findings) == ([(found, "registry")] if found else [])
    assert all(words in finding.told for finding in findings)


def test_skopeos_own_words_come_out_of_its_log_line() -> None:
    [finding] = judge_registry(
        IMAGE, skopeo('Get "https://x/v2/":\n\tdial tcp: connection refused'), NodeFacts(), pulls=True
    )
    assert f'(with {ETC}): Get "https://x/v2/": dial tcp: connection refused' in finding.told


def test_a_registry_that_is_not_needed_is_no_error() -> None:
    assert short(judge_registry(IMAGE, skopeo("manifest unknown"), NodeFacts(), pulls=False)) == [
        ("warning", "registry")
    ]


def test_credentials_without_skopeo_are_looked_up_by_name_only() -> None:
    [finding] = judge_registry(IMAGE, RegistryAnswer(by="curl", ok=True, status=401), HAS, pulls=True)
    assert "its auth file names it" in finding.told


@pytest.mark.parametrize(
    ("auth", "facts", "wanted", "found", "words"),
    [
        ({}, NodeFacts(), False, [], ""),
        ({ETC: "a"}, HAS, False, [], ""),
        ({ETC: "a"}, HAS, True, [], ""),
        ({ETC: "a"}, HAS_OTHER, True, ["warning"], "names no credentials for registry.example.com"),
        ({ETC: "a"}, HAS_OTHER, False, [], ""),
        ({RUN: "a"}, NodeFacts(), False, ["note"], "gone after the reboot"),
        ({RUN: "a", ETC: "b"}, NodeFacts(), False, ["warning"], "both tools read only the first file"),
        ({ETC: "a", USR: "b"}, HAS, False, [], ""),
        ({}, NodeFacts(dangling=(ETC,)), False, ["warning"], "is a link to nothing"),
    ],
)
def test_credentials(auth: dict[str, str], facts: NodeFacts, wanted: bool, found: list[str], words: str) -> None:
    findings = list(judge_credentials(IMAGE, TrustFacts(auth=auth), facts, wanted))
    assert short(findings) == [(severity, "credentials") for severity in found]
    assert all(words in finding.told for finding in findings)


def policy(default: str, **scopes: str) -> str:
    rules = {scope.replace("_", "/"): [{"type": kind, "keyPath": "/etc/pki/key.pub"}] for scope, kind in scopes.items()}
    return json.dumps({"default": [{"type": default}], "transports": {"docker": rules}})


SIGNED = {"registry.example.com_os": "sigstoreSigned"}


@pytest.mark.parametrize(
    ("text", "signature", "found", "words"),
    [
        (ANYTHING, UNVERIFIED, [], ""),
        (ANYTHING, POLICY, ["error"], "signatures are to be enforced, but"),
        (policy("reject"), UNVERIFIED, ["error"], "rejects registry.example.com/os, signed or not"),
        (policy("reject", **SIGNED), POLICY, ["note"], "accepts registry.example.com/os only with a signature"),
        (policy("insecureAcceptAnything", **SIGNED), POLICY, ["error"], "both tools refuse to enforce it"),
        ("{", UNVERIFIED, ["error"], "nothing can be pulled"),
        (None, UNVERIFIED, ["error"], "there is no signature policy at all"),
    ],
)
def test_policies(text: str | None, signature: Signature, found: list[str], words: str) -> None:
    trust = TrustFacts(policies={POLICY_FILE: text} if text else {})
    findings = list(judge_policy(IMAGE, signature, trust, NodeFacts()))
    assert short(findings) == [(severity, "signature_policy") for severity in found]
    assert all(words in finding.told for finding in findings)


def test_a_key_that_is_not_there_lets_nothing_in() -> None:
    trust = TrustFacts(policies={POLICY_FILE: policy("reject", **SIGNED)})
    lost = replace(NodeFacts(), missing_keys=("/etc/pki/key.pub",))
    assert short(judge_policy(IMAGE, POLICY, trust, lost)) == [
        ("note", "signature_policy"),
        ("error", "signature_policy"),
    ]
    unused = TrustFacts(policies={POLICY_FILE: ANYTHING})
    assert short(judge_policy(IMAGE, UNVERIFIED, unused, lost)) == []
