# SPDX-License-Identifier: GPL-3.0-or-later
"""Signature policies: images that are really signed, policies that are really enforced, and the recorded words of both tools."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab.registry import Registry
from lab.signing import GpgKey, SigstoreKey
from recorded import Reducer, row
from recorded_world import HostUnderTest, World
from small_images import Pusher, layer, userland
from test_recordings import repeat

MakeHost = Callable[..., HostUnderTest]

PERMISSIVE = {"default": [{"type": "insecureAcceptAnything"}]}
SIGNED = "31-signatures"
REFUSED = (
    *("01-enforce-permissive", "02-rebase-signed-permissive", "03-scoped-policy-default-permissive-enforce"),
    *("04-scoped-rebase-signed", "05-scoped-unsigned-tag-noflag", "05b-scoped-unsigned-tag-rebase"),
    *("06-strict-no-registries-d", "07-strict-no-registries-d-rebase", "08-strict-unsigned-tag"),
    *("09-strict-unsigned-tag-noflag", "10-strict-unsigned-rebase", "11-strict-unsigned-rebase-signed"),
    *("12-strict-other-repo-rejected", "12b-strict-other-repo-rejected-rebase", "13-strict-wrong-key"),
    *("14-strict-wrong-key-rebase", "15-strict-key-file-missing", "16-strict-broken-policy", "16b-no-policy-file"),
)
ACCEPTED = (
    *("17-strict-signed-noflag", "18-strict-signed-enforce", "19-same-enforce", "20-same-noflag", "21-cleanup"),
)
LATER = (
    *("29-gpg-noflag", "30-gpg-enforce", "31-gpg-rebase", "32-gpg-unsigned", "33-gpg-unsigned-rebase"),
    "34-moving-enforce",
)
MOVED = (
    *("35-upgrade-tag-moved-to-unsigned-check", "36-upgrade-tag-moved-to-unsigned"),
    *("37-rpm-ostree-upgrade-moved-unsigned", "38-upgrade-signed-but-policy-now-permissive"),
)


class Signed:
    """The keys and the signed repositories of the recording, and what a host needs of them."""

    def __init__(self, world: World, directory: Path) -> None:
        self.world = world
        registry = Registry(directory, world.open, 0)
        self.directory = directory
        self.key = SigstoreKey.create(directory)
        other = SigstoreKey.create(directory, "other")
        self.gpg = GpgKey.create(directory)
        self.lookaside = directory / "lookaside"
        self.images = Pusher(world.open, "signedos")
        for repository in (self.images, Pusher(world.open, "gpgos")):
            for number in "23":
                repository.image(
                    f"v{number}",
                    [userland(number, files=world.files)],
                    version=f"{number}.0",
                    created="2026-11-22T06:04:53Z",
                )
            repository.image("unsigned", [userland("unsigned", files=world.files)], version="9.0")
        self.images.image("wrongkey", [userland("wrong", files=world.files)])
        self.images.retag("v2", "moving")
        for tag in ("v2", "moving", "v3"):
            self.key.sign(registry, "signedos", tag)
        other.sign(registry, "signedos", "wrongkey")
        self.gpg.sign(registry, "gpgos", "v2", self.lookaside)
        self.gpg.end()

    def policies(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The strict policy of the recording, and the one with the same scopes beside a permissive default."""
        scopes = {
            "docker": {
                f"{self.world.open}/signedos": [{"type": "sigstoreSigned", "keyPath": "/etc/pki/lab.pub"}],
                f"{self.world.open}/gpgos": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/etc/pki/lab.gpg"}],
            }
        }
        return {"default": [{"type": "reject"}], "transports": scopes}, {**PERMISSIVE, "transports": scopes}

    def put_on(self, host: HostUnderTest) -> None:
        """The files that the recording's commands copy about: /root/policy*.json, /root/lab.yaml, keys, GPG signatures."""
        strict, scoped = self.policies()
        attached = (
            f"docker:\n  {self.world.open}/signedos:\n    use-sigstore-attachments: true\n"
            f"  {self.world.open}/gpgos:\n    lookaside: file:///var/lib/lookaside\n"
        )
        files: dict[str, bytes] = {
            "/root/policy.json": json.dumps(strict).encode(),
            "/root/policy-scoped.json": json.dumps(scoped).encode(),
            "/root/lab.yaml": attached.encode(),
            "/etc/pki/lab.pub": self.key.public.read_bytes(),
            "/etc/pki/lab.gpg": self.gpg.public.read_bytes(),
        }
        for path in self.lookaside.rglob("signature-*"):
            files[f"/var/lib/lookaside/{path.relative_to(self.lookaside)}"] = path.read_bytes()
        host.ok("mkdir -p /etc/containers/registries.d")
        for name, content in files.items():
            write(host, name, content)

    def enforce(self, host: HostUnderTest) -> None:
        self.put_on(host)
        host.ok(
            "cat /root/policy.json > /etc/containers/policy.json; cat /root/lab.yaml > /etc/containers/registries.d/lab.yaml"
        )


def write(host: HostUnderTest, path: str, content: bytes) -> None:
    text = base64.b64encode(content).decode()
    host.ok(f"mkdir -p {path.rpartition('/')[0]}; echo {text} | base64 -d > {path}")


@pytest.fixture(scope="module")
def signed(world: World, tmp_path_factory: pytest.TempPathFactory) -> Signed:
    return Signed(world, tmp_path_factory.mktemp("signed"))


