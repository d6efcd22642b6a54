# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node is told about registries: rendered, refused, and judged."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference
from ansible_collections.imagemode.nodes.plugins.module_utils._core.node_trust import NodeTrust
from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal
from ansible_collections.imagemode.nodes.plugins.module_utils._core.registries_conf import (
    parse_registries,
    render_registries,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.registry_auth import render_auth
from ansible_collections.imagemode.nodes.plugins.module_utils._core.signature_policy import (
    PolicyNotUnderstood,
    SignaturePolicyFile,
    Verdict,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.trust_facts import TrustFacts
from hypothesis import given
from hypothesis import strategies as st

SECRET = "hunter2-hunter2"
BODY = base64.b64encode(b"not really one, but base64").decode()
CERTIFICATE = f"-----BEGIN CERTIFICATE-----\n{BODY}\n-----END CERTIFICATE-----\n".encode()
KEY = f"-----BEGIN PUBLIC KEY-----\n{BODY}\n-----END PUBLIC KEY-----\n".encode()
GPG_KEY = f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{BODY}\n-----END PGP PUBLIC KEY BLOCK-----\n".encode()
PRIVATE_KEY = KEY.replace(b"PUBLIC", b"PRIVATE")
POLICY = "/etc/containers/policy.json"
IMAGE = ImageReference.parse("registry.example.com:5000/fleet/node:1")


def options(**given: Any) -> dict[str, Any]:
    """The options of node_trust with their defaults."""
    return {
        "image": None,
        "registry_auth": None,
        "registry_anonymous": False,
        "registry_cas": {},
        "ca_anchors": {},
        "registries": [],
        "http_proxy": None,
        "https_proxy": None,
        "no_proxy": [],
        "trusted_images": [],
        "trust_also": [],
        **given,
    }


def trusted(scope: str = "registry.example.com/fleet", *keys: bytes, **more: Any) -> dict[str, Any]:
    return {"scope": scope, "keys": list(keys or (KEY,)), "identity": "matchRepository", "lookaside": None, **more}


def contents(**given: Any) -> dict[str, str]:
    """Path to content of everything that is wanted."""
    return {file.path: file.content.decode() for file in NodeTrust.from_options(options(**given)).files}


def auth(username: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}


def test_credentials_of_several_sources_make_one_file_whatever_their_order() -> None:
    first = {"b.example.com": {"username": "u", "password": SECRET}}
    second = json.dumps({"auths": {"a.example.com/team": auth("v", "w")}})
    text = render_auth([first, second])
    assert json.loads(text) == {"auths": {"a.example.com/team": auth("v", "w"), "b.example.com": auth("u", SECRET)}}
    assert text == render_auth([second, first])


def test_the_later_of_two_credentials_counts() -> None:
    old, new = ({"a.example.com": {"username": "u", "password": password}} for password in ("old", "new"))
    assert json.loads(render_auth([old, new]))["auths"]["a.example.com"] == auth("u", "new")


BAD_CREDENTIALS: dict[str, tuple[object, str]] = {
    "nothing": ({}, "holds no credentials"),
    "an empty auth file": ({"auths": {}}, "holds no credentials"),
    "an empty text": ("", "no JSON object"),
    "a text that is no JSON": (SECRET, "no JSON object"),
    "a list in the text": (f'["{SECRET}"]', "no JSON object"),
    "no password": ({"a.example.com": {"username": "u"}}, "must both be there"),
    "an empty password": ({"a.example.com": {"username": "u", "password": ""}}, "must both be there"),
    "a number": ({"a.example.com": {"username": "u", "password": 12345678}}, "as texts"),
    "only a password": ({"a.example.com": SECRET}, "username and password"),
    "something more": ({"a.example.com": {"username": "u", "password": SECRET, "token": "t"}}, "nothing else"),
    "a user name with a colon": ({"a.example.com": {"username": f"u:{SECRET}", "password": "x"}}, "colon"),
    "an address": ({"https://a.example.com": {"username": "u", "password": SECRET}}, "is no registry"),
    "an entry without credentials": ({"auths": {"a.example.com": {}}}, "asked anonymously"),
    "an entry that is no base64": ({"auths": {"a.example.com": {"auth": f"%{SECRET}"}}}, "asked anonymously"),
    "a helper program": ({"auths": {}, "credHelpers": {"a.example.com": "gcr"}}, "helper program"),
    "a number in place of it all": (7, "neither a mapping"),
}


@pytest.mark.parametrize("mistake", BAD_CREDENTIALS)
def test_credentials_that_would_make_a_pull_anonymous_are_refused(mistake: str) -> None:
    source, said = BAD_CREDENTIALS[mistake]
    with pytest.raises(Refusal, match=said) as refusal:
        render_auth([source])
    assert SECRET not in str(refusal.value)


def test_mirrors_are_rendered_as_toml() -> None:
    tomllib = pytest.importorskip("tomllib")
    rules: list[dict[str, Any]] = [
        {
            "prefix": "registry.example.com/fleet",
            "location": "harbor.example.com/fleet",
            "mirror_by_digest_only": True,
            "mirrors": [{"location": "127.0.0.1:5000/fleet", "insecure": True}],
        },
        {"prefix": "*.example.org", "mirrors": [{"location": "m.example.com", "pull": "tag-only"}]},
        {"location": "docker.io", "blocked": True},
    ]
    assert tomllib.loads(render_registries(parse_registries(rules))) == {
        "registry": [
            {
                "prefix": "registry.example.com/fleet",
                "location": "harbor.example.com/fleet",
                "mirror-by-digest-only": True,
                "mirror": [{"location": "127.0.0.1:5000/fleet", "insecure": True}],
            },
            {"prefix": "*.example.org", "mirror": [{"location": "m.example.com", "pull-from-mirror": "tag-only"}]},
            {"prefix": "docker.io", "location": "docker.io", "blocked": True},
        ]
    }


BAD_REGISTRIES: dict[str, tuple[list[dict[str, Any]], str]] = {
    "no name": ([{"insecure": True}], "name what it is for"),
    "a URL": ([{"location": "https://registry.example.com"}], "without https"),
    "a URL of a mirror": ([{"location": "a.example.com", "mirrors": [{"location": "http://b"}]}], "the mirror"),
    "a line break": ([{"location": 'a.example.com"\n[[registry]]'}], "name what it is for"),
    "twice": ([{"location": "a.example.com"}, {"prefix": "a.example.com", "blocked": True}], "there twice"),
    "digests twice": (
        [{"location": "a", "mirror_by_digest_only": True, "mirrors": [{"location": "b", "pull": "tag-only"}]}],
        "no image could be pulled",
    ),
}


@pytest.mark.parametrize("mistake", BAD_REGISTRIES)
def test_a_registry_that_makes_no_sense_is_refused(mistake: str) -> None:
    rules, said = BAD_REGISTRIES[mistake]
    with pytest.raises(Refusal, match=said):
        parse_registries(rules)


PLACES: dict[str, tuple[dict[str, Any], str, list[str]]] = {
    "the scope is the prefix": ({"prefix": "a.io/x", "mirrors": [{"location": "m/y"}]}, "a.io/x", ["m/y"]),
    "the scope is in it": ({"prefix": "a.io", "mirrors": [{"location": "m/y"}]}, "a.io/x/z", ["m/y/x/z"]),
    "it is in the scope": ({"prefix": "a.io/x/z", "mirrors": [{"location": "m/y"}]}, "a.io/x", ["m/y"]),
    "another registry": ({"prefix": "b.io", "mirrors": [{"location": "m"}]}, "a.io/x", []),
    "only a beginning": ({"prefix": "a.io/x", "mirrors": [{"location": "m"}]}, "a.io/xy", []),
    "a new location": ({"prefix": "a.io", "location": "b.io/a"}, "a.io/x", ["b.io/a/x"]),
    "all hosts of a domain": ({"prefix": "*.a.io", "mirrors": [{"location": "m"}]}, "r.a.io:5000/x", ["m/x"]),
}


@pytest.mark.parametrize("case", PLACES)
def test_signatures_are_looked_for_where_the_image_comes_from(case: str) -> None:
    rule, scope, places = PLACES[case]
    assert list(parse_registries([rule])[0].places(scope)) == places
    written = contents(registries=[rule], trusted_images=[trusted(scope)])[
        "/etc/containers/registries.d/imagemode.yaml"
    ]
    assert [json.loads(line.strip()[:-1]) for line in written.splitlines() if line.startswith('  "')] == sorted(
        [scope, *places]
    )


def test_a_policy_rejects_what_nobody_named_and_comes_after_its_keys() -> None:
    files = NodeTrust.from_options(
        options(trusted_images=[trusted()], trust_also=["containers-storage:", "quay.example.com/tools"])
    ).files
    assert [file.path.rpartition("/")[0] for file in files] == [
        "/etc/pki/containers",
        "/etc/containers/registries.d",
        "/etc/containers",
    ]
    assert json.loads(files[-1].content) == {
        "default": [{"type": "reject"}],
        "transports": {
            "docker": {
                "registry.example.com/fleet": [
                    {
                        "type": "sigstoreSigned",
                        "keyPath": files[0].path,
                        "signedIdentity": {"type": "matchRepository"},
                    }
                ],
                "quay.example.com/tools": [{"type": "insecureAcceptAnything"}],
            },
            "containers-storage": {"": [{"type": "insecureAcceptAnything"}]},
        },
    }
    assert {file.mode for file in files} == {"0644"}, "rpm-ostree's skopeo is not root"


def test_several_keys_may_each_have_signed_and_gpg_keys_are_known() -> None:
    other = KEY.replace(BODY.encode(), base64.b64encode(b"another"))
    rules = json.loads(contents(trusted_images=[trusted("a.io", KEY, other), trusted("b.io", GPG_KEY)])[POLICY])
    assert len(rules["transports"]["docker"]["a.io"][0]["keyPaths"]) == 2
    assert rules["transports"]["docker"]["b.io"][0]["type"] == "signedBy"
    assert rules["transports"]["docker"]["b.io"][0]["keyType"] == "GPGKeys"


def test_the_proxy_is_in_no_unit_file() -> None:
    wanted = NodeTrust.from_options(
        options(https_proxy=f"http://u:{SECRET}@p.example.com:1", no_proxy=["a", ".b"])
    ).files
    by_path = {file.path: file for file in wanted}
    environment = by_path["/etc/imagemode/proxy.env"]
    assert (environment.secret, environment.mode) == (True, "0600")
    assert f'https_proxy="http://u:{SECRET}@p.example.com:1"' in environment.content.decode().splitlines()
    assert 'NO_PROXY="a,.b"' in environment.content.decode().splitlines()
    assert [path for path, file in by_path.items() if SECRET.encode() in file.content] == [environment.path]
    assert SECRET not in repr(wanted)


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "a private key": ({"trusted_images": [trusted("a.io", PRIVATE_KEY)]}, "private key"),
    "a private key as certificate": ({"registry_cas": {"a.io": CERTIFICATE + PRIVATE_KEY}}, "private key"),
    "a certificate as key": ({"trusted_images": [trusted("a.io", CERTIFICATE)]}, "neither a sigstore public key"),
    "two keys in one": ({"trusted_images": [trusted("a.io", KEY + KEY)]}, "2 keys in one text"),
    "two sorts of keys": ({"trusted_images": [trusted("a.io", KEY, GPG_KEY)]}, "one sort"),
    "no key": ({"trusted_images": [{**trusted("a.io"), "keys": []}]}, "no key"),
    "a tag in a scope": ({"trusted_images": [trusted("a.io/x:1.0")]}, "without https:// and tag"),
    "a lookaside for sigstore": ({"trusted_images": [trusted("a.io", lookaside="https://s")]}, "GPG signatures"),
    "a scope twice": ({"trusted_images": [trusted("a.io"), trusted("a.io")]}, "there twice"),
    "a scope signed and not": ({"trusted_images": [trusted("a.io")], "trust_also": ["a.io"]}, "there twice"),
    "every registry": ({"trusted_images": [trusted("a.io")], "trust_also": ["docker:"]}, "every image of every"),
    "a widened nothing": ({"trust_also": ["a.io"]}, "there is no policy"),
    "another image": ({"trusted_images": [trusted("a.io")], "image": "b.io/x:1"}, "would not do"),
    "an image in a hole": (
        {"trusted_images": [trusted("a.io")], "trust_also": ["a.io/x"], "image": "a.io/x/y:1"},
        "without any signature",
    ),
    "a path as registry": ({"registry_cas": {"../../etc": CERTIFICATE}}, "is no registry"),
    "a path as name": ({"ca_anchors": {"../x": CERTIFICATE}}, "is no name of a file"),
    "no certificate": ({"ca_anchors": {"x": b"hello"}}, "no PEM certificate"),
    "a damaged certificate": ({"ca_anchors": {"x": CERTIFICATE.replace(b"=", b"%")}}, "damaged"),
    "credentials and none": ({"registry_auth": [{"a.io": {}}], "registry_anonymous": True}, "Drop one of the two"),
    "exceptions of no proxy": ({"no_proxy": ["a"]}, "there is no proxy"),
    "a proxy with a line break": ({"http_proxy": f"http://{SECRET}\nEVIL=1"}, "percent-encoding"),
    "a proxy that ends its quotes": ({"http_proxy": f'http://{SECRET}"'}, "percent-encoding"),
    "a host that is none": ({"http_proxy": "http://p", "no_proxy": ['a"b']}, "imagemode_no_proxy"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused_before_a_node_is_asked(mistake: str) -> None:
    given, said = MISTAKES[mistake]
    with pytest.raises(Refusal, match=said) as refusal:
        NodeTrust.from_options(options(**given))
    assert SECRET not in str(refusal.value)


ANYTHING = [{"type": "insecureAcceptAnything"}]
REJECT = [{"type": "reject"}]
SIGNED = [{"type": "sigstoreSigned", "keyPath": "/k"}]
JUDGEMENTS: dict[str, tuple[object, dict[str, object], Verdict]] = {
    "everything": (ANYTHING, {}, Verdict.ACCEPTED),
    "nothing": (REJECT, {}, Verdict.REJECTED),
    "signed by default": (SIGNED, {}, Verdict.SIGNED),
    "a rule beside a permissive default, which both tools refuse to enforce": (
        ANYTHING,
        {"registry.example.com:5000": SIGNED},
        Verdict.ACCEPTED,
    ),
    "a rule for the registry": (REJECT, {"registry.example.com:5000": SIGNED}, Verdict.SIGNED),
    "the closer rule": (
        REJECT,
        {"registry.example.com:5000": SIGNED, "registry.example.com:5000/fleet/node": ANYTHING},
        Verdict.ACCEPTED,
    ),
    "a rule for the tag": (SIGNED, {"registry.example.com:5000/fleet/node:1": ANYTHING}, Verdict.ACCEPTED),
    "a rule for another tag": (SIGNED, {"registry.example.com:5000/fleet/node:2": ANYTHING}, Verdict.SIGNED),
    "the same host without its port": (SIGNED, {"registry.example.com": ANYTHING}, Verdict.SIGNED),
    "a domain": (REJECT, {"*.example.com": SIGNED}, Verdict.SIGNED),
    "the closer domain": (REJECT, {"*.com": ANYTHING, "*.example.com": SIGNED}, Verdict.SIGNED),
    "the transport": (SIGNED, {"": ANYTHING}, Verdict.ACCEPTED),
    "both wanted": (REJECT, {"": [*ANYTHING, *SIGNED]}, Verdict.SIGNED),
    "rejected all the same": (SIGNED, {"": [*SIGNED, *REJECT]}, Verdict.REJECTED),
}


@pytest.mark.parametrize("case", JUDGEMENTS)
def test_a_policy_is_judged_by_what_it_does_with_an_unsigned_image(case: str) -> None:
    default, scopes, verdict = JUDGEMENTS[case]
    text = json.dumps({"default": default, "transports": {"docker": scopes}})
    assert SignaturePolicyFile.parse(text).judge(IMAGE).verdict is verdict


@given(
    st.one_of(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["default", "transports", "docker", "type", ""]), inner, max_size=3)
            ),
            max_leaves=12,
        ).map(json.dumps),
    )
)
def test_no_text_is_taken_for_a_policy_by_accident(text: str) -> None:
    try:
        policy = SignaturePolicyFile.parse(text)
    except PolicyNotUnderstood:
        return
    assert not policy.judge(IMAGE).signed_only


