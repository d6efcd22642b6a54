# SPDX-License-Identifier: GPL-3.0-or-later
"""The build host's right to a vendor's packages: certificates that a build sees while it runs, and no layer holds."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import DeadlinePassed, capture
from ansible_collections.imagemode.nodes.plugins.module_utils._build.repositories import (
    REPOSITORIES_DIRECTORY,
    write_private,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
)

CERTIFICATES = "/etc/pki/entitlement"
CONFIGURATION = "/etc/rhsm"
REPOSITORY_FILE = "redhat.repo"
OPENSSL_SECONDS = 30.0
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_END = re.compile(r"notAfter=(\w{3}) +(\d+) (\d\d):(\d\d):(\d\d) (\d{4}) GMT")


@dataclass(frozen=True)
class _Pair:
    """A certificate and its key; the name of the certificate's file is its serial."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Entitlement:
    """What was found. Without pairs there is none, and `notes` say why where that was not asked for."""

    pairs: tuple[_Pair, ...] = ()
    configuration: Path | None = None
    repository_file: Path | None = None
    notes: tuple[str, ...] = ()
    _keys: dict[str, bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, option: str, root: Path = Path("/"), now: datetime.datetime | None = None) -> Entitlement:
        """The entitlement that the option means: `none`, `auto` for what this host has, or a directory.

        A directory has the certificates SERIAL.pem and SERIAL-key.pem in it or below etc-pki-entitlement, and optionally
        rhsm and redhat.repo. Raises BuildError of category input where a directory has nothing usable.
        """
        if option == "none":
            return cls()
        moment = now or datetime.datetime.now(datetime.timezone.utc)
        if option == "auto":
            return cls._of_host(root, moment)
        directory = Path(option).absolute()
        below = directory / "etc-pki-entitlement"
        pairs, notes = _usable(below if below.is_dir() else directory, moment)
        if not pairs:
            why = " ".join(notes) or "It has no file SERIAL.pem with a SERIAL-key.pem beside it."
            raise _input_error(
                f"The option entitlement names {directory}, which has no usable entitlement certificate on the build host. {why} "
                "Refresh it with `subscription-manager refresh`, name another directory, or set entitlement to none."
            )
        return cls._read(pairs, directory / "rhsm", directory / REPOSITORY_FILE, notes)

    @classmethod
    def _of_host(cls, root: Path, now: datetime.datetime) -> Entitlement:
        directory = root / CERTIFICATES.lstrip("/")
        try:
            pairs, notes = _usable(directory, now)
        except BuildError as error:
            pairs, notes = [], [error.failure.message]
        if not pairs:
            why = " ".join(notes) or f"{directory} has no certificates."
            return cls(notes=(f"The build runs without an entitlement. {why}",))
        repository_file = root / REPOSITORIES_DIRECTORY.lstrip("/") / REPOSITORY_FILE
        return cls._read(pairs, root / CONFIGURATION.lstrip("/"), repository_file, notes)

    @classmethod
    def _read(
        cls, pairs: Sequence[_Pair], configuration: Path, repository_file: Path, notes: Sequence[str]
    ) -> Entitlement:
        keys = {f"entitlement {pair.key.name}": _content(pair.key).strip() for pair in pairs}
        return cls(
            tuple(pairs),
            configuration if configuration.is_dir() else None,
            repository_file if repository_file.is_file() else None,
            tuple(notes),
            keys,
        )

    def inputs(self) -> dict[str, str]:
        """The serials as an input of the key; nothing without an entitlement."""
        if not self.pairs:
            return {}
        serials = json.dumps(sorted(pair.certificate.name for pair in self.pairs))
        return {"entitlement": "sha256:" + hashlib.sha256(serials.encode()).hexdigest()}

    def secrets(self) -> dict[str, bytes]:
        """The private keys, which must not be found in a layer: a name to the bytes."""
        return dict(self._keys)

    def mounts(self, staging: Path, with_repositories: bool) -> list[tuple[Path, str]]:
        """What `volumes` returns, without writing anything. `with_repositories`: the build has some of its own."""
        if not self.pairs:
            return []
        private = staging / "entitlement"
        found = [(private / "pki", CERTIFICATES)]
        if self.configuration:
            found.append((private / "rhsm", CONFIGURATION))
        if self.repository_file and not with_repositories:
            found.append((private / REPOSITORY_FILE, f"{REPOSITORIES_DIRECTORY}/{REPOSITORY_FILE}"))
        return found

    def volumes(self, staging: Path) -> list[tuple[Path, str]]:
        """Copy everything below `staging`, readable for this user only, and return what to mount where.

        Comes after `Repositories.volumes(staging)`: a redhat.repo joins the repositories that are written there.
        """
        private = staging / "entitlement"
        shutil.rmtree(private, ignore_errors=True)
        if not self.pairs:
            return []
        private.mkdir(mode=0o700, parents=True)
        certificates = private / "pki"
        certificates.mkdir(mode=0o700)
        for pair in self.pairs:
            for file in (pair.certificate, pair.key):
                write_private(certificates / file.name, _content(file))
        if self.configuration:
            _copy_tree(self.configuration, private / "rhsm")
        beside = staging / "yum.repos.d"
        if self.repository_file:
            write_private((beside if beside.is_dir() else private) / REPOSITORY_FILE, _content(self.repository_file))
        return self.mounts(staging, beside.is_dir())


def _usable(directory: Path, now: datetime.datetime) -> tuple[list[_Pair], list[str]]:
    """The pairs of certificate and key that have not expired, and a sentence about each other one."""
    pairs, notes = [], []
    try:
        files = sorted(directory.glob("*.pem")) if directory.is_dir() else []
    except OSError as error:
        raise _input_error(f"{directory} cannot be read on the build host: {error.strerror}.") from error
    for certificate in files:
        if certificate.name.endswith("-key.pem"):
            continue
        key = certificate.with_name(f"{certificate.stem}-key.pem")
        if not key.is_file():
            notes.append(f"{certificate} has no key {key.name} beside it.")
            continue
        _content(key)
        end = _end_of(certificate)
        if end is not None and end < now:
            notes.append(f"{certificate} expired on {end:%Y-%m-%d %H:%M} UTC and is not used.")
            continue
        pairs.append(_Pair(certificate, key))
    return pairs, notes


def _end_of(certificate: Path) -> datetime.datetime | None:
    """When a certificate expires; None where openssl is missing or does not understand it, and dnf will have to tell."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return None
    try:
        done = capture([openssl, "x509", "-noout", "-enddate", "-in", str(certificate)], OPENSSL_SECONDS)
    except DeadlinePassed:
        return None
    match = _END.search(done.output)
    if done.exit_code != 0 or match is None:
        return None
    month, day, hour, minute, second, year = match.groups()
    return datetime.datetime(
        int(year),
        _MONTHS.index(month) + 1,
        int(day),
        int(hour),
        int(minute),
        int(second),
        tzinfo=datetime.timezone.utc,
    )


def _copy_tree(source: Path, target: Path) -> None:
    target.mkdir(mode=0o700)
    for entry in sorted(source.iterdir()):
        if entry.is_dir():
            _copy_tree(entry, target / entry.name)
        elif entry.is_file():
            write_private(target / entry.name, _content(entry))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _input_error(
            f"{path} of the entitlement cannot be read on the build host: {error.strerror}. Build as a user who may read it, or name a "
            "directory with copies in the option entitlement."
        ) from error


def _input_error(message: str) -> BuildError:
    return BuildError(BuildFailure(FailureCategory.INPUT, message))
