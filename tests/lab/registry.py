# SPDX-License-Identifier: GPL-3.0-or-later
"""A real container registry on loopback: Debian's ``docker-registry`` over plain HTTP."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from lab.authority import Authority

if TYPE_CHECKING:
    from typing_extensions import Self

MANIFEST_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
MARK_HEADER = "X-Lab-Registry"
START_SECONDS = 15.0
STOP_SECONDS = 5.0
PORT_ATTEMPTS = 5


class RegistryError(Exception):
    """The registry did not start, or did not answer as a registry should. The text says what to look at."""


@dataclasses.dataclass
class Registry:
    """One running registry. ``address`` is ``127.0.0.1:PORT``; its files live in ``directory``."""

    directory: Path
    address: str
    pid: int
    username: str | None = None
    password: str | None = None
    authority: Authority | None = None
    _process: subprocess.Popen[bytes] | None = dataclasses.field(default=None, repr=False)

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        port: int | None = None,
        username: str | None = None,
        password: str | None = None,
        authority: Authority | None = None,
        outlives_us: bool = False,
    ) -> Self:
        """Start a registry whose storage, configuration and log are in ``directory``.

        ``authority``: serve TLS with a certificate of this authority, for the names that it was made for; nodes must
        be told to trust it (``authority.certificate``). Without one the registry speaks plain HTTP.

        ``outlives_us``: keep running when this process ends (``lab up``); otherwise the kernel ends the registry with
        us, also when we are killed. Raises RegistryError with the end of the log when it does not come up.
        """
        if shutil.which("docker-registry") is None:
            raise RegistryError("docker-registry is not installed; on Debian: apt-get install docker-registry")
        if (username is None) != (password is None):
            raise RegistryError("a registry with authentication needs both a username and a password")
        directory.mkdir(parents=True, exist_ok=True)
        for _number in range(PORT_ATTEMPTS):
            chosen = port or _free_port()
            address, mark = f"127.0.0.1:{chosen}", uuid.uuid4().hex
            config = _write_config(directory, address, mark, username, password, authority)
            process = _spawn(directory, config, outlives_us)
            registry = cls(directory, address, process.pid, username, password, authority, process)
            if registry._wait_until_ready(mark):
                (directory / "registry.json").write_text(
                    json.dumps({"address": address, "pid": process.pid, "username": username}) + "\n"
                )
                return registry
            registry.stop()
            if port is not None:
                break
        log = (directory / "registry.log").read_text(errors="replace")[-2000:]
        raise RegistryError(
            f"docker-registry did not answer on {address} within {START_SECONDS:.0f} s; its log ends:\n{log}"
        )

    @classmethod
    def running(cls, directory: Path) -> Registry | None:
        """The registry that an earlier process started in ``directory``, or None when it is not running any more."""
        try:
            record = json.loads((directory / "registry.json").read_text())
            command_line = Path(f"/proc/{record['pid']}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        if os.fsencode(directory / "config.json") not in command_line:
            return None  # the number was given to another process since
        return cls(directory, record["address"], record["pid"], record["username"])

    def stop(self) -> None:
        """End the registry and wait until it is gone. Storage stays where it is."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
            if self._wait_until_gone():
                break
        (self.directory / "registry.json").unlink(missing_ok=True)

    def digest(self, name: str, reference: str) -> str | None:
        """The digest (``sha256:…``) behind ``name:reference``, a tag or a digest; None when there is none."""
        try:
            with self.request("HEAD", f"/v2/{name}/manifests/{reference}") as answer:
                return str(answer.headers["Docker-Content-Digest"])
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise RegistryError(
                f"{self.address} answered {error.code} to a question about {name}:{reference}"
            ) from error

    def tags(self, name: str) -> list[str]:
        """All tags of a repository, sorted; empty when the repository does not exist."""
        try:
            with self.request("GET", f"/v2/{name}/tags/list") as answer:
                return sorted(json.load(answer)["tags"] or [])
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return []
            raise RegistryError(f"{self.address} answered {error.code} when asked for the tags of {name}") from error

    def manifest(self, name: str, reference: str) -> dict[str, Any]:
        """The manifest or index behind ``name:reference``. Raises RegistryError when there is none."""
        try:
            with self.request("GET", f"/v2/{name}/manifests/{reference}") as answer:
                document: dict[str, Any] = json.load(answer)
                return document
        except urllib.error.HTTPError as error:
            raise RegistryError(
                f"{self.address} answered {error.code} to a question about {name}:{reference}"
            ) from error

    def delete(self, name: str, digest: str) -> None:
        """Delete a manifest, and with it every tag that points to it."""
        self.request("DELETE", f"/v2/{name}/manifests/{digest}").close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def request(self, method: str, path: str, body: bytes | None = None, content_type: str | None = None) -> Any:
        """Send one request with the registry's credentials; ``path`` may be a whole URL. Raises urllib's errors."""
        context = ssl.create_default_context(cafile=str(self.authority.certificate)) if self.authority else None
        url = path if "://" in path else f"{'https' if self.authority else 'http'}://{self.address}{path}"
        request = urllib.request.Request(url, data=body, method=method)
        if content_type:
            request.add_header("Content-Type", content_type)
        request.add_header("Accept", ", ".join(MANIFEST_TYPES))
        if self.username is not None:
            token = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
        return urllib.request.urlopen(request, timeout=10, context=context)

    def _wait_until_ready(self, mark: str) -> bool:
        """Whether it is this registry that answers, and not one that had the port before."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self._process is not None and self._process.poll() is not None:
                return False
            try:
                with self.request("GET", "/v2/") as answer:
                    if answer.headers[MARK_HEADER] == mark:
                        return True
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.02)
        return False

    def _wait_until_gone(self) -> bool:
        end = time.monotonic() + STOP_SECONDS
        while time.monotonic() < end:
            if self._process is not None:
                if self._process.poll() is not None:
                    return True
            elif not Path(f"/proc/{self.pid}").exists():
                return True
            time.sleep(0.02)
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write_config(
    directory: Path,
    address: str,
    mark: str,
    username: str | None,
    password: str | None,
    authority: Authority | None,
) -> Path:
    config: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": False}},
        "storage": {
            "filesystem": {"rootdirectory": str(directory / "storage")},
            "delete": {"enabled": True},
            "cache": {"blobdescriptor": "inmemory"},
        },
        "http": {"addr": address, "headers": {"X-Content-Type-Options": ["nosniff"], MARK_HEADER: [mark]}},
    }
    if authority is not None:
        certificate, key = authority.issue(directory)
        config["http"]["tls"] = {"certificate": str(certificate), "key": str(key)}
    if username is not None and password is not None:
        passwords = directory / "htpasswd"
        passwords.touch(mode=0o600)
        passwords.write_text(f"{username}:{_bcrypt(password)}\n")
        config["auth"] = {"htpasswd": {"realm": "lab", "path": str(passwords)}}
    path = directory / "config.json"
    path.write_text(json.dumps(config, indent=2) + "\n")  # every JSON document is a YAML document
    return path


def _bcrypt(password: str) -> str:
    import bcrypt  # only a registry with authentication pays for it; docker-registry accepts no other hash

    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=5)).decode()


def _spawn(directory: Path, config: Path, outlives_us: bool) -> subprocess.Popen[bytes]:
    argv = ["docker-registry", "serve", str(config)]
    if not outlives_us:
        argv = ["setpriv", "--pdeathsig", "TERM", *argv]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("REGISTRY_", "OTEL_"))}
    with (directory / "registry.log").open("ab") as log:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
        )
