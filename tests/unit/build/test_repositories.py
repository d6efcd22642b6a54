# SPDX-License-Identifier: GPL-3.0-or-later
"""The repositories of a build: what is refused, what their key is made of, and who can read what is written."""

from __future__ import annotations

import configparser
import http.server
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build import repository_index
from ansible_collections.imagemode.nodes.plugins.module_utils._build.repositories import Repositories
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
)

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A repository in a directory."""
    (tmp_path / "repo" / "repodata").mkdir(parents=True)
    (tmp_path / "repo" / "repodata" / "repomd.xml").write_text("<repomd>1</repomd>")
    return tmp_path / "repo"


@pytest.fixture
def answered() -> Iterator[Callable[[Answer], str]]:
    """``answered(function)``: the address of a server whose every answer the function writes."""
    servers = []

    def start(answer: Answer) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer(self)

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def status(code: int, body: bytes = b"") -> Answer:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def failure(*options: dict[str, object]) -> BuildFailure:
    with pytest.raises(BuildError) as raised:
        Repositories.of(options, None)
    return raised.value.failure


def key(**options: object) -> str:
    return Repositories.of([{"name": "lab", "gpgcheck": False, **options}], None).inputs()["repository lab"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"name": "main", "baseurl": "http://h"}, "main"),
            ({"name": "a/b", "baseurl": "http://h"}, "cannot be a name"),
            ({"name": "a"}, "either baseurl or file"),
            ({"name": "a", "baseurl": "http://h", "file": "/x"}, "either baseurl or file"),
            ({"name": "a", "baseurl": "http://user:secret@h/"}, "without a password"),
            ({"name": "a", "baseurl": "ftp://h"}, "http:// or https://"),
            ({"name": "a", "baseurl": "/srv/a:b"}, "colons"),
            ({"name": "a", "baseurl": "http://h", "snapshot": "1"}, "no gpgkey"),
            ({"name": "a", "baseurl": "http://h", "gpgcheck": False, "sslclientcert": "/x"}, "both sslclientcert and"),
            ({"name": "a", "baseurl": "http://h", "gpgkey": "/nowhere/key"}, "/nowhere/key"),
            ({"name": "a", "baseurl": "/nowhere", "gpgcheck": False}, "createrepo_c /nowhere"),
            ({"name": "a", "file": "/nowhere/a.repo"}, "/nowhere/a.repo"),
        ],
    )
    def test_input(self, options: dict[str, object], said: str) -> None:
        found = failure(options)
        assert found.category is FailureCategory.INPUT
        assert said in found.message
        assert "secret" not in found.message

    def test_two_of_a_name(self, directory: Path) -> None:
        entry = {"name": "a", "baseurl": str(directory), "gpgcheck": False}
        assert "twice" in failure(entry, entry).message

    def test_a_password_needs_a_snapshot(self, tmp_path: Path) -> None:
        (tmp_path / "login").write_text("me:pass word\n")
        options = {"name": "a", "baseurl": "http://h", "gpgcheck": False, "credentials": str(tmp_path / "login")}
        assert "snapshot" in failure(options).message
        found = Repositories.of([{**options, "snapshot": "1"}], None)
        assert found.secrets() == {"repository a: password": b"pass word"}
        assert "pass word" not in repr(found.inputs()) + repr(found)

    @pytest.mark.parametrize(
        "line", ["metalink=http://h", "baseurl=http://h/$releasever", "baseurl=http://h http://i", "baseurl=file:///x"]
    )
    def test_a_file_that_cannot_be_looked_into(self, tmp_path: Path, line: str) -> None:
        (tmp_path / "a.repo").write_text(f"[a]\nname=a\n{line}\n")
        found = failure({"name": "a", "file": str(tmp_path / "a.repo")})
        assert found.category is FailureCategory.INPUT
        assert "snapshot" in found.message
        assert Repositories.of([{"name": "a", "file": str(tmp_path / "a.repo"), "snapshot": "1"}], None).inputs()


class TestKey:
    def test_a_directory_counts_by_its_index_and_not_by_its_place(self, directory: Path) -> None:
        before = key(baseurl=str(directory))
        moved = directory.rename(directory.with_name("moved"))
        assert key(baseurl=str(moved)) == before
        (moved / "repodata" / "repomd.xml").write_text("<repomd>2</repomd>")
        assert key(baseurl=str(moved)) != before

    def test_a_snapshot_takes_the_place_of_a_look(self) -> None:
        address = "http://127.0.0.1:9/x"
        assert key(baseurl=address, snapshot="1") == key(baseurl=address + "/", snapshot="1")
        assert key(baseurl=address, snapshot="1") != key(baseurl=address, snapshot="2")
        assert key(baseurl=address, snapshot="1") != key(baseurl=address + "y", snapshot="1")

    def test_what_vouches_for_packages_counts_and_what_opens_the_way_does_not(self, tmp_path: Path) -> None:
        for name in ("key", "ca", "client"):
            (tmp_path / name).write_text(name)
        plain = {"baseurl": "https://h", "snapshot": "1"}
        way = {"sslcacert": tmp_path / "ca", "sslclientcert": tmp_path / "client", "sslclientkey": tmp_path / "client"}
        assert key(**plain) == key(**plain, **way)
        assert key(**plain) != key(**plain, gpgkey=tmp_path / "key")
        assert key(**plain, gpgkey=tmp_path / "key") != key(**plain, gpgkey=tmp_path / "ca")

    def test_over_the_network_and_in_a_file(self, answered: Callable[[Answer], str], tmp_path: Path) -> None:
        bodies = [b"<repomd>1</repomd>"]

        def answer(request: http.server.BaseHTTPRequestHandler) -> None:
            status(200, bodies[0])(request)

        address = answered(answer)
        (tmp_path / "a.repo").write_text(f"[a]\nbaseurl={address}\n[off]\nbaseurl=http://127.0.0.1:9/\nenabled=0\n")
        options = [{"name": "lab", "file": str(tmp_path / "a.repo")}]
        before = key(baseurl=address), Repositories.of(options, None).inputs()
        assert before == (key(baseurl=address), Repositories.of(options, None).inputs())
        bodies[0] = b"<repomd>2</repomd>"
        assert before[0] != key(baseurl=address)
        assert before[1] != Repositories.of(options, None).inputs()

    def test_without_repositories_nothing_is_in_the_key(self) -> None:
        assert Repositories.of([], None).inputs() == {}
        assert Repositories.of([], None).state() == ""


class TestUnreachable:
    @pytest.mark.parametrize(
        ("code", "retryable", "said"),
        [
            (404, False, "repodata"),
            (401, False, "credentials"),
            (403, False, "client certificate"),
            (503, True, "later"),
            (429, True, "later"),
        ],
    )
    def test_status(self, answered: Callable[[Answer], str], code: int, retryable: bool, said: str) -> None:
        found = failure({"name": "a", "baseurl": answered(status(code)), "gpgcheck": False})
        assert (found.category, found.retryable) == (FailureCategory.DEPENDENCY, retryable)
        assert said in found.message
        assert str(code) in found.message

    def test_a_page_that_is_no_index(self, answered: Callable[[Answer], str]) -> None:
        found = failure({"name": "a", "baseurl": answered(status(200, b"<html>log in</html>")), "gpgcheck": False})
        assert "no index" in found.message
        assert not found.retryable

    def test_nobody_listens(self) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            found = failure({"name": "a", "baseurl": f"http://127.0.0.1:{unused.getsockname()[1]}", "gpgcheck": False})
        assert found.retryable
        assert "refused" in found.message

    def test_a_server_that_drips(self, answered: Callable[[Answer], str], monkeypatch: pytest.MonkeyPatch) -> None:
        def drip(request: http.server.BaseHTTPRequestHandler) -> None:
            request.send_response(200)
            request.end_headers()
            for _second in range(100):
                request.wfile.write(b"<")
                request.wfile.flush()
                time.sleep(0.1)

        started = time.monotonic()
        with pytest.raises(BuildError) as raised:
            repository_index.index_hash("a", answered(drip), None, None, seconds=0.5)
        assert raised.value.failure.retryable
        assert time.monotonic() - started < 8


class TestVolumes:
    def test_only_this_user_can_read_what_is_written(self, directory: Path, tmp_path: Path) -> None:
        for name in ("key", "cert", "login"):
            (tmp_path / name).write_text("me:secret")
        options: list[dict[str, object]] = [
            {
                "name": "far",
                "baseurl": "https://h/%20x",
                "gpgkey": str(tmp_path / "key"),
                "credentials": str(tmp_path / "login"),
                "snapshot": "1",
            },
            {"name": "near", "baseurl": str(directory), "gpgcheck": False},
        ]
        repositories = Repositories.of(options, tmp_path / "cert")
        staging = tmp_path / "staging"
        volumes = repositories.volumes(staging)
        assert volumes == repositories.volumes(staging)
        private = staging / "yum.repos.d"
        assert volumes == [(private, "/etc/yum.repos.d"), (directory, "/etc/yum.repos.d/near")]
        for path in private.rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
        parser = configparser.ConfigParser(interpolation=None)
        parser.read([private / "far.repo", private / "near.repo"])
        assert dict(parser["far"]) == {
            "name": "far",
            "baseurl": "https://h/%20x",
            "enabled": "1",
            "gpgcheck": "1",
            "skip_if_unavailable": "0",
            "gpgkey": "file:///etc/yum.repos.d/far.gpgkey",
            "sslcacert": "/etc/yum.repos.d/far.sslcacert",
            "username": "me",
            "password": "secret",
        }
        assert parser["near"]["baseurl"] == "file:///etc/yum.repos.d/near"
        assert (private / "far.sslcacert").read_text() == "me:secret"

    def test_without_repositories_those_of_the_base_stay(self, tmp_path: Path) -> None:
        assert Repositories.of([], None).volumes(tmp_path) == []