def test_a_text_of_a_million_brackets_is_no_policy() -> None:
    with pytest.raises(PolicyNotUnderstood):
        SignaturePolicyFile.parse('{"default": ' + "[" * 1_000_000)


def policy_text(default: object) -> str:
    return json.dumps({"default": default})


FACTS: dict[str, tuple[dict[str, str], bool, str]] = {
    "the system's": ({POLICY: policy_text(SIGNED)}, True, POLICY),
    "none at all": ({}, False, "no signature policy at all"),
    "root's own is weaker": (
        {"/root/.config/containers/policy.json": policy_text(ANYTHING), POLICY: policy_text(SIGNED)},
        False,
        "/root/.config",
    ),
    "root's own is stricter": (
        {"/root/.config/containers/policy.json": policy_text(SIGNED), POLICY: policy_text(ANYTHING)},
        False,
        POLICY,
    ),
    "the fallback does not count": (
        {POLICY: policy_text(SIGNED), "/usr/share/containers/policy.json": policy_text(ANYTHING)},
        True,
        POLICY,
    ),
    "broken": ({POLICY: "{"}, False, "no signature policy"),
}


@pytest.mark.parametrize("case", FACTS)
def test_every_policy_that_counts_must_refuse(case: str) -> None:
    policies, signed_only, said = FACTS[case]
    judgement = TrustFacts(policies=policies).judge(IMAGE)
    assert (judgement.signed_only, said in judgement.reason) == (signed_only, True), judgement


@pytest.mark.parametrize(
    ("auth_files", "credentials", "shadowed"),
    [
        ({}, None, False),
        ({"/etc/ostree/auth.json": "1"}, "/etc/ostree/auth.json", False),
        ({"/run/ostree/auth.json": "2", "/etc/ostree/auth.json": "1"}, "/run/ostree/auth.json", True),
        ({"/run/ostree/auth.json": "1", "/etc/ostree/auth.json": "1"}, "/run/ostree/auth.json", False),
        ({"/usr/lib/ostree/auth.json": "2", "/etc/ostree/auth.json": "1"}, "/etc/ostree/auth.json", False),
        ({"/run/ostree/auth.json": "2"}, "/run/ostree/auth.json", False),
    ],
)
def test_the_first_auth_file_counts_and_no_other(auth_files: dict[str, str], credentials: str, shadowed: bool) -> None:
    facts = TrustFacts(auth=auth_files)
    assert (facts.credentials, facts.credentials_shadowed) == (credentials, shadowed)
    assert (
        any("does not count" in warning for warning in facts.warnings(anonymous=False, policy_managed=True)) is shadowed
    )