def replay(host: HostUnderTest, ours: Reducer, theirs: Reducer, *names: str) -> None:
    for name in names:
        repeat(host, row(SIGNED, name, "31-signatures"), ours, theirs)


def test_a_simulated_host_enforces_signatures_with_the_recorded_words(make_host: MakeHost, signed: Signed) -> None:
    host = make_host()
    signed.put_on(host)
    ours, theirs = Reducer(), Reducer()
    replay(host, ours, theirs, *REFUSED)
    replay(host, ours, theirs, *ACCEPTED)


def test_a_host_that_booted_a_signed_image_follows_it_and_loses_the_policy_without_the_flag(
    make_host: MakeHost, signed: Signed
) -> None:
    host = make_host()
    signed.enforce(host)
    host.ok(f"bootc switch --enforce-container-sigpolicy {signed.world.open}/signedos:v2")
    host.reboot()
    ours, theirs = Reducer(), Reducer()
    replay(
        host,
        ours,
        theirs,
        *("19-same-enforce", "22-upgrade-check", "23-rpm-ostree-upgrade-check", "23b-rpm-ostree-upgrade"),
        *("24-rebase-signed-v3", "25-same-enforce-after-rebase"),
    )
    staged = json.loads(host.ok("bootc status --json"))["status"]["staged"]
    assert staged["image"]["image"]["signature"] == "containerPolicy"
    host.reboot()
    replay(
        host,
        ours,
        theirs,
        *("26-same-noflag-after-rebase", "26b-cleanup", "27-rebase-unverified-same"),
    )
    staged = json.loads(host.ok("bootc status --json"))["status"]["staged"]
    assert "signature" not in staged["image"]["image"]
    signed.images.retag("v2", "moving")
    replay(host, ours, theirs, "28-cleanup", *LATER)
    host.reboot()
    signed.images.retag("unsigned", "moving")
    replay(host, ours, theirs, *MOVED)


def test_a_rebase_to_a_signed_reference_is_the_same_in_both_spellings(make_host: MakeHost, signed: Signed) -> None:
    host = make_host()
    signed.enforce(host)
    host.ok(f"bootc switch {signed.world.open}/signedos:v2")
    ours, theirs = Reducer(), Reducer()
    for name in (
        *("01-gpg-rebase-signed", "02-gpg-bootc-same", "03-signed-image-form"),
        *("04-bootc-same-after-registry-form", "05-cleanup"),
    ):
        repeat(host, row(SIGNED, name, "31b"), ours, theirs)


def test_both_tools_refuse_an_unsigned_image_under_a_tag_that_was_signed(make_host: MakeHost, signed: Signed) -> None:
    host = make_host()
    signed.enforce(host)
    registry = Registry(signed.directory, signed.world.open, 0)
    signed.images.image("mine", [userland("mine", files=signed.world.files)])
    signed.key.sign(registry, "signedos", "mine")
    host.ok(f"bootc switch {signed.world.open}/signedos:mine")
    signed.images.image("mine", [userland("mine", files=signed.world.files), layer({"usr/share/x": "x"})])
    for command in (
        f"bootc switch --enforce-container-sigpolicy {signed.world.open}/signedos:mine",
        "bootc upgrade",
        f"rpm-ostree rebase ostree-image-signed:docker://{signed.world.open}/signedos:mine",
    ):
        done = host.sh(command)
        assert (done.returncode, "A signature was required, but no signature exists" in done.stderr) == (1, True), (
            command
        )


@pytest.mark.parametrize(
    ("identity", "accepted"),
    [
        (None, False),
        ({"type": "matchExact"}, False),
        ({"type": "matchRepository"}, True),
        ({"type": "exactRepository", "dockerRepository": "OPEN/signedos"}, True),
        ({"type": "exactRepository", "dockerRepository": "OPEN/other"}, False),
        ({"type": "exactReference", "dockerReference": "OPEN/signedos:v3"}, True),
    ],
)
def test_a_signature_counts_for_the_identity_that_the_policy_asks_for(
    make_host: MakeHost, signed: Signed, identity: dict[str, str] | None, accepted: bool
) -> None:
    host = make_host()
    signed.enforce(host)
    signed.images.retag("v3", "renamed")  # signed as v3
    strict, _scoped = signed.policies()
    if identity is not None:
        wanted = {key: value.replace("OPEN", signed.world.open) for key, value in identity.items()}
        strict["transports"]["docker"][f"{signed.world.open}/signedos"][0]["signedIdentity"] = wanted
    write(host, "/etc/containers/policy.json", json.dumps(strict).encode())
    done = host.sh(f"bootc switch {signed.world.open}/signedos:renamed")
    assert done.returncode == (0 if accepted else 1), done.stderr
    assert ("is not accepted" in done.stderr) is not accepted


def test_an_older_bootc_looks_for_the_policy_in_one_place_only(make_host: MakeHost, signed: Signed) -> None:
    texts = []
    for version in ("1.16.2", "1.16.3"):
        host = make_host(bootc=version)
        signed.enforce(host)
        host.ok("mkdir -p /usr/local/x; mv /etc/containers/policy.json /root/p.json")
        command = f"bootc switch --enforce-container-sigpolicy {signed.world.open}/signedos:v2"
        texts.append(host.sh(f"CONTAINERS_POLICY_JSON=/root/p.json {command}").stderr)
    assert "No such file or directory (os error 2)" in texts[0]
    assert "no policy.json file found at any of the following" in texts[1]  # skopeo's own search is another one
