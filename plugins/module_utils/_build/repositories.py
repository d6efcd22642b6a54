# SPDX-License-Identifier: GPL-3.0-or-later
"""The package repositories of a build: mounted while it runs, never part of a layer, and known to the input key."""

from __future__ import annotations

import configparser
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._build.repository_index import index_hash
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
)

REPOSITORIES_DIRECTORY = "/etc/yum.repos.d"

REPOSITORY_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "baseurl": {"type": "str"},
    "file": {"type": "path"},
    "gpgkey": {"type": "path"},
    "gpgcheck": {"type": "bool", "default": True},
    "sslcacert": {"type": "path"},
    "sslclientcert": {"type": "path"},
    "sslclientkey": {"type": "path"},
    "credentials": {"type": "path"},
    "snapshot": {"type": "str"},
}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_URL = re.compile(r"https?://[^\s/@]+(?:/\S*)?\Z")
_PATH = re.compile(r"/[^\s:,\"']*\Z")


@dataclass(frozen=True)
class Repository:
    """One repository, or with `file` all that a .repo file names. Paths are on the build host.

    `baseurl` is http(s), or the absolute path of a directory. `snapshot` is any text that the user changes when packages
    are to be taken anew; it takes the place of a look at the repository's index.
    """

    name: str
    baseurl: str | None = None
    file: Path | None = None
    gpgkey: Path | None = None
    gpgcheck: bool = True
    sslcacert: Path | None = None
    sslclientcert: Path | None = None
    sslclientkey: Path | None = None
    credentials: Path | None = None
    snapshot: str | None = None

    @property
    def directory(self) -> Path | None:
        """The directory of a repository that is not reached through the network."""
        return Path(self.baseurl) if self.baseurl and self.baseurl.startswith("/") else None

    def files(self) -> dict[str, Path]:
        """What dnf reads beside the configuration: the option of a .repo file to the file."""
        named = {
            "gpgkey": self.gpgkey,
            "sslcacert": self.sslcacert,
            "sslclientcert": self.sslclientcert,
            "sslclientkey": self.sslclientkey,
        }
        return {option: path for option, path in named.items() if path is not None}


