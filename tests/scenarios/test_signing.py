# SPDX-License-Identifier: GPL-3.0-or-later
"""Signing by real tools: skopeo makes the signatures, skopeo under a strict policy and the lab's verifier judge them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import Registry as BuildRegistry
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import RegistryAccess
from ansible_collections.imagemode.nodes.plugins.module_utils._build.resolved_image import ResolvedImage
from ansible_collections.imagemode.nodes.plugins.module_utils._build.signing import Signer
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import BuildError, FailureCategory
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference
from lab.registry import Registry
from lab.signing import GpgKey
from registry_images import MANIFEST_TYPE, image, index

ROOT = Path(__file__).resolve().parents[2]
ACCESS = RegistryAccess(None, False)


@pytest.fixture(scope="session")
def sigstore_skopeo() -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "dev/sigstore_skopeo.py")], capture_output=True, text=True, check=False
    )
    if done.returncode == 77:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def with_sigstore(sigstore_skopeo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sigstore_skopeo).parent}{os.pathsep}{os.environ['PATH']}")


class Image:
    """An image under a second tag, as a build leaves it before it is signed."""

    def __init__(self, registry: Registry, name: str, *architectures: str) -> None:
        self.registry = registry
        self.name = name
        self.reference = ImageReference.parse(f"{registry.address}/{name}:1")
        self.key_tag = self.reference.with_tag("1-0123456789ab")
        tag = self.key_tag.tag or ""
        digests = [image(registry, name, each, architecture=each) for each in architectures]
        if digests:
            index(registry, name, tag, digests)
        else:
            image(registry, name, tag)
        self.resolved = BuildRegistry(ACCESS).resolve(self.key_tag)

    def sign(self, **options: Any) -> list[list[str]]:
        signer = Signer.of(options, ACCESS)
        assert signer is not None
        return signer.sign(self.reference, self.key_tag, self.resolved)

    def is_signed(self, **options: Any) -> bool:
        signer = Signer.of(options, ACCESS)
        assert signer is not None
        return signer.is_signed(self.reference, self.resolved)

    def tag(self) -> None:
        """Point the tag there, as a build does once the image is signed."""
        options = ["--src-tls-verify=false", "--dest-tls-verify=false"]
        command = ["skopeo", "copy", "--all", *options, f"docker://{self.key_tag}", f"docker://{self.reference}"]
        subprocess.run(command, check=True, capture_output=True)

    def attachments(self, digest: str) -> int:
        tag = digest.replace(":", "-") + ".sig"
        if self.registry.digest(self.name, tag) is None:
            return 0
        return len(self.registry.manifest(self.name, tag)["layers"])


class Key:
    """A sigstore key pair as skopeo makes it, in files."""

    def __init__(self, skopeo: str, directory: Path, name: str = "key", passphrase: str = "") -> None:
        self.passphrase_file = directory / f"{name}.passphrase"
        self.passphrase_file.write_text(f"{passphrase}\n")
        self.private = directory / f"{name}.private"
        self.public = directory / f"{name}.pub"
        command = [skopeo, "generate-sigstore-key", "--output-prefix", str(directory / name)]
        subprocess.run([*command, "--passphrase-file", str(self.passphrase_file)], check=True, capture_output=True)

    def options(self, **more: Any) -> dict[str, Any]:
        return {"sigstore_key": str(self.private), "passphrase_file": str(self.passphrase_file), **more}

    def requirement(self) -> dict[str, Any]:
        return {"type": "sigstoreSigned", "keyPath": str(self.public)}


def pull(
    directory: Path, image: ImageReference, requirement: dict[str, Any], settings: dict[str, Any]
) -> tuple[bool, str]:
    """What skopeo says as a node that boots only what this requirement accepts."""
    place = directory / "node"
    shutil.rmtree(place, ignore_errors=True)
    (place / "registries.d").mkdir(parents=True)
    (place / "registries.d/r.yaml").write_text(json.dumps({"docker": {image.name: settings}}))
    (place / "policy.json").write_text(json.dumps({"default": [requirement]}))
    command = ["skopeo", f"--policy={place}/policy.json", f"--registries.d={place}/registries.d", "copy"]
    url = f"docker://{image.pull_text}"
    done = subprocess.run(
        [*command, "--src-tls-verify=false", url, f"dir:{place}/os"], capture_output=True, text=True, check=False
    )
    return done.returncode == 0, done.stderr


ATTACHED = {"use-sigstore-attachments": True}


@pytest.mark.usefixtures("with_sigstore")
class TestSigstore:
    """Keys as cosign and skopeo make them."""

    def test_an_image_is_signed_once_and_a_strict_node_takes_it(
        self, registry: Registry, tmp_path: Path, sigstore_skopeo: str
    ) -> None:
        key, other = Key(sigstore_skopeo, tmp_path, passphrase="correct horse"), Key(sigstore_skopeo, tmp_path, "other")
        signed = Image(registry, "signing/one")
        signed.tag()
        accepted, said = pull(tmp_path, signed.reference, key.requirement(), ATTACHED)
        assert (accepted, "no signature exists" in said) == (False, True), said
        assert not signed.is_signed(**key.options())
        (command,) = signed.sign(**key.options())
        assert "correct horse" not in " ".join(command)
        assert signed.is_signed(**key.options())
        assert signed.sign(**key.options()) == []
        assert signed.attachments(signed.resolved.digest) == 1
        assert pull(tmp_path, signed.reference, key.requirement(), ATTACHED)[0]
        assert pull(tmp_path, signed.reference.with_digest(signed.resolved.digest), key.requirement(), ATTACHED)[0]
        accepted, said = pull(tmp_path, signed.reference, other.requirement(), ATTACHED)
        assert (accepted, "invalid signature" in said) == (False, True), said

    def test_the_tag_is_moved_only_afterwards_and_the_digest_stays(
        self, registry: Registry, tmp_path: Path, sigstore_skopeo: str
    ) -> None:
        signed = Image(registry, "signing/order")
        signed.sign(**Key(sigstore_skopeo, tmp_path).options())
        assert registry.digest("signing/order", "1") is None
        assert registry.digest("signing/order", signed.key_tag.tag or "") == signed.resolved.digest

    def test_an_index_and_each_of_its_manifests(self, registry: Registry, tmp_path: Path, sigstore_skopeo: str) -> None:
        key = Key(sigstore_skopeo, tmp_path)
        signed = Image(registry, "signing/index", "amd64", "arm64")
        signed.sign(**key.options())
        signed.tag()
        assert len(signed.resolved.manifests) == 2
        for digest in (signed.resolved.digest, *signed.resolved.manifests):
            assert signed.attachments(digest) == 1
            assert pull(tmp_path, signed.reference.with_digest(digest), key.requirement(), ATTACHED)[0]
        assert signed.sign(**key.options()) == []
        registry.delete(
            "signing/index", registry.digest("signing/index", _attachment(signed.resolved.manifests[1])) or ""
        )
        assert not signed.is_signed(**key.options())
        assert len(signed.sign(**key.options())) == 1

    def test_after_a_change_of_keys_it_is_signed_again_and_the_old_signature_stays(
        self, registry: Registry, tmp_path: Path, sigstore_skopeo: str
    ) -> None:
        old, new = Key(sigstore_skopeo, tmp_path, "old"), Key(sigstore_skopeo, tmp_path, "new")
        signed = Image(registry, "signing/rotated")
        signed.sign(**old.options())
        signed.tag()
        assert not signed.is_signed(**new.options())
        signed.sign(**new.options())
        assert signed.attachments(signed.resolved.digest) == 2
        for key in (old, new):
            assert signed.is_signed(**key.options())
            assert pull(tmp_path, signed.reference, key.requirement(), ATTACHED)[0]
        new.public.rename(tmp_path / "elsewhere")
        assert signed.sign(**new.options(public_key=str(tmp_path / "elsewhere"))) == []

    def test_without_a_public_key_any_signature_of_the_image_counts(
        self, registry: Registry, tmp_path: Path, sigstore_skopeo: str
    ) -> None:
        key, other = Key(sigstore_skopeo, tmp_path), Key(sigstore_skopeo, tmp_path, "other")
        signed = Image(registry, "signing/unknown")
        other.public.unlink()
        assert not signed.is_signed(**other.options())
        signed.sign(**key.options())
        assert signed.is_signed(**other.options())

    def test_a_signature_about_another_tag_is_not_enough(
        self, registry: Registry, tmp_path: Path, sigstore_skopeo: str
    ) -> None:
        key = Key(sigstore_skopeo, tmp_path)
        signed = Image(registry, "signing/renamed")
        signed.sign(**key.options())
        signed.reference = signed.reference.with_tag("2")
        signed.tag()
        assert not pull(tmp_path, signed.reference, key.requirement(), ATTACHED)[0]
        assert not signed.is_signed(**key.options())
        signed.sign(**key.options())
        assert pull(tmp_path, signed.reference, key.requirement(), ATTACHED)[0]

    @pytest.mark.parametrize(
        ("passphrase_file", "advice"),
        [("wrong", "passphrase does not open"), (None, "passphrase does not open")],
    )
    def test_a_wrong_passphrase(
        self, registry: Registry, tmp_path: Path, sigstore_skopeo: str, passphrase_file: str | None, advice: str
    ) -> None:
        key = Key(sigstore_skopeo, tmp_path, passphrase="correct horse")
        (tmp_path / "wrong").write_text("battery staple\n")
        signed = Image(registry, "signing/passphrase")
        with pytest.raises(BuildError, match=advice) as caught:
            signed.sign(**key.options(passphrase_file=str(tmp_path / passphrase_file) if passphrase_file else None))
        assert caught.value.failure.category is FailureCategory.SIGN
        assert "battery" not in str(caught.value.failure)
        assert signed.attachments(signed.resolved.digest) == 0

    def test_a_key_that_is_none(self, registry: Registry, tmp_path: Path, sigstore_skopeo: str) -> None:
        key = Key(sigstore_skopeo, tmp_path)
        signed = Image(registry, "signing/nokey")
        with pytest.raises(BuildError, match="not a private key as"):
            signed.sign(sigstore_key=str(key.public), public_key=str(key.public))

    def test_the_public_key_of_another_pair_is_noticed(
        self, registry: Registry, tmp_path: Path, sigstore_skopeo: str
    ) -> None:
        key, other = Key(sigstore_skopeo, tmp_path), Key(sigstore_skopeo, tmp_path, "other")
        with pytest.raises(BuildError, match="may not belong to the private key"):
            Image(registry, "signing/mixed").sign(**key.options(public_key=str(other.public)))

    def test_both_kinds_of_signature(
        self, registry: Registry, tmp_path: Path, sigstore_skopeo: str, gpg_key: GpgKey
    ) -> None:
        key, staging = Key(sigstore_skopeo, tmp_path), tmp_path / "staging"
        signed = Image(registry, "signing/both")
        options = key.options(gpg=gpg_key.fingerprint, gnupghome=str(gpg_key.home), lookaside_staging=staging.as_uri())
        assert len(signed.sign(**options)) == 2
        signed.tag()
        assert signed.sign(**options) == []
        assert signed.attachments(signed.resolved.digest) == 1
        assert pull(tmp_path, signed.reference, key.requirement(), ATTACHED)[0]
        assert pull(tmp_path, signed.reference, _gpg_requirement(gpg_key), {"lookaside": staging.as_uri()})[0]


def _attachment(digest: str) -> str:
    return digest.replace(":", "-") + ".sig"


def _gpg_requirement(key: GpgKey) -> dict[str, Any]:
    return {"type": "signedBy", "keyType": "GPGKeys", "keyPath": str(key.public)}


@pytest.fixture(scope="module")
def gpg_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpgKey]:
    if shutil.which("gpg") is None:
        pytest.skip("gpg is not installed")
    key = GpgKey.create(tmp_path_factory.mktemp("gpg"))
    yield key
    key.end()


class TestGpg:
    """GPG signatures in a directory, by the skopeo of this machine."""

    def options(self, key: GpgKey, staging: Path) -> dict[str, Any]:
        return {"gpg": key.fingerprint, "gnupghome": str(key.home), "lookaside_staging": str(staging)}

    def test_an_index_is_signed_once_and_a_strict_node_takes_it(
        self, registry: Registry, tmp_path: Path, gpg_key: GpgKey
    ) -> None:
        signed, staging = Image(registry, "signing/gpg", "amd64", "arm64"), tmp_path / "staging"
        settings = {"lookaside": staging.as_uri()}
        signed.tag()
        assert not pull(tmp_path, signed.reference, _gpg_requirement(gpg_key), settings)[0]
        assert len(signed.sign(**self.options(gpg_key, staging))) == 1
        assert pull(tmp_path, signed.reference, _gpg_requirement(gpg_key), settings)[0]
        assert signed.sign(**self.options(gpg_key, staging)) == []
        files = sorted(str(path.relative_to(staging)) for path in staging.rglob("signature-*"))
        digests = (signed.resolved.digest, *signed.resolved.manifests)
        assert files == sorted(f"signing/gpg@{digest.replace(':', '=')}/signature-1" for digest in digests)

    def test_another_key_signs_beside_it(self, registry: Registry, tmp_path: Path, gpg_key: GpgKey) -> None:
        signed, staging = Image(registry, "signing/gpg2"), tmp_path / "staging"
        other = GpgKey.create(tmp_path / "other", "other@example.com")
        try:
            signed.sign(**self.options(gpg_key, staging))
            signed.tag()
            assert not signed.is_signed(**self.options(other, staging))
            signed.sign(**self.options(other, staging))
            for key in (gpg_key, other):
                assert signed.is_signed(**self.options(key, staging))
                settings = {"lookaside": staging.as_uri()}
                assert pull(tmp_path, signed.reference, _gpg_requirement(key), settings)[0]
        finally:
            other.end()

    def test_a_key_that_nobody_has(self, registry: Registry, tmp_path: Path, gpg_key: GpgKey) -> None:
        options = {**self.options(gpg_key, tmp_path / "staging"), "gpg": "A" * 40}
        with pytest.raises(BuildError, match="has no private key of that fingerprint"):
            Image(registry, "signing/nobody").sign(**options)

    def test_a_key_with_a_passphrase(self, registry: Registry, tmp_path: Path) -> None:
        home = tmp_path / "gnupg"
        home.mkdir(mode=0o700)
        gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--pinentry-mode", "loopback"]
        generate = [
            "--passphrase",
            "correct horse",
            "--quick-generate-key",
            "p@example.com",
            "rsa2048",
            "sign",
            "never",
        ]
        subprocess.run([*gpg, *generate], check=True, capture_output=True)
        listing = subprocess.run([*gpg, "--with-colons", "--list-keys"], check=True, capture_output=True, text=True)
        fingerprint = next(line.split(":")[9] for line in listing.stdout.splitlines() if line.startswith("fpr:"))
        end = ["gpgconf", "--homedir", str(home), "--kill", "all"]
        subprocess.run(end, check=True)  # the agent remembers what made the key
        (tmp_path / "right").write_text("correct horse\n")
        (tmp_path / "wrong").write_text("battery staple\n")
        signed = Image(registry, "signing/gpgpass")
        options = {"gpg": fingerprint, "gnupghome": str(home), "lookaside_staging": str(tmp_path / "staging")}
        try:
            for wrong in ({}, {"gpg_passphrase_file": str(tmp_path / "wrong")}):
                with pytest.raises(BuildError, match="does not open the GPG key"):
                    signed.sign(**options, **wrong)
            (command,) = signed.sign(**options, gpg_passphrase_file=str(tmp_path / "right"))
            assert "correct horse" not in " ".join(command)
        finally:
            subprocess.run(end, check=True)


def test_a_skopeo_without_sigstore_says_so_and_the_tag_stays(registry: Registry, tmp_path: Path) -> None:
    """Debian 12's has the options and refuses in the end; older ones do not have them."""
    signed = Image(registry, "signing/old")
    stand_in = tmp_path / "skopeo"
    (tmp_path / "key").write_text("none is read\n")
    for said in (
        "creating signature: Debian-local change: sigstore disabled",
        "unknown flag: --sign-by-sigstore-private-key",
    ):
        stand_in.write_text(
            f'#!/bin/sh\ncase "$*" in *--sign-by*) echo \'level=fatal msg="{said}"\' >&2; exit 1;; esac\nexec skopeo "$@"\n'
        )
        stand_in.chmod(0o755)
        signer = Signer.of({"sigstore_key": str(tmp_path / "key")}, ACCESS)
        assert signer is not None
        with pytest.raises(BuildError, match=f"was built without them.*It said: {said}") as caught:
            Signer(signer.methods, ACCESS, str(stand_in)).sign(signed.reference, signed.key_tag, signed.resolved)
        assert caught.value.failure.category is FailureCategory.SIGN
        assert registry.digest("signing/old", "1") is None


def test_a_registry_that_wants_a_login(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("none is read\n")
    with Registry.start(tmp_path / "locked", username="ci", password="correct-horse") as locked:
        reference = ImageReference.parse(f"{locked.address}/os:1")
        signer = Signer.of({"sigstore_key": str(tmp_path / "key")}, ACCESS)
        assert signer is not None
        with pytest.raises(BuildError, match="wants a login"):
            signer.is_signed(reference, ResolvedImage("sha256:" + "a" * 64, MANIFEST_TYPE, {}))
