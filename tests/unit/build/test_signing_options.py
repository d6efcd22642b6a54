# SPDX-License-Identifier: GPL-3.0-or-later
"""What the option `sign` means, before any tool is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import RegistryAccess
from ansible_collections.imagemode.nodes.plugins.module_utils._build.resolved_image import ResolvedImage
from ansible_collections.imagemode.nodes.plugins.module_utils._build.signing import Signer, signed_digests
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import BuildError, FailureCategory
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference

ACCESS = RegistryAccess("/etc/imagemode/auth.json", None)
IMAGE = ImageReference.parse("registry.example.com:5000/fleet/node:1")
DIGEST = "sha256:" + "a" * 64
FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"


@pytest.fixture(autouse=True)
def some_skopeo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in ("cosign.key", "passphrase"):
        (tmp_path / name).write_text("secret words\n")
    return tmp_path


def test_without_the_option_nothing_is_signed() -> None:
    assert Signer.of(None, ACCESS) is None
    assert Signer.of({}, ACCESS) is None


def test_the_commands_of_a_prediction_name_files_and_no_secret(files: Path) -> None:
    options = {
        "sigstore_key": f"{files}/cosign.key",
        "passphrase_file": f"{files}/passphrase",
        "gpg": " ".join((FINGERPRINT[:20], FINGERPRINT[20:].lower())),
        "gnupghome": str(files),
        "lookaside_staging": "file:///srv/lookaside",
    }
    signer = Signer.of(options, ACCESS)
    assert signer is not None
    common = [
        "--registries.d=REGISTRIES.D",
        *("--insecure-policy", "copy", "--all", "--preserve-digests"),
        *("--src-authfile=/etc/imagemode/auth.json", "--dest-authfile=/etc/imagemode/auth.json"),
        f"--sign-identity={IMAGE}",
    ]
    urls = [f"docker://{IMAGE.name}@{DIGEST}", f"docker://{IMAGE.name}:1-key"]
    planned = signer.planned(IMAGE, IMAGE.with_tag("1-key"), DIGEST)
    private = f"--sign-by-sigstore-private-key={files}/cosign.key"
    assert planned == [
        ["/usr/bin/skopeo", *common, private, f"--sign-passphrase-file={files}/passphrase", *urls],
        ["env", f"GNUPGHOME={files}", "/usr/bin/skopeo", *common, f"--sign-by={FINGERPRINT}", *urls],
    ]
    assert "secret words" not in str(planned)
    yet_to_be_built = signer.planned(IMAGE, IMAGE.with_tag("1-key"), None)
    assert yet_to_be_built[0][-2:] == [f"docker://{IMAGE.name}:1-key"] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigstore_key": "{files}/nothing"}, "sign.sigstore_key: .*nothing is not a file"),
        ({"sigstore_key": "{files}"}, "is not a file"),
        ({"sigstore_key": "{files}/cosign.key", "passphrase_file": "{files}/none"}, "sign.passphrase_file"),
        ({"sigstore_key": "{files}/cosign.key", "public_key": "{files}/passphrase"}, "BEGIN PUBLIC KEY"),
        ({"gpg": "0x01234567", "lookaside_staging": "/srv"}, "40 hexadecimal digits"),
        ({"gpg": "ci@example.com", "lookaside_staging": "/srv"}, "40 hexadecimal digits"),
        ({"gpg": FINGERPRINT, "lookaside_staging": "https://example.com/sigs"}, "must be a directory on this host"),
        ({"gpg": FINGERPRINT, "lookaside_staging": "sigs"}, "must be a directory on this host"),
        ({"gpg": FINGERPRINT}, "must be a directory on this host"),
        ({"gpg": FINGERPRINT, "lookaside_staging": "/srv", "gnupghome": "{files}/none"}, "sign.gnupghome"),
        ({"passphrase_file": "{files}/passphrase"}, "names no key"),
    ],
)
def test_options_that_cannot_sign(files: Path, options: dict[str, str], message: str) -> None:
    filled: dict[str, Any] = {name: value.format(files=files) for name, value in options.items()}
    with pytest.raises(BuildError, match=message) as caught:
        Signer.of(filled, ACCESS)
    assert caught.value.failure.category is FailureCategory.INPUT
    assert "secret words" not in str(caught.value.failure)


def test_an_index_and_all_its_manifests_are_to_be_signed_once_each() -> None:
    manifests = ("sha256:" + "b" * 64, "sha256:" + "c" * 64)
    assert signed_digests(ResolvedImage(DIGEST, "", {}, manifests)) == (DIGEST, *manifests)
    assert signed_digests(ResolvedImage(DIGEST, "", {})) == (DIGEST,)