@dataclass(frozen=True)
class Repositories:
    """The repositories of a build, the only ones that it sees; without any, those that the base image has."""

    entries: tuple[Repository, ...] = ()
    _inputs: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, options: Sequence[Mapping[str, Any]], ca_file: str | os.PathLike[str] | None) -> Repositories:
        """The repositories of the option, looked at once: their indexes are read, those behind http(s) are fetched.

        `ca_file` vouches for https where a repository has no sslcacert of its own. Raises BuildError: of category input,
        or of dependency where a repository cannot be reached.
        """
        authority = Path(ca_file) if ca_file else None
        entries = tuple(_repository(entry, authority) for entry in options)
        names = [entry.name for entry in entries]
        for name in names:
            if names.count(name) > 1:
                raise _input_error(f"repositories: {name} is there twice; each repository needs a name of its own.")
        return cls(entries, {f"repository {entry.name}": _input(entry) for entry in entries})

    def inputs(self) -> dict[str, str]:
        """What decides about the packages: `repository NAME` to a hash. Certificates and passwords are not in it."""
        return dict(self._inputs)

    def state(self) -> str:
        """A text that changes when an input does, for steps whose layers the engine keeps."""
        return json.dumps(sorted(self._inputs.items())) if self._inputs else ""

    def secrets(self) -> dict[str, bytes]:
        """What must not be found in a layer: a name for it to its bytes."""
        found = {}
        for entry in self.entries:
            if entry.sslclientkey:
                found[f"repository {entry.name}: sslclientkey"] = _read(entry.sslclientkey, "sslclientkey").strip()
            if entry.credentials:
                found[f"repository {entry.name}: password"] = _login(entry.credentials)[1].encode()
        return found

    def mounts(self, staging: Path) -> list[tuple[Path, str]]:
        """What `volumes` returns, without writing anything."""
        private = staging / "yum.repos.d"
        directories = [
            (entry.directory, f"{REPOSITORIES_DIRECTORY}/{entry.name}") for entry in self.entries if entry.directory
        ]
        return [(private, REPOSITORIES_DIRECTORY), *directories] if self.entries else []

    def volumes(self, staging: Path) -> list[tuple[Path, str]]:
        """Write the configuration below `staging`, readable for this user only, and return what to mount where.

        Calling it again replaces what was there. The directories of repositories are mounted as they are.
        """
        private = staging / "yum.repos.d"
        shutil.rmtree(private, ignore_errors=True)
        if not self.entries:
            return []
        staging.mkdir(mode=0o700, parents=True, exist_ok=True)
        private.mkdir(mode=0o700)
        for entry in self.entries:
            write_private(private / f"{entry.name}.repo", _configuration(entry).encode())
            for option, path in entry.files().items():
                write_private(private / _copy_name(entry, option), _read(path, option))
            if entry.directory:
                (private / entry.name).mkdir(mode=0o700)
        return self.mounts(staging)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only this user may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _repository(options: Mapping[str, Any], ca_file: Path | None) -> Repository:
    name = str(options["name"])
    if not _NAME.match(name) or name == "main":
        raise _input_error(
            f"repositories: {name!r} cannot be a name. Use letters, digits, dot, dash and underscore; dnf keeps `main` for itself."
        )
    paths = {
        option: Path(options[option]).absolute() if options.get(option) else None
        for option in ("file", "gpgkey", "sslcacert", "sslclientcert", "sslclientkey", "credentials")
    }
    baseurl = options.get("baseurl") or None
    if (baseurl is None) == (paths["file"] is None):
        raise _input_error(f"repositories: {name} needs either baseurl or file, and not both.")
    if baseurl is not None and not (_PATH if baseurl.startswith("/") else _URL).match(baseurl):
        raise _input_error(
            f"repositories: the baseurl of {name} has to be http:// or https:// without a password in it, or the absolute path of a "
            "directory on the build host without blanks, colons and commas. A password goes into the file that credentials names."
        )
    if baseurl is not None and baseurl.startswith("https:") and paths["sslcacert"] is None:
        paths["sslcacert"] = ca_file
    if (paths["sslclientcert"] is None) != (paths["sslclientkey"] is None):
        raise _input_error(f"repositories: {name} needs both sslclientcert and sslclientkey, or neither.")
    check = options.get("gpgcheck")
    entry = Repository(
        name=name,
        baseurl=baseurl.rstrip("/") if baseurl else None,
        gpgcheck=True if check is None else bool(check),
        snapshot=str(options["snapshot"]) if options.get("snapshot") is not None else None,
        **paths,
    )
    _check(entry)
    return entry


def _check(entry: Repository) -> None:
    for option, path in entry.files().items():
        if entry.file is not None:
            raise _input_error(
                f"repositories: {entry.name} has a file, which names its own {option}; leave {option} out."
            )
        _read(path, f"{option} of {entry.name}")
    if entry.baseurl and entry.gpgcheck and entry.gpgkey is None:
        raise _input_error(
            f"repositories: {entry.name} has no gpgkey, so the signatures of its packages cannot be checked. Name the file of the "
            "key, or set gpgcheck to false where nobody else can write to the repository."
        )
    if entry.credentials and entry.snapshot is None:
        raise _input_error(
            f"repositories: {entry.name} wants a password, so its state is not looked at: give it a snapshot, any text that "
            "you change when packages are to be taken anew, such as a date."
        )
    if entry.directory and not (entry.directory / "repodata" / "repomd.xml").is_file():
        raise _input_error(
            f"repositories: {entry.name}: {entry.directory} is no repository, as it has no repodata/repomd.xml on the build host. "
            f"Make one of a directory of RPMs with `createrepo_c {entry.directory}`."
        )


