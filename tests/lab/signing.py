# SPDX-License-Identifier: GPL-3.0-or-later
"""Signed images: key pairs, and signatures in a registry or a lookaside directory that a node's policy can ask for.

Sigstore signatures are ECDSA signatures over the "simple signing" document, attached as the tag ``sha256-….sig``, which
is what cosign and ``skopeo copy --sign-by-sigstore-private-key`` write. They are made here because Debian's skopeo has
sigstore switched off. GPG signatures are made by skopeo itself.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from lab.registry import Registry

SIGNATURE_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE_KEY = "dev.cosignproject.cosign/signature"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"


class SigningError(Exception):
    """The image could not be signed. The text says what was answered."""


@dataclasses.dataclass(frozen=True)
class SigstoreKey:
    """Files of one P-256 key pair, in PEM. ``public`` is what a node's policy names as ``keyPath``."""

    private: Path
    public: Path

    @classmethod
    def create(cls, directory: Path, name: str = "signing") -> SigstoreKey:
        """Write ``NAME.key`` (0600) and ``NAME.pub`` below a directory, which is made when it is missing."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        directory.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        pair = cls(directory / f"{name}.key", directory / f"{name}.pub")
        pair.private.touch(mode=0o600)
        pair.private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        pair.public.write_bytes(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        return pair

    def sign(self, registry: Registry, name: str, reference: str, *, identity: str | None = None) -> str:
        """Sign what ``name:reference`` (a tag or a digest) is now; return its digest.

        ``identity`` is the reference that the signature is about, ``ADDRESS/NAME:TAG`` by default. Another signature of
        the same image stays beside this one. Raises SigningError.
        """
        digest = registry.digest(name, reference)
        if digest is None:
            raise SigningError(f"there is no {name}:{reference} in {registry.address} to sign")
        tag = "" if reference.startswith("sha256:") else f":{reference}"
        payload = json.dumps(
            {
                "critical": {
                    "identity": {"docker-reference": identity or f"{registry.address}/{name}{tag}"},
                    "image": {"docker-manifest-digest": digest},
                    "type": "cosign container image signature",
                },
                "optional": None,
            },
            separators=(",", ":"),
        ).encode()
        self._attach(registry, name, digest, payload)
        return digest

    def _attach(self, registry: Registry, name: str, digest: str, payload: bytes) -> None:
        place = Upload(registry, name)
        tag = digest.replace(":", "-") + ".sig"
        layers: list[dict[str, Any]] = []
        if registry.digest(name, tag) is not None:
            layers = registry.manifest(name, tag)["layers"]
        layers.append(
            {
                "mediaType": SIGNATURE_TYPE,
                **place.blob(payload),
                "annotations": {SIGNATURE_KEY: base64.b64encode(self._signature(payload)).decode()},
            }
        )
        diff_ids = [layer["digest"] for layer in layers]
        config = json.dumps(
            {
                "architecture": "",
                "os": "",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
            }
        ).encode()
        place.manifest(
            tag,
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": {"mediaType": CONFIG_TYPE, **place.blob(config)},
                "layers": layers,
            },
        )

    def _signature(self, payload: bytes) -> bytes:
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = serialization.load_pem_private_key(self.private.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise SigningError(f"{self.private} is no elliptic curve key")
        return key.sign(payload, ec.ECDSA(hashes.SHA256()))


@dataclasses.dataclass(frozen=True)
class GpgKey:
    """A GPG key in a home directory of its own. ``public`` is what a node's policy names as ``keyPath``."""

    home: Path
    public: Path
    fingerprint: str

    @classmethod
    def create(cls, directory: Path, name: str = "lab@example.com") -> GpgKey:
        """Make a key without a passphrase in ``DIRECTORY/gnupg``. Raises SigningError."""
        home = directory / "gnupg"
        home.mkdir(parents=True, mode=0o700)
        gpg = ("gpg", "--homedir", str(home), "--batch", "--quiet")
        _run([*gpg, "--passphrase", "", "--quick-generate-key", name, "rsa2048", "sign", "never"])
        listing = _run([*gpg, "--with-colons", "--list-keys", name]).decode()
        fingerprint = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))
        public = directory / "gpg.pub"
        public.write_bytes(_run([*gpg, "--armor", "--export", name]))
        return cls(home, public, fingerprint)

    def sign(
        self, registry: Registry, name: str, reference: str, lookaside: Path, *, identity: str | None = None
    ) -> str:
        """Sign what ``name:reference`` is now, with `skopeo standalone-sign`, into a lookaside directory.

        The directory is for ``lookaside:`` in a node's registries.d (as ``file://`` or served). Returns the digest.
        """
        digest = registry.digest(name, reference)
        if digest is None:
            raise SigningError(f"there is no {name}:{reference} in {registry.address} to sign")
        place = lookaside / f"{name}@{digest.replace(':', '=')}"
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="lab-sign-") as scratch:
            manifest = Path(scratch) / "manifest.json"
            manifest.write_bytes(Upload(registry, name).read(digest))
            target = place / f"signature-{len(os.listdir(place)) + 1}"
            _run(
                [
                    *("skopeo", "standalone-sign", "--output", str(target), str(manifest)),
                    *(identity or f"{registry.address}/{name}:{reference}", self.fingerprint),
                ],
                GNUPGHOME=str(self.home),
            )
        return digest

    def end(self) -> None:
        """End the agent that GPG left running for this home directory."""
        _run(["gpgconf", "--homedir", str(self.home), "--kill", "all"])


class Upload:
    """Pushes to one repository of a registry."""

    def __init__(self, registry: Registry, name: str) -> None:
        self.registry = registry
        self.name = name

    def blob(self, content: bytes) -> dict[str, Any]:
        """Push a blob; returns its digest and size as a descriptor has them."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        location = self._send("POST", f"/v2/{self.name}/blobs/uploads/", b"", None).headers["Location"]
        joiner = "&" if "?" in location else "?"
        self._send("PUT", f"{location}{joiner}digest={digest}", content, "application/octet-stream")
        return {"digest": digest, "size": len(content)}

    def manifest(self, tag: str, manifest: dict[str, Any]) -> None:
        body = json.dumps(manifest, separators=(",", ":")).encode()
        self._send("PUT", f"/v2/{self.name}/manifests/{tag}", body, manifest["mediaType"])

    def read(self, digest: str) -> bytes:
        """The bytes of a manifest."""
        with self.registry.request("GET", f"/v2/{self.name}/manifests/{digest}") as answer:
            content: bytes = answer.read()
            return content

    def _send(self, method: str, path: str, body: bytes, kind: str | None) -> Any:
        try:
            with self.registry.request(method, path, body, kind) as answer:
                answer.read()
                return answer
        except urllib.error.URLError as error:
            raise SigningError(f"{method} {path} of {self.registry.address}: {error}") from error


def _run(argv: list[str], **environment: str) -> bytes:
    try:
        done = subprocess.run(argv, capture_output=True, check=False, env={**os.environ, **environment})
    except FileNotFoundError as error:
        raise SigningError(f"{argv[0]} is not installed; on Debian: apt-get install {argv[0]}") from error
    if done.returncode != 0:
        raise SigningError(f"`{' '.join(argv)}` exited {done.returncode}:\n{done.stderr.decode().strip()}")
    return done.stdout
