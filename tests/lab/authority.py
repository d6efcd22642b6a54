# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate authority of the lab, for registries that serve TLS and nodes that trust them, or do not."""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Any

VALID = datetime.timedelta(days=3650)


@dataclasses.dataclass(frozen=True)
class Authority:
    """One authority. ``certificate`` (PEM) is what a node must trust; ``names`` are those of the servers it vouches for.

    ``valid`` is how long from now on its certificates are, the one of its own too; less than nothing for expired ones.
    """

    certificate: Path
    key: Path
    names: tuple[str, ...]
    valid: datetime.timedelta = VALID

    @classmethod
    def create(
        cls,
        directory: Path,
        names: Sequence[str] = ("127.0.0.1", "localhost"),
        common_name: str = "Lab Authority",
        valid: datetime.timedelta = VALID,
    ) -> Authority:
        """Make ``ca.crt`` and ``ca.key`` below a directory, which is made when it is missing."""
        from cryptography import x509

        directory.mkdir(parents=True, exist_ok=True)
        authority = cls(directory / "ca.crt", directory / "ca.key", tuple(names), valid)
        _issue(
            authority.certificate,
            authority.key,
            common_name,
            [(x509.BasicConstraints(ca=True, path_length=None), True)],
            None,
            valid,
        )
        return authority

    def issue(self, directory: Path) -> tuple[Path, Path]:
        """A server's certificate (PEM) and key for the authority's names, written below ``directory``."""
        from cryptography import x509

        names: list[x509.GeneralName] = []
        for name in self.names:
            try:
                names.append(x509.IPAddress(ipaddress.ip_address(name)))
            except ValueError:
                names.append(x509.DNSName(name))
        certificate, key = directory / "server.crt", directory / "server.key"
        extensions = [(x509.SubjectAlternativeName(names), False), (x509.BasicConstraints(False, None), True)]
        _issue(certificate, key, self.names[0], extensions, self, self.valid)
        return certificate, key


def _issue(
    certificate: Path,
    key_file: Path,
    name: str,
    extensions: Sequence[tuple[Any, bool]],
    issuer: Authority | None,
    valid: datetime.timedelta,
) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    signer: Any = key
    issuer_name, issuer_key = subject, key.public_key()
    if issuer is not None:
        parent = x509.load_pem_x509_certificate(issuer.certificate.read_bytes())
        signer = serialization.load_pem_private_key(issuer.key.read_bytes(), None)
        issuer_name, issuer_key = parent.subject, parent.public_key()  # type: ignore[assignment]
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=2))
        .not_valid_after(now + valid)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    certificate.write_bytes(builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    key_file.touch(mode=0o600)
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