def _input(entry: Repository) -> str:
    """The hash of everything about a repository that can change what is installed from it."""
    content: dict[str, str | list[str] | None] = {"gpgcheck": str(entry.gpgcheck), "snapshot": entry.snapshot}
    if entry.gpgkey:
        content["gpgkey"] = _hash(_read(entry.gpgkey, "gpgkey"))
    if entry.file:
        content["file"] = _hash(_read(entry.file, "file"))
    if entry.directory is None:  # of a directory the content counts, not where it lies
        content["baseurl"] = entry.baseurl
    if entry.snapshot is None:
        content["indexes"] = [_index(entry, url) for url in _addresses(entry)]
    return "sha256:" + _hash(json.dumps(content, sort_keys=True).encode())


def _index(entry: Repository, address: str) -> str:
    if address.startswith("/"):
        return _hash(_read(Path(address) / "repodata" / "repomd.xml", f"index of {entry.name}"))
    client = (entry.sslclientcert, entry.sslclientkey) if entry.sslclientcert and entry.sslclientkey else None
    return index_hash(entry.name, address, entry.sslcacert, client)


def _addresses(entry: Repository) -> list[str]:
    """Where the indexes are that packages come from."""
    if entry.baseurl:
        return [entry.baseurl]
    found = []
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(_read(Path(entry.file or ""), f"file of {entry.name}").decode("utf-8"))
    except (configparser.Error, UnicodeDecodeError) as error:
        raise _input_error(f"repositories: the file {entry.file} of {entry.name} is no .repo file: {error}.") from error
    for section in parser.sections():
        if section == "main" or parser.get(section, "enabled", fallback="1").lower() in ("0", "no", "false", "off"):
            continue
        addresses = parser.get(section, "baseurl", fallback="").replace(",", " ").split()
        if (
            len(addresses) != 1
            or "$" in addresses[0]
            or not _URL.match(addresses[0])
            or parser.has_option(section, "password")
        ):
            raise _input_error(
                f"repositories: {entry.name}: [{section}] in {entry.file} has no single baseurl that can be looked at from here "
                "(a mirror list, a variable such as $releasever, a password or a path). Give the repository a snapshot, any text "
                "that you change when packages are to be taken anew, such as a date."
            )
        found.append(addresses[0].rstrip("/"))
    if not found:
        raise _input_error(f"repositories: the file {entry.file} of {entry.name} has no enabled repository in it.")
    return found


def _configuration(entry: Repository) -> str:
    if entry.file:
        return _read(entry.file, f"file of {entry.name}").decode("utf-8", "surrogateescape")
    options = {
        "name": entry.name,
        "baseurl": f"file://{REPOSITORIES_DIRECTORY}/{entry.name}" if entry.directory else str(entry.baseurl),
        "enabled": "1",
        "gpgcheck": str(int(entry.gpgcheck)),
        "skip_if_unavailable": "0",  # some distributions set it, and packages would quietly come from elsewhere
    }
    for option in entry.files():
        path = f"{REPOSITORIES_DIRECTORY}/{_copy_name(entry, option)}"
        options[option] = f"file://{path}" if option == "gpgkey" else path
    if entry.credentials:
        options["username"], options["password"] = _login(entry.credentials)
    parser = configparser.ConfigParser(interpolation=None)
    parser[entry.name] = options
    text = io.StringIO()
    parser.write(text, space_around_delimiters=False)
    return text.getvalue()


def _copy_name(entry: Repository, option: str) -> str:
    return f"{entry.name}.{option}"


def _login(path: Path) -> tuple[str, str]:
    text = _read(path, "credentials").decode("utf-8", "surrogateescape").strip("\r\n")
    user, colon, password = text.partition(":")
    if not colon or not user or not password or "\n" in text:
        raise _input_error(f"repositories: the credentials file {path} has to be one line of the form USER:PASSWORD.")
    return user, password


def _read(path: Path, called: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _input_error(
            f"repositories: the {called}, {path}, cannot be read on the build host: {error.strerror}."
        ) from error


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _input_error(message: str) -> BuildError:
    return BuildError(BuildFailure(FailureCategory.INPUT, message))
