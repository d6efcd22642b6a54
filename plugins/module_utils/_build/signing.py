# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures on images in a registry: made before a tag points to the image, and found again before they are made.

What a node checks: bootc and rpm-ostree accept an index if either the index or the manifest of the node's platform is
signed, every other tool of the containers project asks for the manifest (containers-common pkg/json-proxy/handler.go). A
signature is about a reference as well, and a node that pulls by tag accepts only that tag in it: so what is signed are
the index and each manifest, and the reference is the one that nodes are given, never the second tag.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

from ansible_collections.imagemode.nodes.plugins.module_utils._build.build_request import input_error
from ansible_collections.imagemode.nodes.plugins.module_utils._build.engine import require_tool
from ansible_collections.imagemode.nodes.plugins.module_utils._build.registry import (
    COPY_SECONDS,
    RegistryAccess,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._build.resolved_image import ResolvedImage
from ansible_collections.imagemode.nodes.plugins.module_utils._build.retry import answer
from ansible_collections.imagemode.nodes.plugins.module_utils._build.signature_evidence import (
    AttachedSignatures,
    LookasideSignatures,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
    registry_failure,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.ecdsa_p256 import InvalidPublicKey, PublicKey
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference

SIGN_SPEC: dict[str, Any] = {
    "type": "dict",
    "options": {
        "sigstore_key": {"type": "path", "no_log": False},  # a path, never the key
        "public_key": {"type": "path", "no_log": False},
        "passphrase_file": {"type": "path", "no_log": False},
        "gpg": {"type": "str"},
        "gnupghome": {"type": "path"},
        "gpg_passphrase_file": {"type": "path", "no_log": False},
        "lookaside_staging": {"type": "str"},
    },
    "required_one_of": [("sigstore_key", "gpg")],
    "required_by": {
        "gpg": ("lookaside_staging",),
        "lookaside_staging": ("gpg",),
        "gnupghome": ("gpg",),
        "gpg_passphrase_file": ("gpg",),
        "public_key": ("sigstore_key",),
        "passphrase_file": ("sigstore_key",),
    },
}
PLANNED_DIRECTORY = Path("REGISTRIES.D")  # stands for the temporary directory in the commands of a prediction
_EMPTY = "no-passphrase"


@dataclass(frozen=True)
class SigstoreMethod:
    """Sign with a sigstore key, as a tag beside the image. `public` None: any signature counts as ours."""

    private: Path
    passphrase_file: Path | None
    public: PublicKey | None

    def settings(self) -> dict[str, Any]:
        """What registries.d says of the repository."""
        return {"use-sigstore-attachments": True}

    def options(self, directory: Path) -> list[str]:
        """The options of `skopeo copy`. Without a passphrase skopeo would ask a terminal, so it gets an empty one."""
        passphrase = self.passphrase_file or directory / _EMPTY
        return [f"--sign-by-sigstore-private-key={self.private}", f"--sign-passphrase-file={passphrase}"]

    def command(self, skopeo: str) -> list[str]:
        """How skopeo is called."""
        return [skopeo]

    def has_signed(self, registry: RegistryAccess, skopeo: str, image: ImageReference, digest: str) -> bool:
        """Whether this key has signed the manifest as `image`. Raises BuildError."""
        return AttachedSignatures(registry, skopeo).include(image, digest, self.public)


@dataclass(frozen=True)
class GpgMethod:
    """Sign with a GPG key, into a directory that is served as the lookaside of the repository."""

    fingerprint: str
    home: Path | None
    passphrase_file: Path | None
    staging: Path

    def settings(self) -> dict[str, Any]:
        """What registries.d says of the repository. Signatures that are there are read, so that they are kept."""
        place = self.staging.as_uri()
        return {"use-sigstore-attachments": False, "lookaside": place, "lookaside-staging": place}

    def options(self, _directory: Path) -> list[str]:
        """The options of `skopeo copy`."""
        passphrase = [f"--sign-passphrase-file={self.passphrase_file}"] if self.passphrase_file else []
        return [f"--sign-by={self.fingerprint}", *passphrase]

    def command(self, skopeo: str) -> list[str]:
        """How skopeo is called: GPG's home directory can only be told in the environment."""
        return ["env", f"GNUPGHOME={self.home}", skopeo] if self.home else [skopeo]

    def has_signed(self, registry: RegistryAccess, skopeo: str, image: ImageReference, digest: str) -> bool:
        """Whether this key has signed the manifest as `image`. Raises BuildError."""
        signatures = LookasideSignatures(self.staging, registry, skopeo, self.command(skopeo))
        return signatures.include(image, digest, self.fingerprint)


SigningMethod = Union[SigstoreMethod, GpgMethod]


@dataclass(frozen=True)
class Signer:
    """Signs with one or two methods. Everything is done by skopeo; keys and passphrases stay in their files."""

    methods: tuple[SigningMethod, ...]
    access: RegistryAccess
    skopeo: str = field(default_factory=lambda: require_tool("skopeo"))

    @classmethod
    def of(cls, options: Mapping[str, Any] | None, access: RegistryAccess) -> Signer | None:
        """The signer that the option `sign` asks for (SIGN_SPEC), None without. Raises BuildError of category input."""
        if not options:
            return None
        methods: list[SigningMethod] = []
        if options.get("sigstore_key"):
            methods.append(_sigstore_method(options))
        if options.get("gpg"):
            methods.append(_gpg_method(options))
        if not methods:
            raise input_error("The option sign names no key: give it sigstore_key, or gpg with lookaside_staging.")
        return cls(tuple(methods), access)

    def missing(self, image: ImageReference, resolved: ResolvedImage) -> tuple[SigningMethod, ...]:
        """The methods by which some manifest of the image is not signed yet as `image`. Raises BuildError."""
        return tuple(
            method
            for method in self.methods
            if not all(
                method.has_signed(self.access, self.skopeo, image, digest) for digest in signed_digests(resolved)
            )
        )

    def is_signed(self, image: ImageReference, resolved: ResolvedImage) -> bool:
        """Whether nothing is left to sign. `image` is the reference that nodes are given. Raises BuildError."""
        return not self.missing(image, resolved)

    def planned(self, image: ImageReference, key_tag: ImageReference, digest: str | None) -> list[list[str]]:
        """The commands of `sign`, for a prediction. `digest` None: the image is yet to be built."""
        source = image.with_digest(digest) if digest else key_tag
        return [self._argv(method, PLANNED_DIRECTORY, image, source, key_tag) for method in self.methods]

    def sign(self, image: ImageReference, key_tag: ImageReference, resolved: ResolvedImage) -> list[list[str]]:
        """Sign what is not signed yet; the commands that did it, none if nothing was left to do.

        `image` is the reference that nodes are given, and what the signature says; `key_tag` is a tag that has the image
        already. The manifests are addressed by digest, and no layer is sent. Raises BuildError of category sign.
        """
        commands = []
        for method in self.missing(image, resolved):
            with _registries_d(image, method.settings()) as directory:
                argv = self._argv(method, directory, image, image.with_digest(resolved.digest), key_tag)
                commands.append(argv)
                self._run(argv, image)
        if commands and not self.is_signed(image, resolved):
            raise _sign_error(
                f"{image} was signed, but the signature of this key cannot be found afterwards. If the option public_key is "
                "given, it may not belong to the private key; else somebody else replaced the signatures at the same time.",
            )
        return commands

    def _argv(
        self,
        method: SigningMethod,
        directory: Path,
        image: ImageReference,
        source: ImageReference,
        target: ImageReference,
    ) -> list[str]:
        # The image has no signature yet that this host's own policy could ask for, and it is named by digest.
        return [
            *method.command(self.skopeo),
            f"--registries.d={directory}",
            "--insecure-policy",
            *("copy", "--all", "--preserve-digests"),
            *self.access.options("src-"),
            *self.access.options("dest-"),
            f"--sign-identity={image}",
            *method.options(directory),
            f"docker://{source.pull_text}",
            f"docker://{target.pull_text}",
        ]

    def _run(self, argv: Sequence[str], image: ImageReference) -> None:
        found = answer(argv, COPY_SECONDS, lambda said: _sign_failure(said, image, self.access))
        if isinstance(found, BuildFailure):
            raise BuildError(found)


def signed_digests(resolved: ResolvedImage) -> tuple[str, ...]:
    """What a signature is made for: the image's own digest, and those of its platforms."""
    return tuple(dict.fromkeys((resolved.digest, *resolved.manifests)))


@contextmanager
def _registries_d(image: ImageReference, settings: Mapping[str, Any]) -> Iterator[Path]:
    """A directory that says where signatures of the repository go, whatever this host's own says."""
    with tempfile.TemporaryDirectory(prefix="imagemode-sign-") as name:
        directory = Path(name)
        # every JSON document is a YAML document
        (directory / "imagemode.yaml").write_text(json.dumps({"docker": {image.name: settings}}) + "\n")
        (directory / _EMPTY).write_text("")
        yield directory


def _sigstore_method(options: Mapping[str, Any]) -> SigstoreMethod:
    private = _readable(options, "sigstore_key")
    passphrase = _readable(options, "passphrase_file") if options.get("passphrase_file") else None
    beside = private.with_suffix(".pub")
    if options.get("public_key"):
        return SigstoreMethod(private, passphrase, _public_key(_readable(options, "public_key")))
    return SigstoreMethod(private, passphrase, _public_key(beside) if beside.exists() else None)


def _public_key(path: Path) -> PublicKey:
    try:
        return PublicKey.parse(path.read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError, InvalidPublicKey) as error:
        raise input_error(
            f"The public key {path} cannot be used: {error}. What is needed is the file that `cosign generate-key-pair` "
            "and `skopeo generate-sigstore-key` write beside the private key."
        ) from error


def _gpg_method(options: Mapping[str, Any]) -> GpgMethod:
    wanted = str(options["gpg"]).replace(" ", "").upper()
    if len(wanted) != 40 or set(wanted) - set("0123456789ABCDEF"):
        raise input_error(
            f"sign.gpg must be the fingerprint of a key, 40 hexadecimal digits as `gpg --list-keys` shows them, not {options['gpg']!r}."
        )
    home = Path(options["gnupghome"]).absolute() if options.get("gnupghome") else None
    if home is not None and not home.is_dir():
        raise input_error(f"sign.gnupghome: {home} is not a directory on this host.")
    passphrase = _readable(options, "gpg_passphrase_file") if options.get("gpg_passphrase_file") else None
    staging = str(options.get("lookaside_staging") or "")
    path = staging[len("file://") :] if staging.startswith("file://") else staging
    if not path.startswith("/"):
        raise input_error(
            "sign.lookaside_staging must be a directory on this host, as an absolute path or with file:// before it: signatures are "
            f"written there as files, and no server takes them from skopeo. It is {staging!r}. Publish the directory afterwards."
        )
    return GpgMethod(wanted, home, passphrase, Path(path))


def _readable(options: Mapping[str, Any], name: str) -> Path:
    path = Path(options[name]).absolute()
    if not path.is_file() or not os.access(path, os.R_OK):
        raise input_error(f"sign.{name}: {path} is not a file on this host that the user of the task can read.")
    return path


def _sign_error(message: str) -> BuildError:
    return BuildError(BuildFailure(FailureCategory.SIGN, message))


# What skopeo says, with the version that it was seen in: 1.9.3 of Debian 12, 1.18.0 of Debian 13.
_CAUSES = (
    (
        ("sigstore disabled", "unknown flag: --sign-by-sigstore", "unknown flag: --sign-identity"),
        "The skopeo of this host cannot make sigstore signatures: it is older than 1.9, or was built without them, as in Debian 12. "
        "Install skopeo 1.10 or newer from a distribution that has them (Fedora, RHEL 9, Debian 13), build on another host, or sign "
        "with the option gpg.",
    ),
    (
        ("containers_image_openpgp", "signing not supported"),
        "The skopeo of this host was built without GPG signing. Install the package of a distribution, or sign with sigstore_key.",
    ),
    (
        ("decryption failed", "could not decrypt private key", "wrong password"),
        "The passphrase does not open the sigstore key. It is the first line of passphrase_file; without that option it is empty.",
    ),
    (
        (
            "Bad passphrase",
            "No passphrase given",
            "No pinentry",
            "Inappropriate ioctl",
            "Operation cancelled",
            "Timeout",
        ),
        "The passphrase does not open the GPG key. It is the first line of gpg_passphrase_file; without that option gpg-agent must "
        "have it already.",
    ),
    (
        ("invalid pem block", "unsupported pem type", "initializing private key"),
        "sigstore_key is not a private key as `cosign generate-key-pair` or `skopeo generate-sigstore-key` make it.",
    ),
    (
        ("No secret key", '" not found', "No public key", "Unusable secret key"),
        "The GPG key cannot sign: the keyring (option gnupghome) has no private key of that fingerprint, or it has expired.",
    ),
)


def _sign_failure(said: str, image: ImageReference, access: RegistryAccess) -> BuildFailure:
    failure = registry_failure(FailureCategory.SIGN, "sign", str(image), said, access.authfile)
    last = failure.message.rpartition(" It said: ")[2]
    for texts, advice in _CAUSES:
        if any(text.lower() in last.lower() for text in texts):
            return BuildFailure(
                FailureCategory.SIGN,
                f"Could not sign {image}, and no tag was moved to it. {advice} It said: {last}",
                excerpt=failure.excerpt,
            )
    return failure
